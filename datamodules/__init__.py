"""Data modules: batches of `fex.types.Batch`, whose order does not depend on the number of processes.

A data set gives rows, a loader deals them out to the processes and goes on where a stopped run was, pictures are
decoded to the size that the black box takes. Read `base`, then `images` and `folder`, `text_module` and `texts`, or
`sound`; then `rows`, `loader`, `order`.
"""

from datamodules.augment import Augment, FlipCrop, HorizontalFlip, ResizedCrop, SpectrogramAugment
from datamodules.base import DataModule
from datamodules.cifar10 import CIFAR10
from datamodules.esc10 import ESC10
from datamodules.folder import Folder
from datamodules.hub import Hub
from datamodules.imagenet import ImageNet
from datamodules.images import ImageDataModule
from datamodules.memory import Pictures, Sentences
from datamodules.movie_reviews import MovieReviews
from datamodules.parquet import Parquet
from datamodules.scenes import Scenes
from datamodules.segmentation import Segmentation, TopRows
from datamodules.sound import NoisePadding, SoundDataModule
from datamodules.sound_folder import SoundFolder
from datamodules.sst2 import SST2
from datamodules.text_module import TextDataModule
from datamodules.texts import Texts

__all__ = [
    "CIFAR10",
    "ESC10",
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
    "NoisePadding",
    "Parquet",
    "Pictures",
    "ResizedCrop",
    "Scenes",
    "Segmentation",
    "Sentences",
    "SoundDataModule",
    "SoundFolder",
    "SpectrogramAugment",
    "TextDataModule",
    "Texts",
    "TopRows",
]
