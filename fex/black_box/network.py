"""A black box around a network of PyTorch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fex.black_box.base import BlackBox
from fex.black_box.colour import as_colour
from fex.black_box.openvino import compile_openvino, has_openvino
from fex.black_box.scores import (
    both_logits,
    score_table,
    to_probabilities,
)
from fex.errors import warn_once
from fex.storage.weights import digest_of

__all__ = ["PRECISIONS", "Compile", "TorchBlackBox"]


Compile = bool | Literal["openvino", "auto"]


PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBlackBox(BlackBox):
    """A black box around an ``nn.Module`` that maps normalised images (B, 3, H, W) to logits (B, C).

    One logit z is that of the positive of two classes: `num_classes=1`, see `BlackBox`. Of an answer that is a tuple, a
    list, a dict or an object the logits are taken (`fex.black_box.scores.find_scores`).

    Args:
        module: the network; neither its mode nor its `requires_grad` is changed beyond each call. It computes in the
            dtype that its weights have.
        channels: 3; or 1 of a network that takes grey pictures (B, 1, H, W): it gets the luma of the RGB, normalised by
            the mean and std of the first colour; or as many as its inputs have, of images that are no pictures: then
            `mean` and `std` have a value for each, and inputs are tensors (B, channels, H, W) in [0, 1].
        precision: "fp32", or "bf16" / "fp16" by autocast.
        channels_last: memory format of the network and its inputs; much faster for CNNs on CPU and tensor cores.
        compile: full chunks go through `torch.compile` with the weights as constants, others through the network as it
            is; needs a C++ compiler (on GPUs, Triton) and some seconds before the first. The weights must not change.
            "openvino" compiles with that package, for CPUs (`fex-bench speed --only [compiled_speedup]` has both);
            "auto" does so on a CPU where the package is there, and nothing elsewhere. `compiler` says what that is.
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
        if channels < 1:
            raise ValueError(f"Got channels={channels}, expected 3 (RGB), 1 (grey) or another number of channels.")
        if channels not in (1, 3):
            given = {key: options.get(key, (0.0,) * 3) for key in ("mean", "std")}  # those of ImageNet are for RGB
            options |= {key: as_colour(value, key, channels) for key, value in given.items()}  # type: ignore[arg-type]
        super().__init__(**options)  # type: ignore[arg-type]
        if precision not in PRECISIONS:
            raise ValueError(f"Got precision {precision!r}, expected one of {sorted(PRECISIONS)}.")
        if compile not in (True, False, "openvino", "auto"):
            raise ValueError(f"Got compile={compile!r}, expected True, False, 'openvino' or 'auto'.")
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
    def compiler(self) -> Literal["", "torch", "openvino"]:
        """See `BlackBox`: what `compile` means on the box's device."""
        if self.compile == "auto":
            return "openvino" if self.device.type == "cpu" and has_openvino() else ""
        return "openvino" if self.compile == "openvino" else "torch" if self.compile else ""

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self._module

    def digest(self) -> str:
        """Of the network's weights."""
        return digest_of({name: tensor.cpu() for name, tensor in self._module.state_dict().items()}, "")

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
        if self.compiler and (self._compiled is None or self._compiled[0] != self.chunk):
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
        return self._frozen if self.compiler and rows == self.chunk else self._module

    def _frozen(self, inputs: Tensor) -> Any:
        if self._compiled is not None and self._compiled[0] == len(inputs):
            return self._compiled[1](inputs)
        if self.compiler == "openvino":
            run = self._by_openvino(inputs)
            self._compiled = len(inputs), run
            return run(inputs)
        from torch._inductor import config  # here: the import takes a second

        network = torch.compile(self._module, dynamic=False)
        # As a setting of the whole compiler: given as an option of `torch.compile`, the weights stay arguments.
        with config.patch(freezing=True):
            output = network(inputs)
        self._compiled = len(inputs), network
        return output

    def _by_openvino(self, inputs: Tensor) -> Callable[[Tensor], Any]:
        """The network compiled; under `auto` the network itself, where OpenVINO does not take it."""
        try:
            return compile_openvino(self._module, self._logits, inputs, self.precision)
        except Exception as error:  # its converter raises whatever it meets
            if self.compile != "auto":
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            warn_once(f"Black box {self.name!r} is not compiled: OpenVINO does not take its network ({reason:.200}).")
            self.compile = False
            return self._module

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
        return score_table(answer, rows=len(inputs), num_classes=self.num_classes, name=self.name)

    def _prepared(self, inputs: Tensor) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] as the network takes them."""
        weights = (value.dtype for value in self._module.parameters() if value.is_floating_point())
        return self._for_network(inputs, self.channels).to(next(weights, inputs.dtype))

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
