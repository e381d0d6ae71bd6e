"""Rows of encoded pictures as batches: with random access, or as a stream."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from datamodules.skips import Skips
from fex.images import Preprocess, UnreadableImageError, read_pixels
from fex.types import Batch

__all__ = [
    "EvalStream",
    "PictureRow",
    "PictureRows",
    "RowStream",
    "StreamSource",
    "TableSource",
    "TrainStream",
    "collate",
]

_MAX_WORKERS = 1024


class PictureRow(NamedTuple):
    """An encoded picture: its bytes or its path, its label if it has one, and what to call it in messages."""

    image: Any
    label: int | None
    name: str


class TableSource(Protocol):
    """Rows with random access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> PictureRow: ...


class StreamSource(Protocol):
    """Rows that can only be read one after the other.

    Attributes:
        length: rows in all, None if unknown.
        parts: its files, which training deals out to loader processes.
        parallel: whether `deal` may be called in several loader processes.
    """

    length: int | None
    parts: int
    parallel: bool

    def deal(self, shard: int, shards: int) -> Iterator[tuple[int, PictureRow]]:
        """(number, row) of the rows that fall to `shard`: each row to exactly one."""
        ...

    def shuffled(self, shard: int, shards: int, epoch: int) -> Iterator[PictureRow]:
        """One pass over the rows of `shard`, each row in exactly one, in an order that depends on `epoch`."""
        ...


def collate(rows: list[dict[str, Any]]) -> Batch:
    """Stacks what the rows have; keys that are missing in one row are missing in the batch; text becomes a list."""
    keys = [key for key in rows[0] if all(key in row for row in rows)]
    batch: dict[str, Any] = {}
    for key in keys:
        values = [row[key] for row in rows]
        batch[key] = values if isinstance(values[0], str) else torch.stack([torch.as_tensor(value) for value in values])
    return batch  # type: ignore[return-value]


def _labelled(inputs: Tensor, row: PictureRow, *, valid: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"inputs": inputs, "valid": valid, "names": row.name}
    if row.label is not None:
        item["labels"] = row.label
    return item


class PictureRows:
    """A table of pictures as a data set, inputs uint8; an unreadable one is a black picture with valid = False.

    Args:
        source: the table.
        preprocess: geometry of the inputs.
        select: rows to use, by default all.
    """

    def __init__(self, source: TableSource, preprocess: Preprocess, select: list[int] | None = None) -> None:
        self.source, self.preprocess = source, preprocess
        self.select = None if select is None else np.array(select, np.int64)  # no object a row
        self.skips = Skips(len(self))

    def __len__(self) -> int:
        return len(self.source) if self.select is None else len(self.select)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.source[index if self.select is None else int(self.select[index])]
        try:
            inputs = read_pixels(row.image, self.preprocess)
        except UnreadableImageError as error:
            self.skips.row(index, row.name, error)
            return _labelled(torch.zeros(3, *self.preprocess.size, dtype=torch.uint8), row, valid=False)
        return _labelled(inputs, row, valid=True)


class RowStream(IterableDataset[Batch]):
    """Batches of one rank from a stream, in constant memory.

    Args:
        source: the stream.
        preprocess: geometry of the inputs.
        batch_size: rows of one rank.
        rank: this process.
        world_size: number of processes.
    """

    steps: int | None = None

    def __init__(
        self, source: StreamSource, preprocess: Preprocess, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.source, self.preprocess, self.batch_size = source, preprocess, batch_size
        self.rank, self.world_size = rank, world_size
        self.skips = Skips(_MAX_WORKERS)

    @property
    def max_workers(self) -> int:
        """How many loader processes of this rank have a whole file each; one at the least."""
        return min(max(1, self.source.parts // self.world_size), _MAX_WORKERS)

    def seek(self, position: int) -> int:
        """Makes the next iteration start at training batch `position`; returns how many to throw away before it."""
        return 0

    @staticmethod
    def worker() -> tuple[int, int]:
        """(this loader process, their number)."""
        info = get_worker_info()
        return (0, 1) if info is None else (info.id, info.num_workers)

    def item(self, row: PictureRow, index: int, *, valid: bool = True) -> dict[str, Any]:
        """A decoded row, or a black one where `valid` is False or the picture cannot be read."""
        inputs = torch.zeros(3, *self.preprocess.size, dtype=torch.uint8)
        if valid:
            try:
                inputs = read_pixels(row.image, self.preprocess)
            except UnreadableImageError as error:
                self.skips.stream(self.worker()[0], row.name, error)
                valid = False
        return {**_labelled(inputs, row, valid=valid), "index": index}


class TrainStream(RowStream):
    """Passes without end; an epoch is `steps` batches, the same number on all ranks, whatever each one owns.

    Resuming reads past the rows done in that epoch without decoding them.
    """

    def __init__(self, *args: Any, epoch_size: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.steps = max(1, epoch_size // (self.batch_size * self.world_size))
        self._position = torch.zeros(1, dtype=torch.int64).share_memory_()  # read by loader processes that live on

    def seek(self, position: int) -> int:
        """See `RowStream`."""
        self._position[0] = position
        # Batches come from the loader processes in turn, beginning with the first: start a whole round early.
        return position % self.steps % self._workers

    _workers = 1

    def set_workers(self, count: int) -> None:
        """How many loader processes there will be."""
        self._workers = max(1, count)

    def _passes(self, shard: int, shards: int, epoch: int) -> Iterator[PictureRow]:
        while True:
            empty = True
            for row in self.source.shuffled(shard, shards, epoch):
                empty = False
                yield row
            if empty:
                raise ValueError(
                    f"The stream has no rows for rank {self.rank}, loader process {self.worker()[0]}: its "
                    f"{self.source.parts} files have fewer rows than the {shards} readers can share. Use fewer loader "
                    "processes (num_workers) or fewer devices, or train without streaming."
                )
            epoch += 1

    def __iter__(self) -> Iterator[Batch]:
        worker, workers = self.worker()
        epoch, done = divmod(int(self._position[0]), self.steps)
        skip = done // workers * self.batch_size
        shards, shard = self.world_size * workers, self.rank * workers + worker
        rows = []
        for number, row in enumerate(self._passes(shard, shards, epoch)):
            if number >= skip:
                rows.append(self.item(row, number * shards + shard))
            if len(rows) == self.batch_size:
                yield collate(rows)
                rows = []


class EvalStream(RowStream):
    """Every row once; batches that are not full are padded (valid = False).

    Ranks take equal steps where the source knows its length and deals its rows out in turn; such a source is read, but
    not decoded, as a whole by each rank, in one loader process.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.source.length is not None and not self.source.parallel:
            self.steps = -(-self.source.length // (self.batch_size * self.world_size))

    @property
    def max_workers(self) -> int:
        """As many as wanted, or one."""
        return _MAX_WORKERS if self.source.parallel else 1

    def __iter__(self) -> Iterator[Batch]:
        worker, workers = self.worker()
        rows: list[dict[str, Any]] = []
        given = 0
        for index, row in self.source.deal(self.rank * workers + worker, self.world_size * workers):
            rows.append(self.item(row, index))
            if len(rows) == self.batch_size:
                yield collate(rows)
                rows, given = [], given + 1
        while rows or given < (self.steps or 0):
            # Not labelled -1 but 0: a pad's label is never read, yet may be used as an index.
            pad = {**rows[0]} if rows else self.item(PictureRow(b"", 0, ""), 0, valid=False)
            rows += [{**pad, "valid": False}] * (self.batch_size - len(rows))
            yield collate(rows)
            rows, given = [], given + 1
