"""Data modules."""

from datamodules.augment import Augment, FlipCrop, HorizontalFlip
from datamodules.base import ImageDataModule
from datamodules.cifar10 import CIFAR10
from datamodules.folder import Folder
from datamodules.hub import Hub
from datamodules.imagenet import ImageNet
from datamodules.parquet import Parquet
from datamodules.scenes import Scenes
from datamodules.segmentation import Segmentation

__all__ = [
    "CIFAR10",
    "Augment",
    "FlipCrop",
    "Folder",
    "HorizontalFlip",
    "Hub",
    "ImageDataModule",
    "ImageNet",
    "Parquet",
    "Scenes",
    "Segmentation",
]
