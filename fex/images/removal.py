"""What stands in for a removed feature. A removal maps inputs to what is behind the mask, and puts both together.

Those of images work on pixels in [0, 1] (method notes §4): `Mean` is 0 after the black box's own normalisation, `Black`
is 0 before it. Those of texts are in `fex.texts.removal`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fex.images.decoding import decode
from fex.modality import Removal

__all__ = ["Black", "Blur", "DatasetMean", "Mean", "Noise"]


class Mean(Removal):
    """The black box's mean colour: 0 after its normalisation. The paper's m * x."""

    name = "mean"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        return mean.to(inputs).view(1, -1, 1, 1)


class Black(Removal):
    """Black pixels: 0 before normalisation (the `chefer` protocol's fill)."""

    name = "black"

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        return inputs.new_zeros(1, inputs.shape[1], 1, 1)


class Blur(Removal):
    """The image itself under a Gaussian blur.

    Args:
        sigma: standard deviation in pixels.
        kernel: odd kernel size in pixels; by default 2 * round(3 sigma) + 1, cut to the image's size.
    """

    name = "blur"
    constant = False

    def __init__(self, sigma: float = 5.0, kernel: int | None = None) -> None:
        if sigma <= 0 or (kernel is not None and (kernel < 1 or kernel % 2 == 0)):
            raise ValueError(f"Blur needs sigma > 0 and an odd kernel, got sigma={sigma}, kernel={kernel}.")
        self.sigma, self.kernel = sigma, kernel

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        kernel = self.kernel or 2 * round(3 * self.sigma) + 1
        shortest = min(inputs.shape[-2:])
        largest = max(1, shortest - (1 - shortest % 2))  # reflection padding needs kernel // 2 < side
        from torchvision.transforms.functional import gaussian_blur  # here: the import takes as long as torch's

        return gaussian_blur(inputs, [min(kernel, largest)] * 2, [self.sigma] * 2)


class Noise(Removal):
    """Gaussian noise around the mean colour, the same for every call with the same seed and shape.

    Args:
        std: standard deviation in units of the [0, 1] pixel range.
        seed: seed of the noise picture.
    """

    name = "noise"

    def __init__(self, std: float = 0.25, seed: int = 0) -> None:
        if std < 0:
            raise ValueError(f"Noise needs std >= 0, got {std}.")
        self.std, self.seed = std, seed

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(1, *inputs.shape[1:], generator=generator) * self.std
        return (noise.to(inputs) + mean.to(inputs).view(1, -1, 1, 1)).clamp(0, 1)


class DatasetMean(Removal):
    """A fixed picture, such as the mean image of a data set.

    Args:
        image: path of a picture, or of an .npy array (3, H, W) in [0, 1]; resized to the input.
    """

    name = "dataset_mean"

    def __init__(self, image: str | Path) -> None:
        path = Path(image)
        if not path.is_file():
            raise FileNotFoundError(f"DatasetMean found no file at {path}: give a picture or an .npy of (3, H, W).")
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
            if array.ndim != 3 or array.shape[0] != 3:
                raise ValueError(f"{path} has shape {array.shape}, expected (3, H, W) with values in [0, 1].")
            self.image = torch.from_numpy(array).float()
        else:
            self.image = torch.from_numpy(np.array(decode(path))).permute(2, 0, 1).float() / 255

    def __call__(self, inputs: Tensor, mean: Tensor) -> Tensor:
        image = self.image
        if image.shape[-2:] != inputs.shape[-2:]:
            size = (inputs.shape[-2], inputs.shape[-1])
            image = F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
        return image.to(inputs).unsqueeze(0)
