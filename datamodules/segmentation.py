"""Images with ground-truth masks in two folders, paired by file name."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from datamodules.folder import iter_images
from datamodules.images import ImageDataModule
from datamodules.mask_codes import Foreground, MaskCode, read_mask
from datamodules.order import held_back
from datamodules.skips import EmptyMasks, Skips
from fex.images import Preprocess, UnreadableImageError, decode

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
        code: what the masks' values mean.
    """

    def __init__(
        self, pairs: list[tuple[Path, Path]], names: list[str], preprocess: Preprocess, code: MaskCode
    ) -> None:
        self.pairs, self.names, self.preprocess, self.code = pairs, names, preprocess, code
        self.skips, self.empty = Skips(len(pairs)), EmptyMasks(len(pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, mask_path = self.pairs[index]
        try:
            image, mask = decode(path), read_mask(mask_path)
        except UnreadableImageError as error:
            self.skips.row(index, path.name, error)
            size = self.preprocess.size
            black, none = torch.zeros(3, *size), torch.zeros(size, dtype=torch.bool)
            return {"inputs": black, "masks": none, "ignored": none, "valid": False, "names": self.names[index]}
        height, width = mask.values.shape
        if image.size != (width, height):
            raise ValueError(
                f"{path} has {image.size[0]} x {image.size[1]} pixels and its mask {width} x {height}: "
                "image and mask must be of one size."
            )
        parts = self.code.split(mask, mask_path)
        inside, ignored = (self.preprocess.mask(Image.fromarray(part)) for part in parts)
        if not inside.any():
            why = "it has none in the file" if not parts[0].any() else "the crop has cut it off"
            self.empty.row(index, path.name, ValueError(why))
        inputs = self.preprocess(image)
        return {"inputs": inputs, "masks": inside, "ignored": ignored, "valid": True, "names": self.names[index]}


class Segmentation(ImageDataModule):
    """Images and masks, such as ECSSD or the segmentation part of VOC. No labels.

    What a mask's values mean is told from the masks where that is certain: black and white (grey edges count from half
    of white on), 0 and 1, or palette indices, of which all but 0 are the object; of indices, 255 is not counted. Masks
    of any other code are refused with the values found, until `foreground` says what they mean. Images whose mask has
    no foreground are named and counted: they have no IoU.

    Args:
        root: the folder.
        images: folder of the images in it.
        masks: folder of the masks; one for each image, of the same name (the extension may differ) and size.
        val_fraction: share held back for validation, by a fixed permutation of the sorted names.
        test_fraction: share held back for the test; 1 (the default) makes all of it test data.
        split_seed: seed of the split.
        top: take only the images that a table ranks highest.
        listed: text file in `root` with the names of the images to take, without extension, one a line, such as
            ImageSets/Segmentation/val.txt; by default all.
        foreground: value of the object in the masks or a list of them (a class of VOC), "nonzero" for all but 0,
            "bright" for above half of white; null tells it from the masks.
        ignore: value of pixels that are not counted, as VOC's borders; null counts all. Where white is the object, or
            255 is among the values of `foreground`, it is the object all the same.
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
        listed: str | None = None,
        foreground: Foreground = None,
        ignore: int | None = 255,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.code, self.listed = MaskCode(foreground, ignore), listed
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
        images = self._chosen(root, images)
        missing = sorted(set(images) - set(masks))
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(images)} images have no mask in {str(root / self.masks)!r}, the first is "
                f"{images[missing[0]]!r}: add a mask of the same name, remove the image, or name those to take "
                "by `listed`."
            )
        stems = sorted(images)
        pairs = [(root / self.images / images[stem], root / self.masks / masks[stem]) for stem in stems]
        code = self.code.settled([mask for _, mask in pairs])
        for part, rows in held_back(len(pairs), self.fractions, self.split_seed).items():
            if rows:
                names = [images[stems[row]] for row in rows]
                self.datasets[part] = _Pairs([pairs[row] for row in rows], names, self.preprocess, code)

    def _chosen(self, root: Path, images: dict[str, str]) -> dict[str, str]:
        """Those that a table or a list names."""
        named: dict[str, list[str]] = {}
        if self.top is not None:
            named[self.top.table] = self.top.stems(root)
        if self.listed is not None:
            named[self.listed] = self._lines(root / self.listed)
        for source, stems in named.items():
            unknown = [stem for stem in stems if stem not in images]
            if unknown:
                raise FileNotFoundError(f"{source} names {unknown[0]!r}, which is not in {self.images!r}.")
        kept = set(images).intersection(*named.values())
        return {stem: name for stem, name in images.items() if stem in kept}

    @staticmethod
    def _lines(path: Path) -> list[str]:
        """The first word of each line."""
        if not path.is_file():
            raise FileNotFoundError(f"Found no list of images at {path}.")
        return [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]

    def remarks(self) -> list[str]:
        """Skipped images, and masks without foreground."""
        return super().remarks() + [
            f"{len(rows.empty)} of the {len(rows)} masks of the {part} data have no foreground: these images have no "
            "IoU, AP or pointing game."
            for part, rows in self.datasets.items()
            if len(rows.empty)
        ]
