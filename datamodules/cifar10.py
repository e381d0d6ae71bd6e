"""CIFAR-10 from parquet files, a `datasets` id or torchvision, held in memory as bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from datamodules.hub_rows import load_split
from datamodules.images import ImageDataModule
from datamodules.pixels import Pixels
from fex.images import decode

__all__ = ["CIFAR10", "CIFAR10_CLASSES"]

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def _files(folder: Path, split: str) -> list[Path]:
    """train.parquet, or train-00000-of-00001.parquet ... as the hub has them."""
    whole = folder / f"{split}.parquet"
    return [whole] if whole.is_file() else sorted(folder.glob(f"{split}-*.parquet"))


def _from_parquet(paths: list[Path]) -> Pixels:
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    column = table["image"] if "image" in table.column_names else table["img"]
    raw = [row["bytes"] if isinstance(row, dict) else row for row in column.to_pylist()]
    pixels = np.stack([np.asarray(decode(row)) for row in raw])
    return Pixels(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(table["label"].to_pylist()))


def _from_torchvision(root: Path, *, train: bool) -> Pixels:
    from torchvision.datasets import CIFAR10 as Source  # noqa: N811

    source = Source(str(root), train=train, download=False)
    return Pixels(torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(source.targets))


def _from_hub(name: str, split: str) -> Pixels:
    rows = load_split(name, split, "Without a network, set `root` to a folder with the data set's files.")
    image = "img" if "img" in rows.column_names else "image"
    pixels = np.stack([np.asarray(row.convert("RGB")) for row in rows[image]])
    return Pixels(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(rows["label"]))


class CIFAR10(ImageDataModule):
    """50,000 training and 10,000 test images of 32 x 32 pixels.

    The test set is the test set: validation takes the last `num_val` training images.

    Args:
        root: a folder with train.parquet and test.parquet (or a copy of the hub's, in parts, in data/ or plain_text/),
            or torchvision's cifar-10-batches-py, or else the id of a `datasets` data set such as "uoft-cs/cifar10".
        num_train: use only the first so many training images.
        num_val: training images held back for validation.
        num_test: use only the first so many test images.
        **options: see `ImageDataModule`.
    """

    class_names = CIFAR10_CLASSES

    def __init__(
        self,
        root: str,
        num_train: int | None = None,
        num_val: int = 1000,
        num_test: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.num_train, self.num_val, self.num_test = root, num_train, num_val, num_test

    def _read(self, split: str) -> Pixels:
        root = Path(self.root)
        files = next((found for sub in ("", "data", "plain_text") if (found := _files(root / sub, split))), [])
        if files:
            return _from_parquet(files)
        if (root / "cifar-10-batches-py").is_dir():
            return _from_torchvision(root, train=split == "train")
        if root.exists() or self.root.startswith((".", "/", "~")):
            raise FileNotFoundError(
                f"Found neither {split}.parquet, {split}-*.parquet nor cifar-10-batches-py in {root}: set `root` to "
                "such a folder, or to a data set id of the Hugging Face hub."
            )
        return _from_hub(self.root, split)

    def setup(self, stage: str) -> None:
        """Reads the parts the stage needs, once."""
        if stage in ("fit", "validate") and "val" not in self.datasets:
            data = self._read("train")
            cut = len(data) - self.num_val
            if not 0 <= self.num_val < len(data):
                raise ValueError(
                    f"num_val must be in 0 ... {len(data) - 1} (there are {len(data)}), got {self.num_val}."
                )
            self.datasets["train"] = self._part(data, 0, cut if self.num_train is None else min(cut, self.num_train))
            self.datasets["val"] = self._part(data, cut, len(data))
        if stage in ("test", "predict") and "test" not in self.datasets:
            data = self._read("test")
            self.datasets["test"] = self._part(data, 0, len(data) if self.num_test is None else self.num_test)

    def _part(self, data: Pixels, first: int, last: int) -> Pixels:
        data.preprocess = self.known_preprocess
        return data.part(first, last)
