"""What the baselines share: one call, and a network left as it was found."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from fex.black_box.base import BlackBox
from fex.class_names import Target
from fex.modality import Features

__all__ = [
    "FeatureExplainer",
    "backward_batch",
    "check_images",
    "differentiating",
    "in_float64",
    "in_parts",
    "target_probability",
]

_BOTH = "RISE, Occlusion, LIME, KernelSHAP and Random explain both"


class FeatureExplainer(ABC):
    """An explainer that scores N features.

    Args:
        features: where they lie.

    Attributes:
        modalities: kinds of features that it explains; None, the default, where it explains any.

    Raises:
        ValueError: features of another kind.
    """

    modalities: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, features: Features) -> None:
        known = self.modalities
        if known is not None and features.modality not in known:
            raise ValueError(
                f"{type(self).__name__} explains {' and '.join(f'{kind}s' for kind in known)}, got "
                f"{features.describe()}: {_BOTH}."
            )
        self.features = features

    @abstractmethod
    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Scores (B, N), float32, of the features of `inputs`, as the black box takes them, for the target class.

        Args:
            inputs: images (B, 3, H, W) in [0, 1], or token ids (B, L).
            target: class, one for all or (B,), by index or name; by default the predicted ones.
        """

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """The same scores on the pixels (B, H, W) or tokens (B, L) they cover, float32, on the inputs' device."""
        return self.features.on_inputs(self.attribute_features(inputs, target), inputs)


def check_images(method: object, black_box: BlackBox) -> None:
    """Methods of pixels need a box that takes images.

    Raises:
        ValueError: one that takes something else.
    """
    if black_box.modality != "image":
        raise ValueError(
            f"{type(method).__name__} explains the pixels of images, black box {black_box.name!r} takes "
            f"{black_box.modality}s: {_BOTH}."
        )


def backward_batch(black_box: BlackBox, given: int | None, most: int) -> int:
    """Most instances in one backward pass: as `given`, or what the box takes at once where that is less than `most`.

    A box's chunk is what its device is fast at; a method that put more through it would be told to be slow.

    Raises:
        ValueError: a given number below 1.
    """
    if given is not None and given < 1:
        raise ValueError(f"internal_batch_size must be at least 1, got {given}.")
    return min(most, black_box.chunk) if given is None else given


@contextmanager
def differentiating(module: nn.Module) -> Iterator[None]:
    """Gradients on, to the inputs alone; mode, `requires_grad` and `.grad` of `module` are restored, error or not.

    Works inside `torch.no_grad`, `torch.inference_mode` and autocast too, as in a validation loop; inputs that were
    made there must be cloned inside.
    """
    modes = [(part, part.training) for part in module.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    device = parameters[0][0].device.type if parameters else "cpu"
    try:
        with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(device, enabled=False):
            module.requires_grad_(requires_grad=False)
            yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, requires_grad, grad in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad


@contextmanager
def in_float64(module: nn.Module) -> Iterator[torch.dtype]:
    """Parameters and buffers of `module` as float64, and then the very tensors that were there, error or not.

    Yields the precision: Apple's devices have no float64 and stay at float32.
    """
    parts = [*module.parameters(), *module.buffers()]
    before = [part.data for part in parts]
    if any(part.device.type == "mps" for part in parts):
        yield torch.float32
        return
    try:
        for part in parts:
            part.data = part.data.double() if part.is_floating_point() else part.data
        yield torch.float64
    finally:
        for part, data in zip(parts, before, strict=True):
            part.data = data


def target_probability(black_box: BlackBox) -> Callable[[Tensor], Tensor]:
    """``inputs -> probabilities (B, C)`` with gradients, for captum."""

    def forward(inputs: Tensor) -> Tensor:
        logits = black_box.differentiable(inputs)
        return logits.sigmoid() if black_box.multi_label else logits.softmax(1)

    return forward


def in_parts(method: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, target: Tensor, size: int) -> Tensor:
    """`method` on at most `size` instances at a time, its maps (b, H, W) or scores (b, L) put together, float32.

    No instances give no maps, of the inputs' height and width or length: networks and captum refuse empty batches.
    """
    if len(inputs) == 0:
        size = inputs.shape[1:] if inputs.ndim == 2 else inputs.shape[-2:]
        return inputs.new_zeros(0, *size, dtype=torch.float32)
    maps = [
        method(part, classes).detach().to(inputs.device, torch.float32)
        for part, classes in zip(inputs.split(size), target.split(size), strict=True)
    ]
    return torch.cat(maps)
