"""Generated scenes with known ground-truth masks: the embedded default data."""

from typing import Any

import numpy as np
import torch

from datamodules.images import ImageDataModule
from datamodules.pixels import Pixels
from datamodules.scene_painter import SCENE_CLASSES, paint_scene

__all__ = ["SCENE_CLASSES", "Scenes", "make_scene"]

_SPLITS = {"train": 0, "val": 1, "test": 2}


def make_scene(data_seed: int, split: str, index: int, size: int = 64) -> tuple[np.ndarray, int, np.ndarray]:
    """One instance alone, a function of its arguments only (with one version of numpy).

    Args:
        data_seed: seed of the whole data set, >= 0.
        split: "train", "val" or "test".
        index: position in the split, >= 0; the label is ``index % 8``, so that every stretch is balanced.
        size: height and width in pixels.

    Returns:
        The picture (3, size, size) uint8 RGB, its label, the object's pixels (size, size) bool.
    """
    label = index % len(SCENE_CLASSES)
    rng = np.random.default_rng([data_seed, _SPLITS[split], index])
    image, mask = paint_scene(label, size, rng)
    return image, label, mask


class Scenes(ImageDataModule):
    """Landscapes with one object of eight classes, told apart by shape and texture, among plain distractors.

    Colour, place, size, light and background are independent of the class. Yields labels and the object's mask.
    Generated in `setup` at about 1000 images a second and held in memory (16 kB an image of 64 pixels).

    Args:
        num_train: training images.
        num_val: validation images.
        num_test: test images.
        size: height and width in pixels; the black box's geometry resizes them if it differs.
        data_seed: which data set; `seed` is that of order and augmentation.
        **options: see `ImageDataModule`.
    """

    class_names = SCENE_CLASSES

    def __init__(
        self,
        num_train: int = 10_000,
        num_val: int = 500,
        num_test: int = 1000,
        size: int = 64,
        data_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if size < 32:
            raise ValueError(f"Scenes of {size} pixels show no texture: set `size` to at least 32.")
        if data_seed < 0:
            raise ValueError(f"data_seed must not be negative, got {data_seed}.")
        self.counts = {"train": num_train, "val": num_val, "test": num_test}
        self.size, self.data_seed = size, data_seed

    def _make(self, split: str) -> Pixels:
        count = self.counts[split]
        pixels = np.empty((count, 3, self.size, self.size), np.uint8)
        masks = np.empty((count, self.size, self.size), bool)
        labels = np.empty(count, np.int64)
        for index in range(count):
            pixels[index], labels[index], masks[index] = make_scene(self.data_seed, split, index, self.size)
        arrays = (torch.from_numpy(array) for array in (pixels, labels, masks))
        return Pixels(*arrays, preprocess=self.known_preprocess)

    def setup(self, stage: str) -> None:
        """Generates the parts the stage needs, once."""
        needed = {"fit": ["train", "val"], "validate": ["val"], "test": ["test"], "predict": ["test"]}[stage]
        for split in needed:
            if split not in self.datasets:
                self.datasets[split] = self._make(split)
