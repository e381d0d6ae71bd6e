"""Rows of parquet files and of `datasets`, by their number, a few in memory at a time."""

import hashlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = [
    "Choose",
    "DatasetRows",
    "ParquetRows",
    "Row",
    "Rows",
    "Unread",
    "is_dataset",
    "open_dataset",
    "parquet_rows",
]

HUB = "hf://datasets/"
BATCH = 16  # rows in memory; a picture may have a gigabyte
MOST = 2**31  # rows of a file; its footer may say any number

Choose = Callable[[pa.Schema, str], list[str]]  # schema of a table and its name -> the columns to read


class Unread(NamedTuple):
    """Stands where something cannot be read."""

    reason: str


class Rows(ABC):
    """Rows of a table; one after the other they are read once.

    Args:
        name: of the table.
        count: of its rows.
        columns: whose cells are read.
        stamp: plain data that changes with the table's content.
    """

    def __init__(self, name: str, count: int, columns: Sequence[str], stamp: Any) -> None:
        self.name, self.count, self.columns, self.stamp = name, count, list(columns), stamp
        self._next, self._ahead = count, iter(())  # type: tuple[int, Iterator[Any]]

    def __iter__(self) -> "Iterator[Row]":
        return (Row(self, number) for number in range(self.count))

    def read(self, number: int) -> tuple[Any, ...] | Unread:
        """Cells of a row, counted from 0, or why it cannot be read."""
        if not self._follows(number):
            self._next, self._ahead = number, self._from(number)
        skipped = number - self._next
        found = next(islice(self._ahead, skipped, None), Unread("the table has fewer rows than it had, or says"))
        self._next = number + 1
        if isinstance(found, Unread):
            return found
        batch, row = found
        try:
            return tuple(batch.column(name)[row].as_py() for name in self.columns)
        except ValueError as error:  # bytes that are no text
            return Unread(str(error))

    def _follows(self, number: int) -> bool:
        """Whether to read on to that row, rather than to begin with it."""
        return self._next <= number < self._next + BATCH

    @abstractmethod
    def _from(self, number: int) -> Iterator[Any]:
        """Batch and number in it of each row from that one on, or `Unread`."""


class Row(NamedTuple):
    """A row that was not read yet."""

    rows: Rows
    number: int

    @property
    def name(self) -> str:
        """Of its table, and its number, counted from 0."""
        return f"{self.rows.name}#{self.number}"

    @property
    def key(self) -> list[Any]:
        """What tells it from others."""
        return [self.name, self.rows.stamp]

    def read(self) -> tuple[Any, ...] | Unread:
        """Its cells."""
        return self.rows.read(self.number)


class ParquetRows(Rows):
    """Those of a file; see `parquet_rows`."""

    def __init__(self, path: Path, name: str, choose: Choose) -> None:
        self.path, status = path, path.stat()
        with pq.ParquetFile(path) as file:
            schema, found = file.schema_arrow, file.metadata
            counts = [found.row_group(group).num_rows for group in range(found.num_row_groups)]
        if min(counts, default=0) < 0 or not sum(counts) == found.num_rows <= MOST:
            raise pa.ArrowInvalid(f"its footer says {found.num_rows:,} rows, and its groups {sum(counts):,}")
        columns = choose(schema, name)
        super().__init__(name, found.num_rows, columns, [status.st_size, status.st_mtime_ns])
        kinds = {column: schema.field(column).type for column in columns}
        self._leaves = [f"{column}.bytes" if pa.types.is_struct(kinds[column]) else column for column in columns]
        self._counts, self._starts = counts, [0, *accumulate(counts)][: len(counts)]

    def _group(self, number: int) -> int:
        return bisect_right(self._starts, number) - 1

    def _follows(self, number: int) -> bool:  # pages of a group are read from its beginning
        return self._next <= number and self._group(self._next) == self._group(number)

    def _from(self, number: int) -> Iterator[Any]:
        first = self._group(number)
        with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=2**20) as file:
            for group in range(first, len(self._counts)):
                yield from islice(
                    self._rows_of(file, group), number - self._starts[group] if group == first else 0, None
                )

    def _rows_of(self, file: pq.ParquetFile, group: int) -> Iterator[Any]:
        done, reason = 0, "its row group has fewer rows than it says"
        try:
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=self._leaves, use_threads=False):
                for row in range(min(batch.num_rows, self._counts[group] - done)):
                    done += 1
                    yield batch, row
        except (pa.ArrowException, OSError) as error:
            reason = f"its row group cannot be read: {_line(error)}"
        for _ in range(self._counts[group] - done):
            yield Unread(reason)


