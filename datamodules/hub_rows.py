"""Rows of the `datasets` library: from memory-mapped tables, and from streams shared by whole files."""

import logging
import random
from collections.abc import Iterator
from typing import Any

from datamodules.order import mixed, shared
from datamodules.rows import PictureRow

__all__ = ["Columns", "HubStream", "HubTable", "encoded_columns", "load_split"]

log = logging.getLogger("datamodules")


_READ_TOGETHER = 16  # rows


def load_split(source: str, split: str, advice: str, *config: str | None, **options: Any) -> Any:
    """A split of a data set (and `config` of it) of the hub or of a local folder, see `datasets.load_dataset`.

    Raises:
        ValueError: it cannot be loaded; ends with `advice`.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(source, *config, split=split, **options)
    except (OSError, ValueError, DatasetsError) as error:
        # Its own error says no more than that it failed; the one below it, such as pyarrow's, does.
        below = error.__cause__ if type(error).__module__.startswith("datasets.") else None
        reason = " ".join(str(below or error).split())[:500]
        raise ValueError(f"Cannot load the split {split!r} of {source!r} ({reason}). {advice}") from error


def encoded_columns(data: Any, image_column: str, label_column: str | None) -> Any:
    """The two columns alone, pictures left encoded: they are decoded, and their errors counted, elsewhere."""
    from datasets import Image

    columns = data.column_names
    if columns is None:  # a stream that does not know its columns before it is read
        columns = list(next(iter(data)))
    wanted = [image_column] + ([label_column] if label_column else [])
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise ValueError(f"The data has no column {missing[0]!r}; it has {columns}. Set image_column and label_column.")
    data = data.select_columns(wanted)
    if data.features is not None and isinstance(data.features[image_column], Image):
        data = data.cast_column(image_column, Image(decode=False))
    return data


class Columns:
    """From a row of `datasets` to a `PictureRow`."""

    def __init__(
        self, image_column: str, label_column: str | None, label_ids: dict[str, int] | None, *, needed: bool = True
    ) -> None:
        self.image_column, self.label_column, self.label_ids = image_column, label_column, label_ids
        self.needed, self._told = needed, False

    def _unknown(self, label: str, name: str) -> None:
        message = f"Label {label!r} of {name} is not among class_names: list all of them, in order."
        if self.needed:
            raise ValueError(message)
        if not self._told:
            self._told = True
            log.warning("%s Such rows go without labels, which nothing here needs.", message)

    def row(self, values: dict[str, Any], name: str) -> PictureRow:
        image = values[self.image_column]
        if isinstance(image, dict):
            name = image.get("path") or name
            image = image.get("bytes") or image.get("path")
        # None and what is no picture at all fail in the decoder, by name.
        label = values[self.label_column] if self.label_column else None
        if isinstance(label, str):
            if self.label_ids is None or label not in self.label_ids:
                self._unknown(label, name)
            label = (self.label_ids or {}).get(label)
        return PictureRow(image, None if label is None or label < 0 else int(label), name)


class HubTable:
    """A `datasets.Dataset` as a `TableSource`."""

    def __init__(self, data: Any, columns: Columns) -> None:
        self.data, self.columns = data, columns

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> PictureRow:
        return self.columns.row(self.data[int(index)], f"row {index}")


class HubStream:
    """A `datasets.IterableDataset` as a `StreamSource`.

    Args:
        data: the stream.
        columns: what to take from its rows.
        length: its rows, None if unknown.
        buffer: rows that a reader shuffles together; the order of the files is shuffled too.
        seed: seed of the shuffle.
    """

    parallel = False

    def __init__(self, data: Any, columns: Columns, length: int | None, buffer: int, seed: int) -> None:
        self.data, self.columns, self.length, self.buffer, self.seed = data, columns, length, buffer, seed
        self.parts = data.num_shards

    def deal(self, shard: int, shards: int) -> Iterator[tuple[int, PictureRow]]:
        """In turn."""
        for index, values in enumerate(self.data):
            if index % shards == shard:
                yield index, self.columns.row(values, f"row {index}")

    def _file(self, number: int) -> Iterator[dict[str, Any]]:
        """Rows of one file, in any process: by themselves, `datasets` would share it among the loader processes."""
        from datasets.distributed import split_dataset_by_node

        for rows in split_dataset_by_node(self.data, number, self.parts).iter(_READ_TOGETHER):
            yield from (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))

    def shuffled(self, shard: int, shards: int, epoch: int) -> Iterator[PictureRow]:
        """Whole files as far as their number goes, in another order each epoch; see `shared`."""
        draws = random.Random(f"{self.seed} {epoch}")  # the order of the files is the same for all readers
        order = draws.sample(range(self.parts), self.parts)

        def rows() -> Iterator[PictureRow]:
            for place, owned in shared(self.parts, shard, shards):
                for index, values in enumerate(self._file(order[place])):
                    if owned(index):
                        yield self.columns.row(values, f"row {index} of file {order[place]}")

        return mixed(rows(), self.buffer, random.Random(f"{self.seed} {epoch} {shard}"))
