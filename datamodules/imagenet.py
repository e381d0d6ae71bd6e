"""ImageNet (ILSVRC-2012), labels 0 ... 999 in the order of the sorted wnids."""

from functools import cache
from pathlib import Path
from typing import Any

from datamodules.folder import Folder
from datamodules.hub import Hub
from datamodules.images import ImageDataModule
from datamodules.parquet import Parquet

__all__ = ["ImageNet", "imagenet_classes"]


@cache
def imagenet_classes() -> tuple[list[str], list[str]]:
    """(wnids, names) of the 1000 classes in label order, from timm. Two pairs of names are equal (crane, maillot)."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    wnids = info.label_names()
    return wnids, [info.label_name_to_description(wnid).split(",")[0] for wnid in wnids]


def _parquet_folder(root: Path) -> Path | None:
    return next((folder for folder in (root, root / "data") if any(folder.glob("train*.parquet"))), None)


class _WnidFolder(Folder):
    """Labels by wnid: any subset of the classes keeps those of the full set."""

    def label_names(self, names: list[str]) -> list[str]:
        super().label_names(names)
        return imagenet_classes()[1]

    def folder_label(self, folder: str, class_names: list[str]) -> int:
        wnids = imagenet_classes()[0]
        if folder not in wnids:
            raise ValueError(
                f"Folder {folder!r} in {self.root!r} is no wnid of ILSVRC-2012 (such as {wnids[0]!r}): sort the images "
                "into folders named by wnid, or use datamodules.Folder for other classes."
            )
        return wnids.index(folder)


class ImageNet(ImageDataModule):
    """ImageNet in whatever form it lies there; the validation images are the test data too.

    Args:
        root: one of

            - a folder with ``train/`` and ``val/`` of one folder a wnid;
            - a folder of such folders alone (a sample), split as in `Folder`;
            - a folder with train*.parquet and val*.parquet, in it or in its ``data/``;
            - a `datasets` id.
        val_fraction: share of a sample held back for validation.
        test_fraction: share of a sample held back for the test.
        streaming: read parquet files and ids row by row, without a local copy.
        shuffle_buffer: rows shuffled together when streaming.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str = "ILSVRC/imagenet-1k",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        *,
        streaming: bool = True,
        shuffle_buffer: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.class_names = root, imagenet_classes()[1]
        place = Path(root).expanduser()
        table = {"class_names": self.class_names, "streaming": streaming, "shuffle_buffer": shuffle_buffer, **options}
        self._inner: Folder | Hub
        if not place.exists() and not root.startswith((".", "/", "~")):
            self._inner = Hub(root, val_split="validation", test_split="validation", **table)
        elif (folder := _parquet_folder(place)) is not None:
            val = str(folder / "val*.parquet")
            self._inner = Parquet(str(folder / "train*.parquet"), val, val, **table)
        else:
            self._inner = _WnidFolder(str(place), val_fraction, test_fraction, labels=True, **options)

    def prepare_data(self) -> None:
        """Downloads or converts once, in one process a machine."""
        self._inner.prepare_data()

    def setup(self, stage: str) -> None:
        """Opens the parts the stage needs, once."""
        self._inner.trainer, self._inner._preprocess = self.trainer, self._preprocess
        self._inner.setup(stage)
        self.datasets = self._inner.datasets
