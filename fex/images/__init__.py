"""Images: from a file to pixels, their features, and what stands in for removed ones.

Files are opened and decoded, cut to the model's size, divided into patches or segments, and filled where these are
removed. Read `files`, `decoding`, `preprocess`, `features`, `segments`, `removal`; `fex.texts` and `fex.sounds` are
built alike.
"""

from fex.images.decoding import UnreadableImageError, decode, decode_raw, read_pixels
from fex.images.features import ImageFeatures, PatchGrid
from fex.images.files import (
    IMAGE_SUFFIXES,
    Picture,
    as_inputs,
    as_picture,
    passed_over,
    walk_images,
)
from fex.images.preprocess import Preprocess, as_unit, to_rgb
from fex.images.removal import Black, Blur, DatasetMean, Mean, Noise
from fex.images.segments import Segments
from fex.modality import Features, Removal

__all__ = [
    "Black",
    "Blur",
    "DatasetMean",
    "Features",
    "IMAGE_SUFFIXES",
    "ImageFeatures",
    "Mean",
    "Noise",
    "PatchGrid",
    "Picture",
    "Preprocess",
    "Removal",
    "Segments",
    "UnreadableImageError",
    "as_inputs",
    "as_picture",
    "as_unit",
    "decode",
    "decode_raw",
    "passed_over",
    "read_pixels",
    "to_rgb",
    "walk_images",
]
