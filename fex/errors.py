"""Errors of its own kind, and warnings said once, in a module that imports nothing heavy: commands show them first."""

import logging
from functools import lru_cache

__all__ = ["BlackBoxError", "warn_once"]


class BlackBoxError(RuntimeError):
    """The black box broke, in code that is its owner's: says what it raised, and on which inputs."""


@lru_cache(maxsize=256)
def warn_once(text: str) -> None:
    """Logs a warning; the same text no more in this process."""
    logging.getLogger("fex").warning("%s", text)
