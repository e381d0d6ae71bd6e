"""Encoded pictures for tests."""

import io

from PIL import Image


def encode(size=(20, 30), kind="PNG", mode="RGB", colour=(200, 100, 50)) -> bytes:
    """A picture of one colour, (width, height) pixels, as the bytes of a file."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(buffer, kind)
    return buffer.getvalue()
