"""Names of files as text that can be shown and encoded."""

import os

__all__ = ["on_one_line", "printable"]


def printable(name: str | os.PathLike[str]) -> str:
    """A file name as text that can be encoded: bytes that are no UTF-8 become the replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


def on_one_line(text: str) -> str:
    """The text with line breaks, control and other invisible characters replaced: file names may hold any."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
