"""Millions of images by path: their names in one block of memory, and the labels of their folders."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datamodules.rows import PictureRow

__all__ = ["FolderTable", "Listing", "PackedNames", "class_of"]


def class_of(name: str) -> str:
    """The first folder of a path, "" of a file in none."""
    return name.split("/", 1)[0] if "/" in name else ""


class PackedNames(Sequence[str]):
    """Strings, such as paths, as the bytes of all of them and where each ends: two arrays, whatever their number.

    A list of strings is copied by every loader process that counts references to them, page by page; this is not.

    Args:
        names: any strings that `os.fsencode` takes, which every path is.

    Example:
        >>> names = PackedNames(["a/1.png", "b/2.png"])
        >>> len(names), names[-1]
        (2, 'b/2.png')
    """

    def __init__(self, names: Iterable[str]) -> None:
        buffer, ends = bytearray(), [0]
        for name in names:
            buffer += os.fsencode(name)
            ends.append(len(buffer))
        self.buffer, self.ends = np.frombuffer(bytes(buffer), np.uint8), np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override] one at a time
        if not -len(self) <= index < len(self):
            raise IndexError(f"Got name {index} of {len(self)}.")
        place = index % len(self)
        return os.fsdecode(self.buffer[self.ends[place] : self.ends[place + 1]].tobytes())

    def __iter__(self) -> Iterator[str]:
        return (self[place] for place in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.buffer.nbytes + self.ends.nbytes


class Listing:
    """The images of a folder, gone through once.

    Args:
        root: the folder.
        names: their paths below it.

    Attributes:
        names: packed.
        folders: class folders -> the first image of each.
        codes: number of each image's folder in `folders` (n,), int32.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        numbers: dict[str, int] = {}
        self.root, self.folders = root, dict[str, str]()
        self.codes = np.empty(len(names), np.int32)
        for place, name in enumerate(names):
            folder = class_of(name)
            self.codes[place] = numbers.setdefault(folder, len(numbers))
            self.folders.setdefault(folder, name)
        self.names = PackedNames(names)

    def each(self, labels: Sequence[int]) -> np.ndarray:
        """The label of each image (n,), int32, from those of `folders`."""
        return np.array(labels, np.int32)[self.codes]


class FolderTable:
    """Images by path.

    Args:
        root: the folder.
        names: paths relative to it.
        labels: of each image (n,), integers, or None.
    """

    def __init__(self, root: str | os.PathLike[str], names: Sequence[str], labels: np.ndarray | None = None) -> None:
        self.root, self.names, self.labels = str(root), names, labels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> PictureRow:
        name = self.names[index]
        return PictureRow(os.path.join(self.root, name), None if self.labels is None else int(self.labels[index]), name)
