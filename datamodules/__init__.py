"""Data modules."""

from datamodules.augment import Augment, FlipCrop, HorizontalFlip
from datamodules.base import DataModule, ImageDataModule
from datamodules.cifar10 import CIFAR10
from datamodules.folder import Folder
from datamodules.hub import Hub
from datamodules.imagenet import ImageNet
from datamodules.movie_reviews import MovieReviews
from datamodules.parquet import Parquet
from datamodules.scenes import Scenes
from datamodules.segmentation import Segmentation
from datamodules.sst2 import SST2
from datamodules.texts import TextDataModule, Texts

__all__ = [
    "CIFAR10",
    "SST2",
    "Augment",
    "DataModule",
    "FlipCrop",
    "Folder",
    "HorizontalFlip",
    "Hub",
    "ImageDataModule",
    "ImageNet",
    "MovieReviews",
    "Parquet",
    "Scenes",
    "Segmentation",
    "TextDataModule",
    "Texts",
]
