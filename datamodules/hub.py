"""Data sets of the `datasets` library, by id or from local files, in memory-mapped tables or streamed."""

import logging
from typing import Any

from datamodules.hub_rows import Columns, HubStream, HubTable, encoded_columns, load_split
from datamodules.images import ImageDataModule
from datamodules.order import held_back
from datamodules.rows import PictureRows

__all__ = ["Hub"]

log = logging.getLogger("datamodules")

# Splits by the trainer's task: one that a data set has not is missed only where it is needed.
_NEEDED = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}


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
        part = next(part for part, given in self.splits.items() if given == split)
        none = "" if part == "train" else f" Set `{part}_split: null` if there is none."
        return load_split(
            self.name,
            split,
            f"Check the id and `{part}_split`.{none} Without a network, give a local folder, or parquet files to "
            "`datamodules.Parquet`.",
            self.config_name,
            data_files=self.data_files,
            streaming=self.streaming,
        )

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

    def _columns(self, data: Any) -> Columns:
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
        return Columns(self.image_column, self.label_column, ids, needed=self.labels_needed)

    def _source(self, split: str) -> HubTable | HubStream:
        data = encoded_columns(self._load(split), self.image_column, self.label_column)
        columns = self._columns(data)
        if not self.streaming:
            return HubTable(data, columns)
        return HubStream(data, columns, self.split_length(data, split), self.shuffle_buffer, self.seed)

    def _dataset(self, split: str) -> PictureRows | HubStream:
        source = self._source(split)
        return source if isinstance(source, HubStream) else PictureRows(source, self.preprocess)

    def setup(self, stage: str) -> None:
        """Opens the splits the stage needs, once."""
        val, test = self.splits["val"], self.splits["test"]
        if stage == "fit" and "train" not in self.datasets:
            train = self._source(self.splits["train"])
            if isinstance(train, HubStream) or val is not None:
                self.datasets["train"] = train if isinstance(train, HubStream) else PictureRows(train, self.preprocess)
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
            self.datasets[part] = PictureRows(table, self.preprocess, rows)
