"""Data modules."""

from datamodules.augment import Augment, FlipCrop, HorizontalFlip
from datamodules.base import ImageDataModule
from datamodules.cifar10 import CIFAR10

__all__ = ["CIFAR10", "Augment", "FlipCrop", "HorizontalFlip", "ImageDataModule"]
