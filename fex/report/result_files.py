"""What folders of results share, of pictures and of texts: tables and a gallery that are written as results come."""

import csv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, TextIO, TypeVar

from fex.report.html import Gallery

__all__ = ["ResultFiles"]

F = TypeVar("F", bound="ResultFiles")


class ResultFiles:
    """Base of the folders of results.

    Args:
        folder: made if missing.
        gallery: its pages, which are completed at the end.

    Raises:
        OSError: the folder cannot be written.
    """

    named: ClassVar[str]  # heading of the names in skipped.csv

    def __init__(self, folder: str | Path, gallery: Gallery) -> None:
        self.folder, self.gallery, self.skipped = Path(folder), gallery, 0
        self._stack = ExitStack()
        self._skips: Any = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._begin()
        except OSError as error:
            raise OSError(
                f"Could not write to {self.folder} ({error.strerror or error}): choose a folder that is writable."
            ) from error
        (self.folder / "skipped.csv").unlink(missing_ok=True)  # of an earlier run

    def _begin(self) -> None:
        """Opens the tables."""

    def _open(self, name: str) -> TextIO:
        file = (self.folder / name).open("w", newline="", encoding="utf-8", errors="replace", buffering=1)
        return self._stack.enter_context(file)

    def _csv(self, name: str, columns: Sequence[str]) -> Any:
        writer = csv.writer(self._open(name))
        writer.writerow(columns)
        return writer

    def __enter__(self: F) -> F:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self.gallery.close()

    def skip(self, name: str, reason: str) -> None:
        """Notes an input that could not be explained in skipped.csv."""
        if self._skips is None:
            self._skips = self._csv("skipped.csv", (self.named, "reason"))
        self.skipped += 1
        self.gallery.remark = f"{self.skipped:,} more skipped: see skipped.csv"
        self._skips.writerow((name, reason))
