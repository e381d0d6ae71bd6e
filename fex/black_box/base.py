"""The black box: probabilities for inputs, and nothing else.

A black box is queried; it owns its preprocessing, chunks, counts and checks. It is no ``nn.Module``: frozen weights
of somebody else's model have no place in an explainer's checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fex.black_box.classes import as_names, both_names
from fex.black_box.openvino import compile_openvino
from fex.black_box.scores import (
    both_logits,
    both_probabilities,
    check_probabilities,
    columns,
    find_scores,
    resolve_target,
    to_probabilities,
)
from fex.images.preprocess import Preprocess
from fex.modality import Features

__all__ = ["BlackBox", "Compile", "TorchBlackBox", "check_probabilities", "resolve_target"]

Compile = bool | Literal["openvino"]
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL's grey pictures
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA raises its own class; the CPU and Apple allocators only say so."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text


Colour = float | Sequence[float]


def as_colour(value: Colour, name: str = "colour") -> tuple[float, float, float]:
    """A colour given by three numbers, or by one for all channels, as a float or a list of one.

    Raises:
        ValueError: another number of them.
    """
    values = [float(value)] * 3 if isinstance(value, int | float) else [float(one) for one in value]
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3:
        raise ValueError(f"{name} needs three values (RGB) or one for all channels; got {value}.")
    return values[0], values[1], values[2]


class BlackBox(ABC):
    """A classifier that can be queried.

    One that gives a single score (`num_classes=1`, or one name) has two exclusive classes, [negative, positive]: the
    probabilities are (1 - p, p), and p is the sigmoid of a logit. Without names they are "0" and "1", and a single name
    is the positive's.

    Args:
        class_names: one name a class, in the order of the scores; "0", "1", ... when only `num_classes` is given.
        num_classes: C, the number of scores; needed only without `class_names`.
        preprocess: geometry of its inputs.
        mean: mean colour of its normalisation, RGB in [0, 1], or one grey; also what `removal.Mean` fills in.
        std: standard deviation of its normalisation, of each colour or of all.
        chunk: largest number of inputs scored at once; halved by itself when the device's memory runs out.
        multi_label: classes are not exclusive, rows need not sum to 1.
        name: how errors and reports call it.

    Attributes:
        modality: kind of its inputs.
        deterministic: whether it answers the same input alike (but for rounding), so that answers can be remembered.
        queries: instances scored since it was built.
    """

    modality: ClassVar[str] = "image"
    deterministic: ClassVar[bool] = False

    def __init__(
        self,
        *,
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        preprocess: Preprocess | None = None,
        mean: Colour = (0.485, 0.456, 0.406),
        std: Colour = (0.229, 0.224, 0.225),
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
        self.preprocess = preprocess or Preprocess()
        self.mean, self.std = as_colour(mean, "mean"), as_colour(std, "std")
        if min(self.std) <= 0:
            raise ValueError(f"std needs values, std > 0; got {std}.")
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
        return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)

    @abstractmethod
    def _score(self, inputs: Tensor) -> Tensor:
        """Probabilities (R, C) for one chunk of inputs (R, 3, H, W), float32, RGB in [0, 1]."""

    def _check_inputs(self, inputs: Tensor) -> None:
        if inputs.ndim != 4 or inputs.shape[1] != 3 or not inputs.is_floating_point():
            raise ValueError(
                f"Black box {self.name!r} got inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}, expected "
                "(B, 3, H, W), float; `.preprocess(image)` gives one (3, H, W), stack them."
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


class TorchBlackBox(BlackBox):
    """A black box around an ``nn.Module`` that maps normalised images (B, 3, H, W) to logits (B, C).

    One logit z is that of the positive of two classes: `num_classes=1`, see `BlackBox`. Of an answer that is a tuple, a
    list, a dict or an object the logits are taken (`fex.black_box.scores.find_scores`).

    Args:
        module: the network; neither its mode nor its `requires_grad` is changed beyond each call. It computes in the
            dtype that its weights have.
        channels: 3, or 1 of a network that takes grey pictures (B, 1, H, W): it gets the luma of the RGB, normalised by
            the mean and std of the first colour.
        precision: "fp32", or "bf16" / "fp16" by autocast.
        channels_last: memory format of the network and its inputs; much faster for CNNs on CPU and tensor cores.
        compile: full chunks go through `torch.compile` with the weights as constants, others through the network as it
            is; needs a C++ compiler (on GPUs, Triton) and some seconds before the first. The weights must not change.
            "openvino" compiles with that package, for CPUs (`fex-bench speed --only [compiled_speedup]` has both).
        **options: see `BlackBox`.
    """

    deterministic = True

    def __init__(
        self,
        module: nn.Module,
        *,
        channels: int = 3,
        precision: str = "fp32",
        channels_last: bool = False,
        compile: Compile = False,  # noqa: A002 torch's own word
        **options: object,
    ) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        if precision not in PRECISIONS:
            raise ValueError(f"Got precision {precision!r}, expected one of {sorted(PRECISIONS)}.")
        if compile not in (True, False, "openvino"):
            raise ValueError(f"Got compile={compile!r}, expected True, False or 'openvino'.")
        if channels not in (1, 3):
            raise ValueError(f"Got channels={channels}, expected 3 (RGB) or 1 (grey).")
        self._module, self.channels = module, channels
        first = next(module.parameters(), None)
        self.device = first.device if first is not None else self.device
        if channels == 1 and len({*self.mean}) + len({*self.std}) > 2:
            raise ValueError(
                f"Black box {self.name!r} takes one channel, got mean {self.mean} and std {self.std}: set `mean` and "
                "`std` to the one number that it was trained with."
            )
        self.precision, self.channels_last, self.compile = precision, channels_last, compile
        self._compiled: tuple[int, Callable[[Tensor], Any]] | None = None  # for chunks of this size
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
        self._compiled = None  # its constants are where the weights were
        return self

    def __getstate__(self) -> dict[str, object]:
        """What a copy takes along: compiled code belongs to one process and one set of weights."""
        return {**self.__dict__, "_compiled": None}

    def prepare(self, inputs: Tensor) -> None:
        """Has the network compiled, where it is to be and is not yet, by a full chunk of the first input."""
        if self.compile and (self._compiled is None or self._compiled[0] != self.chunk):
            self(inputs[:1].expand(self.chunk, *inputs.shape[1:]))

    @contextmanager
    def bare(self) -> Iterator[None]:
        """See `BlackBox`."""
        before, self.compile = self.compile, False
        try:
            yield
        finally:
            self.compile = before

    def _network(self, rows: int) -> Callable[[Tensor], Any]:
        """The network for a chunk of `rows` inputs; compiled for one shape, which ragged chunks do not have."""
        return self._frozen if self.compile and rows == self.chunk else self._module

    def _frozen(self, inputs: Tensor) -> Any:
        if self._compiled is not None and self._compiled[0] == len(inputs):
            return self._compiled[1](inputs)
        if self.compile == "openvino":
            run = compile_openvino(self._module, self._logits, inputs, self.precision)
            self._compiled = len(inputs), run
            return run(inputs)
        from torch._inductor import config  # here: the import takes a second

        network = torch.compile(self._module, dynamic=False)
        # As a setting of the whole compiler: given as an option of `torch.compile`, the weights stay arguments.
        with config.patch(freezing=True):
            output = network(inputs)
        self._compiled = len(inputs), network
        return output

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

    def _logits(self, inputs: Tensor, network: Callable[[Tensor], Any] | None = None) -> Tensor:
        answer = (self._module if network is None else network)(inputs)
        found = find_scores(answer, rows=len(inputs), num_classes=self.num_classes, name=self.name)
        if not isinstance(found, Tensor):
            raise ValueError(
                f"Black box {self.name!r} returned a {type(answer).__name__} without a tensor of logits, expected "
                f"({len(inputs)}, {self.num_classes}). Wrap it in a function that returns them: CallableBlackBox."
            )
        return columns(found, len(inputs))

    def _prepared(self, inputs: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] as the network takes them."""
        if self.channels == 1:
            inputs = (inputs * inputs.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        mean, std = (values[:, : self.channels] for values in self._normalisation(inputs))
        weights = (value.dtype for value in self._module.parameters() if value.is_floating_point())
        return ((inputs - mean) / std).to(next(weights, inputs.dtype))

    def differentiable(self, inputs: Tensor) -> Tensor:
        """Logits (B, C), float32, with gradients to `inputs`; evaluation mode, without autocast."""
        with self._evaluating():
            logits = self._logits(self._prepared(inputs))
        return both_logits(logits.float()) if self.num_classes == 2 and not self.multi_label else logits.float()

    def _score(self, inputs: Tensor) -> Tensor:
        inputs = self._prepared(inputs)
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        dtype = PRECISIONS[self.precision]
        autocast = torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)
        with self._evaluating(), torch.inference_mode(), autocast:
            logits = self._logits(inputs, self._network(len(inputs))).float()
        probabilities = to_probabilities(logits, outputs="logits", multi_label=self.multi_label, name=self.name)
        return probabilities.clone()  # a plain tensor: inference tensors cannot enter autograd later
