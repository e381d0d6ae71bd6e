"""What is in memory already: pictures, tensors, a data set of torch, texts."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, default_collate

from datamodules.images import ImageDataModule
from datamodules.order import held_back
from datamodules.text_module import TextDataModule, TextTable
from fex.images.files import as_picture

__all__ = ["Pictures", "Sentences"]

INPUT_KEYS = ("inputs", "pixel_values", "image", "img", "x")


class Pictures(ImageDataModule):
    """Pictures by index: paths, PIL images, arrays (h, w, 3) of uint8, or tensors (3, H, W) in [0, 1], and labels.

    Args:
        items: a list of these, a tensor (n, 3, H, W), a data set of torch whose items are these, (one, label) or a
            mapping with it, or a `DataLoader` of one, whose data set is taken.
        val_fraction: share held back for validation.
        **options: see `ImageDataModule`.

    Raises:
        TypeError: data without length; a loader that draws or joins its items in a way of its own.
        ValueError: nothing.
    """

    def __init__(self, items: Any, val_fraction: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        items = _data_of(items)
        if len(items) == 0:
            raise ValueError("Got no pictures, expected at least one.")
        self.items, self.val_fraction = items, val_fraction

    def setup(self, stage: str) -> None:  # noqa: ARG002 one split for all
        """Splits them, once."""
        if not self.datasets:
            parts = held_back(len(self.items), {"val": self.val_fraction})
            self.datasets = {name: _Opened(self.items, self.preprocess, rows) for name, rows in parts.items() if rows}


def _data_of(items: Any) -> Any:
    if isinstance(items, DataLoader):
        plain = isinstance(items.sampler, RandomSampler | SequentialSampler)
        if items.batch_sampler is None or items.collate_fn is not default_collate or not plain:
            raise TypeError(
                "Got a DataLoader with a sampler or collate_fn of its own, which would not be used here: give its data "
                "set, whose items are pictures."
            )
        items = items.dataset
    if isinstance(items, IterableDataset) or not (hasattr(items, "__len__") and hasattr(items, "__getitem__")):
        raise TypeError(
            f"Got a {type(items).__name__}, expected a folder, a list, a tensor or a data set with a length."
        )
    return items


class _Opened:
    """Some rows of the pictures as a data set of dicts."""

    def __init__(self, items: Any, preprocess: Any, rows: list[int]) -> None:
        self.items, self.preprocess, self.rows = items, preprocess, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, label = self.items[self.rows[index]], None
        if isinstance(item, dict):
            label = item.get("labels", item.get("label"))
            key = next((key for key in INPUT_KEYS if key in item), None)
            if key is None:
                raise TypeError(f"Got an item with {sorted(item)}, expected one of {', '.join(INPUT_KEYS)} in it.")
            item = item[key]
        elif isinstance(item, tuple | list) and len(item) >= 1:
            item, label = item[0], item[1] if len(item) > 1 else None
        row: dict[str, Any] = {"inputs": self._input(item)}
        if isinstance(label, int) or (isinstance(label, Tensor) and label.ndim == 0):
            row["labels"] = int(label)
        return row

    def _input(self, item: Any) -> Tensor:
        if not isinstance(item, Tensor):
            return self.preprocess(as_picture(item))
        if item.ndim != 3 or tuple(item.shape[1:]) != self.preprocess.size or not item.is_floating_point():
            height, width = self.preprocess.size
            raise ValueError(
                f"Got a tensor of shape {tuple(item.shape)}, {item.dtype}, expected (3, {height}, {width}), float, RGB "
                "in [0, 1], not normalised: the black box normalises by itself."
            )
        return item.float()


class Sentences(TextDataModule):
    """Texts in memory.

    Args:
        texts: texts, or pairs of texts.
        **options: see `TextDataModule`.
    """

    def __init__(self, texts: Sequence[Any], **options: Any) -> None:
        super().__init__(**options)
        self.texts = list(texts)

    def read(self, split: str) -> TextTable | None:
        """See `TextDataModule`: all are training texts, of which some are held back."""
        if split != "train":
            return None
        return TextTable(self.texts, None, None, [f"text {index}" for index in range(len(self.texts))], [])
