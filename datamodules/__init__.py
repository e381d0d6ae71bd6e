"""Data modules."""

from datamodules.augment import Augment, FlipCrop, HorizontalFlip, SpectrogramAugment
from datamodules.base import ImageDataModule
from datamodules.cifar10 import CIFAR10
from datamodules.esc10 import ESC10
from datamodules.folder import Folder
from datamodules.hub import Hub
from datamodules.imagenet import ImageNet
from datamodules.parquet import Parquet
from datamodules.scenes import Scenes
from datamodules.segmentation import Segmentation, TopRows
from datamodules.sound import NoisePadding, SoundDataModule
from datamodules.sound_folder import SoundFolder

__all__ = [
    "CIFAR10",
    "ESC10",
    "Augment",
    "FlipCrop",
    "Folder",
    "HorizontalFlip",
    "Hub",
    "ImageDataModule",
    "ImageNet",
    "Parquet",
    "Scenes",
    "NoisePadding",
    "Segmentation",
    "SoundDataModule",
    "SoundFolder",
    "SpectrogramAugment",
    "TopRows",
]
