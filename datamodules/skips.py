"""Instances that cannot be read: counted, and refused where there are no others."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

__all__ = ["EmptyMasks", "Skips", "check_readable"]

_NAMED = 5

log = logging.getLogger("datamodules")


class Skips:
    """Counts instances that could not be read, over all loader processes, and logs the first few.

    Args:
        slots: rows of a data set (each is counted once), or loader processes of a stream.
        noun: what an instance is called, with its article.
    """

    def __init__(self, slots: int, noun: str = "an image") -> None:
        self.noun = noun
        self._counts = torch.zeros(slots, dtype=torch.int32).share_memory_()

    def __len__(self) -> int:
        return int(self._counts.sum())

    def row(self, index: int, name: str, error: Exception) -> None:
        """Notes row `index` of a data set."""
        if self._counts[index] == 0:
            self._counts[index] = 1
            self._tell(name, error)

    def stream(self, worker: int, name: str, error: Exception) -> None:
        """Notes a picture met by loader process `worker`."""
        self._counts[worker] += 1
        self._tell(name, error)

    def _tell(self, name: str, error: Exception) -> None:
        count = len(self)
        if count <= _NAMED:
            log.warning("Skipped %s that cannot be read: %s (%s).", self.noun, name, error)
        if count == _NAMED:
            log.warning("Further ones are counted, not named.")


class EmptyMasks(Skips):
    """Counts ground-truth masks without foreground: such an image has nothing to be found, and no IoU."""

    def _tell(self, name: str, error: Exception) -> None:
        count = len(self)
        if count <= _NAMED:
            log.warning("The mask of %s has no foreground (%s).", name, error)
        if count == _NAMED:
            log.warning("Further ones are counted, not named.")


def check_readable(folder: Path, names: Sequence[str], read: Callable[[Path], object], noun: str) -> None:
    """Refuses files of which none can be read; stops at the first that can.

    Args:
        folder: where they lie.
        names: their paths below it.
        read: raises a ValueError of what cannot be read.
        noun: what they are called.

    Raises:
        ValueError: none can be read; says why the first cannot.
    """
    reason = ""
    for name in names:
        try:
            read(folder / name)
        except ValueError as error:
            reason = reason or f"{name}: {error}"
        else:
            return
    if names:
        raise ValueError(f"None of the {len(names)} {noun} in {str(folder)!r} can be read ({reason}).")
