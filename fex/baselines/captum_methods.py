"""Gradient baselines: thin adapters over captum, for boxes that give gradients.

They explain the probability of the target class (softmax, or sigmoid for a multi-label box) on the pixels in [0, 1].
Attributions are summed over the three colours, **signed**: positive raises the probability; `Saliency`, which may take
the largest instead, is positive by definition. Gradient passes are no black-box queries; only an unnamed target costs
one query an instance.
"""

from abc import ABC, abstractmethod
from typing import Literal

import captum.attr
import torch
from torch import Tensor

from fex.baselines.base import backward_batch, check_images, differentiating, in_parts, target_probability
from fex.black_box.base import BlackBox, resolve_target
from fex.class_names import Target
from fex.images.removal import Mean
from fex.modality import Removal
from fex.seeding import seeded

__all__ = ["GradSHAP", "InputXGradient", "IntegratedGradients", "PixelGradient", "Saliency", "SmoothGrad"]


class PixelGradient(ABC):
    """An explainer of pixels by gradients.

    Args:
        black_box: a box that has a `module`.
        internal_batch_size: largest number of images in one backward pass (default: the box's chunk, at most 64).

    Raises:
        TypeError: a box that can only be queried.
        ValueError: internal_batch_size below 1; a box that takes texts.
    """

    passes: int = 1  # images that one instance puts through the network

    def __init__(self, black_box: BlackBox, *, internal_batch_size: int | None = None) -> None:
        check_images(self, black_box)
        self.module, self.black_box = black_box.module, black_box
        self.internal_batch_size = backward_batch(black_box, internal_batch_size, most=64)

    @abstractmethod
    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Attributions of colours (b, 3, H, W), or already of pixels (b, 1, H, W).

        The inputs are a few instances that fit into one pass, or one that does not.
        """

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Attribution of each pixel, (B, H, W), float32, on the inputs' device.

        Args:
            inputs: (B, 3, H, W), float, RGB in [0, 1].
            target: class, one for all or (B,), by index or name; by default the predicted ones.
        """
        clean = self.black_box(inputs) if target is None else inputs.new_zeros(len(inputs), self.black_box.num_classes)
        classes = resolve_target(target, clean, self.black_box.class_names)
        if len(inputs) == 0:
            return inputs.new_zeros(0, *inputs.shape[-2:], dtype=torch.float32)
        with differentiating(self.module):
            return in_parts(self._part, inputs, classes, max(1, self.internal_batch_size // self.passes))

    def _part(self, inputs: Tensor, target: Tensor) -> Tensor:
        device = self.black_box.device
        # A leaf of our own: captum marks its inputs, and tensors of inference mode cannot be differentiated.
        leaf = inputs.detach().clone().to(device, torch.float32).requires_grad_()
        return self._attribute(leaf, target.clone().to(device)).sum(1)

    def _baseline(self, removal: Removal, inputs: Tensor) -> Tensor:
        return removal(inputs.detach(), torch.tensor(self.black_box.mean)).expand_as(inputs).contiguous()

    @property
    def _forward_batch(self) -> int | None:
        # captum splits the steps of one instance only where they do not fit.
        return self.internal_batch_size if self.passes > self.internal_batch_size else None


class IntegratedGradients(PixelGradient):
    """Gradients along the line from the removed picture to the input (Sundararajan et al. 2017).

    Args:
        black_box: a box that has a `module`.
        removal: makes the picture the line starts from; by default the mean colour.
        steps: points of the Gauss-Legendre rule.
        internal_batch_size: largest number of images in one backward pass (default: the box's chunk, at most 64).
    """

    def __init__(
        self,
        black_box: BlackBox,
        removal: Removal | None = None,
        *,
        steps: int = 20,
        internal_batch_size: int | None = None,
    ) -> None:
        super().__init__(black_box, internal_batch_size=internal_batch_size)
        if steps < 1:
            raise ValueError(f"IntegratedGradients needs at least 1 step, got {steps}.")
        self.removal, self.passes = removal or Mean(), steps
        self._method = captum.attr.IntegratedGradients(target_probability(black_box))

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        return self._method.attribute(
            inputs,
            baselines=self._baseline(self.removal, inputs),
            target=target,
            n_steps=self.passes,
            internal_batch_size=self._forward_batch,
        )


class GradSHAP(PixelGradient):
    """Gradients at random points between the removed picture and the noisy input (Lundberg and Lee 2017).

    Each instance gets the same draws, so that its map does not depend on its batch.

    Args:
        black_box: a box that has a `module`.
        removal: makes the picture the points start from; by default the mean colour.
        samples: random points.
        noise: standard deviation of the noise on the input, in units of the [0, 1] pixel range.
        internal_batch_size: largest number of points in one backward pass (default: the box's chunk, at most 64).
        seed: seed of the draws; the global generators are left as they were.
    """

    def __init__(
        self,
        black_box: BlackBox,
        removal: Removal | None = None,
        *,
        samples: int = 20,
        noise: float = 0.1,
        internal_batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(black_box, internal_batch_size=internal_batch_size)
        # One instance a call: captum draws from the global generators for the whole batch at once.
        self.points, self.internal_batch_size = self.internal_batch_size, 1
        if samples < 1 or noise < 0:
            raise ValueError(f"GradSHAP needs samples >= 1 and noise >= 0, got {samples} and {noise}.")
        self.removal, self.samples, self.noise, self.seed = removal or Mean(), samples, noise, seed
        self._method = captum.attr.GradientShap(target_probability(black_box))

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        baseline, total, left = self._baseline(self.removal, inputs), torch.zeros_like(inputs), self.samples
        with seeded(self.seed, inputs.device):
            while left:  # captum puts all of its samples through the network at once
                count = min(left, self.points)
                total = total + count * self._method.attribute(
                    inputs, baselines=baseline, n_samples=count, stdevs=self.noise, target=target
                )
                left -= count
        return total / self.samples


class Saliency(PixelGradient):
    """Absolute gradient (Simonyan et al. 2014), of three colours one number.

    Args:
        black_box: a box that has a `module`.
        colours: "sum" of the three, as in the other gradient methods here; "max" is the paper's.
        internal_batch_size: largest number of images in one backward pass (default: the box's chunk, at most 64).

    Raises:
        ValueError: see `PixelGradient`; another word for `colours`.
    """

    def __init__(
        self,
        black_box: BlackBox,
        *,
        colours: Literal["sum", "max"] = "sum",
        internal_batch_size: int | None = None,
    ) -> None:
        super().__init__(black_box, internal_batch_size=internal_batch_size)
        if colours not in ("sum", "max"):
            raise ValueError(f"Got colours={colours!r}, expected 'sum' or 'max' (the paper's).")
        self.colours = colours

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        found = captum.attr.Saliency(target_probability(self.black_box)).attribute(inputs, target=target)
        return found.amax(1, keepdim=True) if self.colours == "max" else found


class SmoothGrad(PixelGradient):
    """Absolute value of the mean gradient at noisy copies of the input (Smilkov et al. 2017).

    All instances share the draws, so that a map does not depend on its batch. captum's `NoiseTunnel` would draw from
    the global generators, for the whole batch at once.

    Args:
        black_box: a box that has a `module`.
        samples: noisy copies.
        noise: standard deviation of the noise, in units of the [0, 1] pixel range; the authors take 0.1 to 0.2 of
            each picture's own range.
        internal_batch_size: largest number of images in one backward pass (default: the box's chunk, at most 64).
        seed: seed of the draws.
    """

    def __init__(
        self,
        black_box: BlackBox,
        *,
        samples: int = 50,
        noise: float = 0.15,
        internal_batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(black_box, internal_batch_size=internal_batch_size)
        if samples < 1 or noise < 0:
            raise ValueError(f"SmoothGrad needs samples >= 1 and noise >= 0, got {samples} and {noise}.")
        self.passes, self.noise, self.seed = samples, noise, seed
        self._method = captum.attr.Saliency(target_probability(black_box))

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        total = torch.zeros_like(inputs)
        left = self.passes
        while left:
            count = min(left, max(1, self.internal_batch_size // len(inputs)))
            draws = torch.randn(count, *inputs.shape[1:], generator=generator).to(inputs) * self.noise
            noisy = (inputs.detach().unsqueeze(1) + draws).flatten(0, 1).requires_grad_()
            gradients = self._method.attribute(noisy, target=target.repeat_interleave(count), abs=False)
            total = total + gradients.unflatten(0, (len(inputs), count)).sum(1)
            left -= count
        return (total / self.passes).abs()


class InputXGradient(PixelGradient):
    """Pixel times gradient (Shrikumar et al. 2016); a black pixel gets 0, the pixels being in [0, 1]."""

    def _attribute(self, inputs: Tensor, target: Tensor) -> Tensor:
        return captum.attr.InputXGradient(target_probability(self.black_box)).attribute(inputs, target=target)
