"""Data sets of the `datasets` library, by id or from local files, in memory-mapped tables or streamed."""

import logging
import random
from collections.abc import Iterator
from typing import Any

from datamodules.base import ImageDataModule
from datamodules.order import held_back, mixed, shared
from datamodules.rows import Row, Rows

__all__ = ["Hub", "HubStream", "HubTable", "load_reason"]

log = logging.getLogger("datamodules")

_READ_TOGETHER = 16  # rows

# Splits by the trainer's task: one that a data set has not is missed only where it is needed.
_NEEDED = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}


def load_reason(error: BaseException) -> str:
    """Why `datasets` cannot load: its own error says no more than that; the one below it, such as pyarrow's, does."""
    below = error.__cause__ if type(error).__module__.startswith("datasets.") else None
    return " ".join(str(below or error).split())[:500]


def _encoded(data: Any, image_column: str, label_column: str | None) -> Any:
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


class _Columns:
    """From a row of `datasets` to a `Row`."""

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

    def row(self, values: dict[str, Any], name: str) -> Row:
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
        return Row(image, None if label is None or label < 0 else int(label), name)


class HubTable:
    """A `datasets.Dataset` as a `TableSource`."""

    def __init__(self, data: Any, columns: _Columns) -> None:
        self.data, self.columns = data, columns

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Row:
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

    def __init__(self, data: Any, columns: _Columns, length: int | None, buffer: int, seed: int) -> None:
        self.data, self.columns, self.length, self.buffer, self.seed = data, columns, length, buffer, seed
        self.parts = data.num_shards

    def deal(self, shard: int, shards: int) -> Iterator[tuple[int, Row]]:
        """In turn."""
        for index, values in enumerate(self.data):
            if index % shards == shard:
                yield index, self.columns.row(values, f"row {index}")

    def _file(self, number: int) -> Iterator[dict[str, Any]]:
        """Rows of one file, in any process: by themselves, `datasets` would share it among the loader processes."""
        from datasets.distributed import split_dataset_by_node

        for rows in split_dataset_by_node(self.data, number, self.parts).iter(_READ_TOGETHER):
            yield from (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))

    def shuffled(self, shard: int, shards: int, epoch: int) -> Iterator[Row]:
        """Whole files as far as their number goes, in another order each epoch; see `shared`."""
        draws = random.Random(f"{self.seed} {epoch}")  # the order of the files is the same for all readers
        order = draws.sample(range(self.parts), self.parts)

        def rows() -> Iterator[Row]:
            for place, owned in shared(self.parts, shard, shards):
                for index, values in enumerate(self._file(order[place])):
                    if owned(index):
                        yield self.columns.row(values, f"row {index} of file {order[place]}")

        return mixed(rows(), self.buffer, random.Random(f"{self.seed} {epoch} {shard}"))


