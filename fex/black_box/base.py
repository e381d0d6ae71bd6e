"""The black box: probabilities for inputs, and nothing else.

A black box is queried; it owns its preprocessing, chunks, counts and checks. It is no ``nn.Module``: frozen weights
of somebody else's model have no place in an explainer's checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fex.black_box.classes import as_names, both_names
from fex.black_box.colour import LUMA, Colour, as_colour, check_scale
from fex.black_box.scores import both_probabilities, check_probabilities, columns, resolve_target
from fex.images.preprocess import Preprocess, as_preprocess
from fex.modality import Features

__all__ = ["BlackBox", "check_probabilities", "resolve_target"]


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA raises its own class; the CPU and Apple allocators only say so."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


class BlackBox(ABC):
    """A classifier that can be queried.

    One that gives a single score (`num_classes=1`, or one name) has two exclusive classes, [negative, positive]: the
    probabilities are (1 - p, p), and p is the sigmoid of a logit. Without names they are "0" and "1", and a single name
    is the positive's.

    Args:
        class_names: one name a class, in the order of the scores; "0", "1", ... when only `num_classes` is given.
        num_classes: C, the number of scores; needed only without `class_names`.
        preprocess: geometry of its inputs; that of images may be a mapping of its arguments.
        mean: mean colour of its normalisation, RGB in [0, 1], or one grey; also what `removal.Mean` fills in. As many
            values as its inputs have channels: more than three for multi-channel images, given as tensors.
        std: standard deviation of its normalisation, of each colour or of all; by default ImageNet's, and 1 where
            inputs have other channels than RGB.
        chunk: largest number of inputs scored at once; halved by itself when the device's memory runs out.
        multi_label: classes are not exclusive, rows need not sum to 1.
        name: how errors and reports call it.

    Attributes:
        modality: kind of its inputs.
        deterministic: whether it answers the same input alike (but for rounding), so that answers can be remembered.
        queries: instances scored since it was built.
    """

    modality: ClassVar[str] = "image"
    deterministic: bool = False

    def __init__(
        self,
        *,
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        preprocess: Preprocess | None = None,
        mean: Colour = (0.485, 0.456, 0.406),
        std: Colour | None = None,
        chunk: int = 256,
        multi_label: bool = False,
        name: str | None = None,
    ) -> None:
        if class_names is None and num_classes is None:
            raise ValueError(f"{type(self).__name__} needs class_names or num_classes; got neither.")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"Got num_classes={num_classes}, expected at least 1.")
        names = as_names(class_names) if class_names is not None else [str(i) for i in range(num_classes or 0)]
        if (len(names) if num_classes is None else num_classes) == 1:
            names, num_classes, multi_label = both_names(names if class_names is not None else []), None, False
        self.class_names = names
        if num_classes is not None and num_classes != len(self.class_names):
            raise ValueError(f"Got {len(self.class_names)} class_names and num_classes={num_classes}: they must agree.")
        if len(self.class_names) < 1 or chunk < 1:
            raise ValueError(f"Got {len(self.class_names)} classes and chunk={chunk}, expected at least 1 of each.")
        if preprocess is not None and self.modality == "image":
            preprocess = as_preprocess(preprocess)
        self.preprocess = preprocess or Preprocess()
        self.mean = as_colour(mean, "mean")
        default = (0.229, 0.224, 0.225) if len(self.mean) == 3 else 1.0
        self.std = as_colour(default if std is None else std, "std", len(self.mean))
        check_scale(self.mean, self.std)
        self.chunk, self.multi_label, self.name = chunk, multi_label, name or type(self).__name__
        self.device = torch.device("cpu")
        self.queries = 0

    def options(self) -> dict[str, Any]:
        """The arguments of another box of the same inputs and scores, such as one around this."""
        return {
            "class_names": self.class_names, "preprocess": self.preprocess, "mean": self.mean, "std": self.std,
            "chunk": self.chunk, "multi_label": self.multi_label, "name": self.name,
        }  # fmt: skip

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    def to(self, device: torch.device | str) -> "BlackBox":
        """Moves what the box holds, and the chunks it scores, to `device`; a remote box stays where it is."""
        self.device = torch.device(device)
        return self

    @property
    def compiler(self) -> str:
        """What compiles the network, "torch" or "openvino"; "" where it answers as it is, or cannot be compiled."""
        return ""

    @property
    def neutral(self) -> tuple[float, ...]:
        """What stands for nothing in its inputs, for removals: the mean colour."""
        return self.mean

    @property
    def features(self) -> Features:
        """The features that its inputs have by themselves.

        Raises:
            ValueError: an image has none; a grid must be chosen.
        """
        raise ValueError(f"Black box {self.name!r} takes images, whose features must be chosen: set `features`.")

    def digest(self) -> str | None:
        """SHA-256 of what answers, in hexadecimal: of the weights, or of the file; None where neither is at hand."""
        return None

    @property
    def module(self) -> nn.Module:
        """The network, for the methods that need gradients.

        Raises:
            TypeError: a box that can only be queried.
        """
        raise TypeError(
            f"Black box {self.name!r} can only be queried: methods that need gradients (GradCAM, IG, GradSHAP) work "
            "on a timm or transformers box; FEX, RISE, LIME, occlusion and Random need no gradients."
        )

    def differentiable(self, inputs: Tensor) -> Tensor:
        """Logits (B, C) with gradients to `inputs` (B, 3, H, W) in [0, 1]; not counted as queries.

        Raises:
            TypeError: a box that can only be queried.
        """
        mean, std = self._normalisation(inputs)
        return self.module((inputs - mean) / std)

    def _normalisation(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = inputs.new_tensor(self.mean), inputs.new_tensor(self.std)
        return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)

    def _for_network(self, inputs: Tensor, channels: int, *, normalise: bool = True) -> Tensor:
        """Inputs in [0, 1] as a network of so many channels takes them; one of one channel gets the luma of RGB."""
        if channels == 1:
            inputs = (inputs * inputs.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        mean, std = (values[:, :channels] for values in self._normalisation(inputs))
        return (inputs - mean) / std if normalise else inputs

    @abstractmethod
    def _score(self, inputs: Tensor) -> Tensor:
        """Probabilities (R, C) for one chunk of inputs (R, 3, H, W), float32, RGB in [0, 1]."""

    def _check_inputs(self, inputs: Tensor) -> None:
        channels = len(self.mean)
        if inputs.ndim != 4 or inputs.shape[1] != channels or not inputs.is_floating_point():
            hint = "; `.preprocess(image)` gives one (3, H, W), stack them." if channels == 3 else "."
            if channels == 3 and inputs.ndim == 4 and inputs.shape[1] == 1:
                hint = "; grey pictures go in as three equal channels: inputs.expand(-1, 3, -1, -1)."
            raise ValueError(
                f"Black box {self.name!r} got inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}, expected "
                f"(B, {channels}, H, W), float{hint}"
            )
        if inputs.numel() == 0:
            return
        low, high = inputs.aminmax()
        if not bool((low >= -0.01) & (high <= 1.01)):  # NaN fails too
            raise ValueError(
                f"Black box {self.name!r} got pixels in [{float(low):.3g}, {float(high):.3g}], expected RGB in "
                "[0, 1]. It normalises by itself: give it pictures that are not normalised yet."
            )

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Probabilities (B, C), float32, on the device of `inputs` (B, 3, H, W), float, RGB in [0, 1].

        Raises:
            ValueError: inputs of another shape, type or range; scores that are no probabilities
                (`check_probabilities`).
        """
        self._check_inputs(inputs)
        scores: list[Tensor] = []
        start = 0
        while start < len(inputs):
            part = inputs[start : start + self.chunk]
            raw = self._score_or_halve(self._moved(part))
            if raw is None:
                continue
            self.queries += len(part)  # spent, even if what came back is refused
            if self.num_classes == 2 and not self.multi_label:
                raw = both_probabilities(columns(raw, len(part)))
            checked = check_probabilities(
                raw, rows=len(part), num_classes=self.num_classes, name=self.name, multi_label=self.multi_label
            )
            scores.append(checked.to(inputs.device))
            start += len(part)
        return torch.cat(scores) if scores else inputs.new_zeros(0, self.num_classes, dtype=torch.float32)

    def prepare(self, inputs: Tensor) -> None:  # noqa: B027 most boxes make nothing
        """Makes what is otherwise made at first use, for inputs like these; nothing by default."""

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Inside, the network itself answers, nothing compiled or remembered: for what is measured, such as memory."""
        yield

    def _moved(self, part: Tensor) -> Tensor:
        """A chunk where and as it is scored."""
        return part.to(self.device, torch.float32)

    def _score_or_halve(self, part: Tensor) -> Tensor | None:
        """Scores of one chunk, or None after halving `chunk` because memory ran out."""
        try:
            return self._score(part)
        except RuntimeError as error:
            if len(part) == 1 or not _out_of_memory(error):
                raise
        # Outside the handler, where the failed pass's tensors are no longer held by its traceback.
        self.chunk = len(part) // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None
