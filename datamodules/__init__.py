"""Data modules."""

from datamodules.augment import Augment, FlipCrop, HorizontalFlip
from datamodules.base import ImageDataModule
from datamodules.cifar10 import CIFAR10
from datamodules.scenes import Scenes

__all__ = ["CIFAR10", "Augment", "FlipCrop", "HorizontalFlip", "ImageDataModule", "Scenes"]
