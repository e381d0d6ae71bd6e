"""The pictures that a command line of `fex-explain` names, and what tells each from others."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from fex.explainers.image_stream import ImageFile
from fex.images.files import walk_images

__all__ = ["find_pictures", "picture_key"]


def find_pictures(inputs: Sequence[Path], output: Path) -> Iterator[ImageFile]:
    """Pictures of all arguments with the names of their results, which are all different."""
    taken: set[str] = set()
    for path in inputs:
        # One folder is mirrored as it is; among several arguments each keeps a folder of its name.
        if path.is_dir() and len(inputs) == 1:
            prefix = PurePath()
        else:
            prefix = PurePath(_unused(path.resolve().name or "root", taken))
        if path.is_dir():
            for name in walk_images(path, without=output):
                yield ImageFile(path / name, prefix / name)
        else:
            yield ImageFile(path, prefix)


def _unused(name: str, taken: set[str]) -> str:
    """The name, or the first of 2-name, 3-name, ... that is not taken; takes it."""
    chosen, number = name, 1
    while chosen.lower() in taken:  # some file systems do not tell a from A
        number += 1
        chosen = f"{number}-{name}"
    taken.add(chosen.lower())
    return chosen


def picture_key(file: ImageFile) -> list[Any]:
    """What tells a picture from others, for `--resume`: its name, size and time of change."""
    try:
        status = file.path.stat()
    except OSError:
        return [file.name.as_posix(), None, None]
    return [file.name.as_posix(), status.st_size, status.st_mtime_ns]