class Hub(ImageDataModule):
    """A data set of the Hugging Face hub, or a local folder that `datasets.load_dataset` understands.

    Args:
        name: id or folder.
        config_name: which of its configurations.
        data_files: local or remote files by split, for the generic builders.
        image_column: column of pictures: `datasets` images, or encoded bytes.
        label_column: column of labels, integers or class names; None if there are none.
        class_names: names in label order; by default those of the data's own class labels, or its sorted strings.
        train_split: split to train on, in the syntax of `datasets`.
        val_split: split to validate on; None holds back `val_fraction` of the training split by a fixed permutation.
        test_split: split to test and predict on; None if there is none.
        val_fraction: see `val_split`; only without streaming.
        streaming: read row by row, without a local copy.
        shuffle_buffer: rows shuffled together when streaming.
        epoch_size: training rows of an epoch when streaming; by default the split's size, where the data tells it.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        name: str,
        config_name: str | None = None,
        data_files: dict[str, Any] | None = None,
        image_column: str = "image",
        label_column: str | None = "label",
        class_names: list[str] | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        test_split: str | None = "test",
        val_fraction: float = 0.1,
        streaming: bool = False,  # noqa: FBT001, FBT002
        shuffle_buffer: int = 1000,
        epoch_size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.name, self.config_name, self.data_files = name, config_name, data_files
        self.image_column, self.label_column, self.class_names = image_column, label_column, class_names
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.val_fraction, self.streaming = val_fraction, streaming
        self.shuffle_buffer, self.epoch_size = shuffle_buffer, epoch_size

    def _load(self, split: str) -> Any:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            return load_dataset(
                self.name, self.config_name, data_files=self.data_files, split=split, streaming=self.streaming
            )
        except (OSError, ValueError, DatasetsError) as error:
            part = next(part for part, given in self.splits.items() if given == split)
            none = "" if part == "train" else f" Set `{part}_split: null` if there is none."
            raise ValueError(
                f"Cannot load the split {split!r} of {self.name!r} ({load_reason(error)}). Check the id and "
                f"`{part}_split`.{none} Without a network, give a local folder, or parquet files to "
                "`datamodules.Parquet`."
            ) from error

    def split_length(self, data: Any, split: str) -> int | None:
        """Rows of a streamed split, None if unknown."""
        known = (data.info.splits or {}).get(split) if data.info is not None else None
        return known.num_examples if known is not None else None

    def prepare_data(self) -> None:
        """Downloads or converts what the stage needs once, in one process a machine."""
        stage = self.trainer.state.fn if self.trainer is not None else None
        if not self.streaming:
            for part in _NEEDED.get(stage, tuple(self.splits)):
                # Without a split of its own, validation data is held back from the training split.
                split = self.splits[part] or (self.splits["train"] if part == "val" else None)
                if split is not None:
                    self._load(split)

    def _columns(self, data: Any) -> _Columns:
        """Finds the class names, if the labels have any."""
        feature = data.features[self.label_column] if self.label_column and data.features else None
        if self.class_names is None and hasattr(feature, "names"):
            self.class_names = list(feature.names)
        if self.class_names is None and getattr(feature, "dtype", None) in ("string", "large_string"):
            if self.streaming:
                raise ValueError(
                    f"The labels in {self.label_column!r} are text: set class_names to stream the data, or "
                    "label_column to null."
                )
            self.class_names = sorted(data.unique(self.label_column))
        ids = {name: label for label, name in enumerate(self.class_names)} if self.class_names else None
        return _Columns(self.image_column, self.label_column, ids, needed=self.labels_needed)

    def _source(self, split: str) -> HubTable | HubStream:
        data = _encoded(self._load(split), self.image_column, self.label_column)
        columns = self._columns(data)
        if not self.streaming:
            return HubTable(data, columns)
        return HubStream(data, columns, self.split_length(data, split), self.shuffle_buffer, self.seed)

    def _dataset(self, split: str) -> Rows | HubStream:
        source = self._source(split)
        return source if isinstance(source, HubStream) else Rows(source, self.preprocess)

    def setup(self, stage: str) -> None:
        """Opens the splits the stage needs, once."""
        val, test = self.splits["val"], self.splits["test"]
        if stage == "fit" and "train" not in self.datasets:
            train = self._source(self.splits["train"])
            if isinstance(train, HubStream) or val is not None:
                self.datasets["train"] = train if isinstance(train, HubStream) else Rows(train, self.preprocess)
            else:
                self._hold_back(train)
        if stage in ("fit", "validate") and "val" not in self.datasets:
            if val is not None:
                self.datasets["val"] = self._dataset(val)
            elif not self.streaming:
                self._hold_back(self._source(self.splits["train"]))
        if stage in ("test", "predict") and "test" not in self.datasets and test is not None:
            self.datasets["test"] = self._dataset(test)

    def _hold_back(self, table: HubTable) -> None:
        for part, rows in held_back(len(table), {"val": self.val_fraction}).items():
            self.datasets[part] = Rows(table, self.preprocess, rows)
