"""The pictures that a command line of `fex-explain` names, and what tells each from others."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
from torch import Tensor

from fex.explainers.image_stream import ImageFile
from fex.images.decoding import MAX_BYTES, UnreadableImageError, read_pixels
from fex.images.files import IMAGE_SUFFIXES, passed_over, walk_images
from fex.images.preprocess import Preprocess
from fex.storage.archives import TarMember, tar_members
from fex.storage.tables import DatasetRows, Row, Unread, open_dataset, parquet_rows
from fex.texts.columns import named_column

__all__ = ["as_file", "find_pictures", "picture_key", "picture_pixels"]

PACKED = (".parquet", ".tar")
_COMPRESSED = re.compile(r"\.(tgz|tar\.[a-z0-9]{2,4})$", re.IGNORECASE)


def find_pictures(inputs: Sequence[str | Path], output: Path, column: str | None = None) -> Iterator[ImageFile | Row]:
    """Pictures of all arguments with the names of their results, which are all different but within a tar.

    A folder without any picture is looked through for parquet files and tars.

    Args:
        inputs: files, folders, and what `open_dataset` takes.
        output: a folder that is not looked into.
        column: of the pictures in tables.

    Raises:
        ValueError: a table has no such column, or does not say which it is; a data set cannot be read; or a tar is
            compressed.
    """
    taken: set[str] = set()
    for given in inputs:
        path, dataset = Path(given), open_dataset(str(given))
        # One folder is mirrored as it is; among several arguments each keeps a folder of its name.
        if dataset is None and path.is_dir() and len(inputs) == 1:
            prefix = PurePath()
        else:
            prefix = PurePath(_unused(path.resolve().name or "root", taken))
        if dataset is not None:
            yield from DatasetRows(dataset, str(prefix), lambda schema, name: [_picture_column(schema, name, column)])
        elif path.is_dir():
            names = walk_images(path, without=output)
            first = next(names, None)
            found = walk_images(path, without=output, suffixes=PACKED) if first is None else chain([first], names)
            for name in found:
                yield from _pictures(path / name, prefix / name, column)
        else:
            yield from _pictures(path, prefix, column)


def _pictures(path: Path, name: PurePath, column: str | None) -> Iterator[ImageFile | Row]:
    """What a file holds: one picture, or many."""
    suffix = path.suffix.lower()
    if _COMPRESSED.search(path.name):
        raise ValueError(f"{path} is a compressed tar, in which no picture can be found by its place: give it as .tar.")
    if suffix == ".parquet":
        rows = parquet_rows(path, str(name), lambda schema, source: [_picture_column(schema, source, column)])
        yield from [ImageFile(rows, name)] if isinstance(rows, Unread) else rows
    elif suffix == ".tar":
        for member, place in tar_members(path, MAX_BYTES):
            parts = [
                part for part in PurePath(member).parts if part != ".."
            ]  # a name, no place: nothing is written there
            if not member:  # the archive is damaged
                yield ImageFile(place, name)
            elif PurePath(member).suffix.lower() in IMAGE_SUFFIXES and not any(map(passed_over, parts)):
                yield ImageFile(place, PurePath(f"{name}#{member}"))
    else:
        yield ImageFile(path, name)


def _picture_column(schema: pa.Schema, source: str, wanted: str | None) -> str:
    able = [field.name for field in schema if _holds_pictures(field.type)]
    if wanted is None and len(able) != 1:
        raise ValueError(
            f"{source} has {len(able) or 'no'} columns of encoded pictures (binary, or structs of bytes and path); its "
            f"columns are {schema.names}. " + ("Name one (--column)." if able else "Give a table that has one.")
        )
    found = named_column(schema.names, able[0] if wanted is None else wanted, source)
    if found is None:
        raise ValueError(f"{source} has no column {wanted!r}; it has {schema.names}. Name one of these.")
    if found not in able:
        raise ValueError(
            f"Column {found!r} of {source} holds {schema.field(found).type}, expected encoded pictures: binary, or "
            "structs of bytes and path."
        )
    return found


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else pa.null()
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _unused(name: str, taken: set[str]) -> str:
    """The name, or the first of 2-name, 3-name, ... that is not taken; takes it."""
    chosen, number = name, 1
    while chosen.lower() in taken:  # some file systems do not tell a from A
        number += 1
        chosen = f"{number}-{name}"
    taken.add(chosen.lower())
    return chosen


def as_file(found: ImageFile | Row) -> ImageFile:
    """What `explain_files` takes; a row is read."""
    if isinstance(found, ImageFile):
        return found
    cells = found.read()
    return ImageFile(cells if isinstance(cells, Unread) else cells[0], PurePath(found.name))


def picture_pixels(source: Any, preprocess: Preprocess) -> Tensor:
    """Reads the `path` of what `as_file` gives: uint8 (3, H, W).

    Raises:
        UnreadableImageError: with the reason.
    """
    if isinstance(source, Unread):
        raise UnreadableImageError(source.reason)
    if isinstance(source, TarMember):
        try:
            source = source.read()
        except OSError as error:
            raise UnreadableImageError(str(error)) from error
    if isinstance(source, Mapping):
        source = source.get("bytes") or source.get("path")
    if not source:
        raise UnreadableImageError("there is no picture: the cell is null or empty")
    return read_pixels(source, preprocess)


def picture_key(found: ImageFile | Row) -> list[Any]:
    """What tells a picture from others, for `--resume`: its name, and size and time of change of its file."""
    if isinstance(found, Row):
        return found.key
    if isinstance(found.path, TarMember):
        return [found.name.as_posix(), found.path.start, found.path.size, found.path.stamp]
    if isinstance(found.path, Unread):
        return [found.name.as_posix(), found.path.reason]
    try:
        status = found.path.stat()
    except OSError:
        return [found.name.as_posix(), None, None]
    return [found.name.as_posix(), status.st_size, status.st_mtime_ns]