def parquet_rows(path: Path, name: str, choose: Choose) -> Rows | Unread:
    """Rows of a file. A damaged group is so many rows that cannot be read.

    Args:
        path: of the file.
        name: it is called.
        choose: the columns. Of structs of bytes and path only the bytes are read.

    Raises:
        ValueError: of `choose`.
    """
    try:
        return ParquetRows(path, name, choose)
    except (pa.ArrowException, OSError) as error:
        return Unread(f"it cannot be read as parquet: {_line(error)}")


class DatasetRows(Rows):
    """Those of a `datasets.Dataset`, not decoded.

    Raises:
        ValueError: of `choose`.
    """

    def __init__(self, dataset: Any, name: str, choose: Choose) -> None:
        columns = choose(dataset.features.arrow_schema, name)
        files = [Path(file["filename"]) for file in dataset.cache_files]  # there may be thousands
        stamp = repr([[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files])
        super().__init__(name, len(dataset), columns, hashlib.sha256(stamp.encode()).hexdigest())
        self._data = dataset.select_columns(columns).with_format("arrow")

    def _from(self, number: int) -> Iterator[Any]:
        for first in range(number, self.count, BATCH):
            batch = self._data[first : first + BATCH]
            for row in range(batch.num_rows):
                yield batch, row


def _place(given: str) -> tuple[str, str] | None:
    """Folder or id, and split or ""; None where something else is given, a text of any length too."""
    try:
        return _checked_place(given)
    except (OSError, ValueError):  # no name of a file
        return None


def _checked_place(given: str) -> tuple[str, str] | None:
    if given.startswith(HUB):
        place, _, split = given.removeprefix(HUB).partition(":")
        return place, split
    place, split = (given, "") if Path(given).is_dir() else given.rpartition(":")[::2]
    saved = (("state.json", "dataset_info.json"), ("dataset_dict.json",))  # one, and several splits
    if place and any(all((Path(place) / name).is_file() for name in names) for names in saved):
        return place, split
    return None


def is_dataset(given: str) -> bool:
    """Whether `open_dataset` is to open it."""
    return _place(given) is not None


def open_dataset(given: str) -> Any | None:
    """A folder of `save_to_disk`, or a data set of the hub.

    Args:
        given: FOLDER, FOLDER:SPLIT, or hf://datasets/ID, ID:SPLIT or ID/CONFIG:SPLIT. What is on the hub is downloaded
            once, into the cache of `datasets`.

    Returns:
        A `datasets.Dataset`; None where something else is given.

    Raises:
        ValueError: it cannot be read, or a split must be named.
    """
    found = _place(given)
    if found is None:
        return None
    import datasets  # here: it takes a second

    place, split = found
    where = f"{HUB}{place}" if given.startswith(HUB) else place
    try:
        if given.startswith(HUB):
            owner, name, config = (place.split("/", 2) + [None, None])[:3]
            data = datasets.load_dataset(f"{owner}/{name}" if name else owner, config, split=split or None)
        else:
            data = datasets.load_from_disk(place)
    except Exception as error:  # of the network and of files, a dozen kinds
        raise ValueError(f"datasets cannot read {given}: {_line(error)}") from error
    if isinstance(data, datasets.DatasetDict):
        if not split and len(data) > 1 or split and split not in data:
            raise ValueError(f"{where} has the splits {', '.join(data)}: name one, as {where}:{next(iter(data))}.")
        return data[split or next(iter(data))]
    if split and not given.startswith(HUB):
        raise ValueError(f"{place} has no splits: leave out :{split}.")
    return data


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
