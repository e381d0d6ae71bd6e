"""What is sent to a remote black box, and what is expected back.

One POST, JSON both ways. The request::

    {"encoding": "png", "shape": [3, H, W], "inputs": ["<base64>", ...]}

holds one base64 string an image: a PNG file (8 bit RGB), or, with ``"encoding": "float32"``, the raw little-endian
float32 pixels (3, H, W), RGB in [0, 1]. The server normalises by itself. The response::

    {"probabilities": [[0.1, 0.9], ...]}

has one row of C numbers an image, in the order of the request; under the key "logits" where the box says
``outputs: logits``.
"""

import base64
import io
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fex.black_box.scores import Outputs
from fex.black_box.secrets import hidden

__all__ = ["Encoding", "decode_response", "encode_image", "encode_request", "quoted"]

Encoding = Literal["png", "float32"]


def quoted(body: bytes, secrets: Sequence[str] = ()) -> str:
    """The start of an answer, on one line, for an error; secrets are hidden before it is cut."""
    text = hidden(" ".join(body.decode("utf-8", "replace").split()), secrets)
    return repr(text if len(text) <= 300 else text[:300] + "...")


def encode_image(image: Tensor, encoding: Encoding) -> str:
    """One image (3, H, W), RGB in [0, 1], as base64 of a PNG file (rounded to 8 bit) or of raw float32."""
    if encoding == "float32":
        raw = image.contiguous().numpy().astype("<f4").tobytes()
    else:
        pixels = image.mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # speed matters more than 10 % of size
        raw = buffer.getvalue()
    return base64.b64encode(raw).decode("ascii")


def encode_request(images: Tensor, encoding: Encoding) -> bytes:
    """The body for images (R, 3, H, W), float32, RGB in [0, 1], on the CPU."""
    inputs = [encode_image(image, encoding) for image in images]
    return json.dumps({"encoding": encoding, "shape": list(images.shape[1:]), "inputs": inputs}).encode()


def decode_response(
    body: bytes, rows: int, outputs: Outputs, num_classes: int, name: str, secrets: Sequence[str] = ()
) -> Tensor:
    """The scores (rows, C) in a body, float32; C and the values are checked by the box.

    Args:
        body: the answer.
        rows: how many were asked for.
        outputs: the key of the table.
        num_classes: C.
        name: of the black box, for messages.
        secrets: what no message may repeat.

    Raises:
        ValueError: no JSON, no table of numbers, or another number of rows; quotes what it got.
    """
    expected = f'{{"{outputs}": [[...], ...]}}'
    try:
        answer = json.loads(body, parse_int=float)  # an integer of 400 digits becomes infinite, and is told as such
    except RecursionError:
        raise ValueError(
            f"Black box {name!r} answered with JSON that is nested too deep, expected {expected}."
        ) from None
    except ValueError:  # broken JSON, and bytes that are no text
        raise ValueError(
            f"Black box {name!r} answered with something that is no JSON: {quoted(body, secrets)}. Expected {expected}."
        ) from None
    table = answer.get(outputs) if isinstance(answer, dict) else None
    if not isinstance(table, list):
        raise ValueError(
            f"Black box {name!r} answered {quoted(body, secrets)}, expected a JSON object with {outputs!r}: one list "
            "of numbers an image. Where it gives the other kind, set `outputs`."
        )
    if len(table) != rows:
        raise ValueError(f"Black box {name!r} answered with {len(table)} rows for {rows} images, expected one each.")
    return _scores(table, num_classes, name)


def _scores(table: list[Any], num_classes: int, name: str) -> Tensor:
    kinds = {type(value) for row in table for value in (row if isinstance(row, list) else [row])}
    reason = ", ".join(sorted(kind.__name__ for kind in kinds - {float, type(None)}))
    try:
        if not reason:
            with np.errstate(over="ignore"):  # what is too large is infinite, which the box refuses
                return torch.from_numpy(np.array(table, dtype=np.float32))
    except (TypeError, ValueError):
        reason = "rows of different lengths"
    raise ValueError(
        f"Black box {name!r} answered with rows that are no table of numbers (they hold {reason}), expected "
        f"{len(table)} lists of {num_classes} numbers."
    )
