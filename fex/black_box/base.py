"""The black box: probabilities for inputs, and nothing else.

A black box is queried; it owns its preprocessing, chunks, counts and checks. It is no ``nn.Module``: frozen weights
of somebody else's model have no place in an explainer's checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fex.preprocess import Preprocess

__all__ = ["BlackBox", "TorchBlackBox", "check_probabilities", "resolve_target"]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_probabilities(
    probabilities: Tensor, *, rows: int, num_classes: int, name: str, multi_label: bool = False
) -> Tensor:
    """Returns `probabilities` (rows, C) as float32, or refuses them by name.

    Raises:
        ValueError: NaN or infinite scores, another shape, values outside [0, 1], or rows that do not sum to 1.
    """
    if probabilities.shape != (rows, num_classes):
        raise ValueError(
            f"Black box {name!r} returned shape {tuple(probabilities.shape)}, expected ({rows}, {num_classes}): one "
            f"row an input and one column for each of its {num_classes} classes. Check num_classes or class_names."
        )
    probabilities = probabilities.float()
    low, high = probabilities.amin(), probabilities.amax()
    if not bool(torch.isfinite(low + high)):
        bad = int((~torch.isfinite(probabilities)).any(1).sum())
        raise ValueError(f"Black box {name!r} returned NaN or infinite scores for {bad} of {rows} inputs.")
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"Black box {name!r} returned values in [{float(low):.3g}, {float(high):.3g}], expected probabilities in "
            "[0, 1]. They look like logits: apply softmax (or set `outputs: logits` where the adapter has it)."
        )
    if not multi_label:
        sums = probabilities.sum(1)
        worst = sums[(sums - 1).abs().argmax()]
        if abs(float(worst) - 1) > 0.05:
            raise ValueError(
                f"Black box {name!r} returned rows that sum to {float(worst):.3g}, expected 1. If its classes are "
                "not exclusive, set multi_label: true."
            )
    return probabilities


def resolve_target(target: Tensor | int | None, probabilities: Tensor) -> Tensor:
    """Target classes as (B,) int64: given, one for all, or the predicted ones.

    Raises:
        ValueError: a class outside [0, C), or a count that is not B.
    """
    batch, classes = probabilities.shape
    if target is None:
        return probabilities.argmax(1)
    chosen = torch.as_tensor(target, dtype=torch.int64, device=probabilities.device).reshape(-1)
    chosen = chosen.expand(batch) if chosen.numel() == 1 else chosen
    if len(chosen) != batch:
        raise ValueError(f"Got {len(chosen)} targets for {batch} inputs, expected one class each or one for all.")
    if batch and not (0 <= int(chosen.min()) and int(chosen.max()) < classes):
        raise ValueError(f"Target {chosen.tolist()} is outside the {classes} classes 0 ... {classes - 1}.")
    return chosen


class BlackBox(ABC):
    """A classifier that can be queried.

    Args:
        class_names: one name a class, in the order of the scores; "0", "1", ... when only `num_classes` is given.
        num_classes: C; needed only without `class_names`.
        preprocess: geometry of its inputs.
        mean: mean colour of its normalisation, RGB in [0, 1]; also what `removal.Mean` fills in.
        std: standard deviation of its normalisation.
        chunk: largest number of inputs scored at once; halved by itself when the device's memory runs out.
        multi_label: classes are not exclusive, rows need not sum to 1.
        name: how errors and reports call it.

    Attributes:
        queries: instances scored since it was built.
    """

    def __init__(
        self,
        *,
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        preprocess: Preprocess | None = None,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        chunk: int = 256,
        multi_label: bool = False,
        name: str | None = None,
    ) -> None:
        if class_names is None and num_classes is None:
            raise ValueError(f"{type(self).__name__} needs class_names or num_classes; got neither.")
        self.class_names = list(class_names) if class_names is not None else [str(i) for i in range(num_classes or 0)]
        if num_classes is not None and num_classes != len(self.class_names):
            raise ValueError(f"Got {len(self.class_names)} class_names and num_classes={num_classes}: they must agree.")
        if len(self.class_names) < 1 or chunk < 1:
            raise ValueError(f"Got {len(self.class_names)} classes and chunk={chunk}, expected at least 1 of each.")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std need three values, std > 0; got {mean} and {std}.")
        self.preprocess = preprocess or Preprocess()
        self.mean = (float(mean[0]), float(mean[1]), float(mean[2]))
        self.std = (float(std[0]), float(std[1]), float(std[2]))
        self.chunk, self.multi_label, self.name = chunk, multi_label, name or type(self).__name__
        self.device = torch.device("cpu")
        self.queries = 0

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    def to(self, device: torch.device | str) -> "BlackBox":
        """Moves what the box holds to `device`; a remote box stays where it is."""
        self.device = torch.device(device)
        return self

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
        """Logits (B, C) with gradients to `inputs` (B, 3, H, W) in [0, 1]; not counted as queries."""
        mean, std = self._normalisation(inputs)
        return self.module((inputs - mean) / std)

    def _normalisation(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = inputs.new_tensor(self.mean), inputs.new_tensor(self.std)
        return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)

    @abstractmethod
    def _score(self, inputs: Tensor) -> Tensor:
        """Probabilities (R, C) for one chunk of inputs (R, 3, H, W) in [0, 1]."""

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Probabilities (B, C), float32, on the device of `inputs` (B, 3, H, W), float, RGB in [0, 1].

        Raises:
            ValueError: inputs of another shape; scores that are no probabilities (`check_probabilities`).
        """
        if inputs.ndim != 4 or inputs.shape[1] != 3:
            raise ValueError(
                f"Black box {self.name!r} got inputs of shape {tuple(inputs.shape)}, expected (B, 3, H, W); "
                "`.preprocess(image)` gives one (3, H, W), stack them."
            )
        scores: list[Tensor] = []
        start = 0
        while start < len(inputs):
            part = inputs[start : start + self.chunk]
            try:
                raw = self._score(part.to(self.device))
            except torch.OutOfMemoryError:
                if self.chunk == 1:
                    raise
                self.chunk = max(1, min(self.chunk, len(part)) // 2)
                torch.cuda.empty_cache()
                continue
            checked = check_probabilities(
                raw, rows=len(part), num_classes=self.num_classes, name=self.name, multi_label=self.multi_label
            )
            scores.append(checked.to(inputs.device))
            start += len(part)
            self.queries += len(part)
        return torch.cat(scores) if scores else inputs.new_zeros(0, self.num_classes, dtype=torch.float32)


class TorchBlackBox(BlackBox):
    """A black box around an ``nn.Module`` that maps normalised images (B, 3, H, W) to logits (B, C).

    Args:
        module: the network; neither its mode nor its `requires_grad` is changed beyond each call.
        precision: "fp32", or "bf16" / "fp16" by autocast.
        channels_last: memory format of the network and its inputs; much faster for CNNs on CPU and tensor cores.
        **options: see `BlackBox`.
    """

    def __init__(
        self, module: nn.Module, *, precision: str = "fp32", channels_last: bool = False, **options: object
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        if precision not in PRECISIONS:
            raise ValueError(f"Got precision {precision!r}, expected one of {sorted(PRECISIONS)}.")
        self._module = module
        self.precision, self.channels_last = precision, channels_last
        if channels_last:
            self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self._module

    def to(self, device: torch.device | str) -> "TorchBlackBox":
        """Moves the network."""
        super().to(device)
        self._module.to(self.device)
        return self

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = [m for m in self._module.modules() if m.training]
        for m in training:
            m.training = False
        try:
            yield
        finally:
            for m in training:
                m.training = True

    def _logits(self, inputs: Tensor) -> Tensor:
        output = self._module(inputs)
        return output if isinstance(output, Tensor) else output.logits

    def differentiable(self, inputs: Tensor) -> Tensor:
        """Logits (B, C) with gradients to `inputs`; evaluation mode, full precision."""
        mean, std = self._normalisation(inputs)
        with self._evaluating():
            return self._logits((inputs - mean) / std)

    def _score(self, inputs: Tensor) -> Tensor:
        mean, std = self._normalisation(inputs)
        inputs = (inputs - mean) / std
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        dtype = PRECISIONS[self.precision]
        autocast = torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)
        with self._evaluating(), torch.inference_mode(), autocast:
            logits = self._logits(inputs).float()
        probabilities = logits.sigmoid() if self.multi_label else logits.softmax(1)
        return probabilities.clone()  # a plain tensor: inference tensors cannot enter autograd later
