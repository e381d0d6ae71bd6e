"""Images with ground-truth masks in two folders, paired by file name."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datamodules.base import ImageDataModule
from datamodules.folder import iter_images
from datamodules.order import held_back
from datamodules.skips import Skips
from fex.image_files import UnreadableImageError, decode
from fex.preprocess import Preprocess

__all__ = ["Segmentation", "TopRows"]


@dataclass(frozen=True)
class TopRows:
    """The images that a table ranks highest, such as those of which a classifier is most certain.

    Args:
        table: CSV file in the data's folder.
        name: column of the images' names, without extension.
        column: column of numbers.
        count: how many.
    """

    table: str
    name: str
    column: str
    count: int

    def stems(self, root: Path) -> list[str]:
        """Names of the chosen images; equal numbers in the order of their names.

        Raises:
            FileNotFoundError: there is no such table.
            ValueError: no such column, or fewer rows than asked for.
        """
        path = root / self.table
        if not path.is_file():
            raise FileNotFoundError(f"Found no table {path}.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        missing = {self.name, self.column} - set(rows[0] if rows else {})
        if missing or not 1 <= self.count <= len(rows):
            raise ValueError(
                f"{path} has {len(rows)} rows and columns {sorted(rows[0]) if rows else []}; asked for {self.count} by "
                f"{self.column!r}, named by {self.name!r}."
            )
        ranked = sorted(rows, key=lambda row: (-float(row[self.column]), row[self.name]))
        return [row[self.name] for row in ranked[: self.count]]


def _by_stem(folder: Path) -> dict[str, str]:
    """Relative path without extension -> path."""
    found: dict[str, str] = {}
    for name in iter_images(folder):
        stem = os.path.splitext(name)[0]
        if stem in found:
            raise ValueError(f"{found[stem]!r} and {name!r} in {str(folder)!r} have one name: remove one of them.")
        found[stem] = name
    return found


class _Pairs:
    """Image and mask of each row, by path.

    Args:
        pairs: the two paths.
        names: of the rows.
        preprocess: geometry of the inputs.
    """

    def __init__(self, pairs: list[tuple[Path, Path]], names: list[str], preprocess: Preprocess) -> None:
        self.pairs, self.names, self.preprocess, self.skips = pairs, names, preprocess, Skips(len(pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, mask_path = self.pairs[index]
        try:
            image, mask = decode(path), decode(mask_path)
        except UnreadableImageError as error:
            self.skips.row(index, path.name, error)
            size = self.preprocess.size
            black, empty = torch.zeros(3, *size), torch.zeros(size, dtype=torch.bool)
            return {"inputs": black, "masks": empty, "valid": False, "names": self.names[index]}
        if image.size != mask.size:
            raise ValueError(
                f"{path} has {image.size[0]} x {image.size[1]} pixels and its mask {mask.size[0]} x {mask.size[1]}: "
                "image and mask must be of one size."
            )
        inputs, masks = self.preprocess(image), self.preprocess.mask(mask)
        return {"inputs": inputs, "masks": masks, "valid": True, "names": self.names[index]}


class Segmentation(ImageDataModule):
    """Images and masks, such as ECSSD; a mask's foreground is anything above half of white. No labels.

    Args:
        root: the folder.
        images: folder of the images in it.
        masks: folder of the masks; one for each image, of the same name (the extension may differ) and size.
        val_fraction: share held back for validation, by a fixed permutation of the sorted names.
        test_fraction: share held back for the test; 1 (the default) makes all of it test data.
        split_seed: seed of the split.
        top: take only the images that a table ranks highest.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str,
        images: str = "images",
        masks: str = "masks",
        val_fraction: float = 0.0,
        test_fraction: float = 1.0,
        split_seed: int = 0,
        top: TopRows | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.top = top
        self.root, self.images, self.masks, self.split_seed = root, images, masks, split_seed
        self.fractions = {"val": val_fraction, "test": test_fraction}

    def setup(self, stage: str) -> None:
        """Pairs the files, once."""
        if self.datasets:
            return
        root = Path(self.root)
        images, masks = _by_stem(root / self.images), _by_stem(root / self.masks)
        if not images:
            raise FileNotFoundError(f"Found no images in {str(root / self.images)!r}.")
        missing = sorted(set(images) - set(masks))
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(images)} images have no mask in {str(root / self.masks)!r}, the first is "
                f"{images[missing[0]]!r}: add a mask of the same name, or remove the image."
            )
        stems = sorted(images)
        if self.top is not None:
            stems = sorted(self.top.stems(root))
            unknown = [stem for stem in stems if stem not in images]
            if unknown:
                raise FileNotFoundError(f"{self.top.table} names {unknown[0]!r}, which is not in {self.images!r}.")
        pairs = [(root / self.images / images[stem], root / self.masks / masks[stem]) for stem in stems]
        for part, rows in held_back(len(pairs), self.fractions, self.split_seed).items():
            if rows:
                names = [images[stems[row]] for row in rows]
                self.datasets[part] = _Pairs([pairs[row] for row in rows], names, self.preprocess)
