"""Networks compiled by OpenVINO, for CPUs: no C++ compiler is needed, and with bf16 instructions it is fast."""

import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["compile_openvino", "has_openvino", "openvino_core"]

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def compile_openvino(
    network: nn.Module, logits: Callable[[Tensor], Tensor], inputs: Tensor, precision: str
) -> Callable[[Tensor], Tensor]:
    """The same function of inputs of one shape, with the weights as constants; as many threads as torch has.

    Args:
        network: in evaluation mode.
        logits: its logits (B, C), float32, of inputs.
        inputs: an example, (B, 3, H, W), on the CPU.
        precision: "fp32", "bf16" or "fp16"; a CPU without it computes in fp32.

    Raises:
        ModuleNotFoundError: openvino is not installed.
        ValueError: inputs on another device.
    """
    if inputs.device.type != "cpu":
        raise ValueError(
            f"`compile: openvino` is for black boxes on the CPU, this one is on {inputs.device}: set `compile: true`."
        )
    try:
        import openvino

        core = openvino_core()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "`compile: openvino` needs the package openvino: `pip install openvino`, or set `compile: true`."
        ) from error
    with torch.autocast("cpu", enabled=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about itself
        example = torch.zeros(inputs.shape)
        model = openvino.convert_model(
            _Logits(network, logits).eval(), example_input=example, input=[tuple(inputs.shape)]
        )
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # two processes would share the first core
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(inputs: Tensor) -> Tensor:
        request.infer({0: inputs.float().contiguous().numpy()}, share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data).clone()  # its buffer is written again

    return run


@cache
def has_openvino() -> bool:
    """Whether the package is installed; it is not imported, which takes a second."""
    return find_spec("openvino") is not None


@cache
def openvino_core() -> Any:
    """The one OpenVINO runtime of the process, never given back.

    Each has a CPU plugin, which replaces the signal stack of the thread that loads it and, as it goes, unmaps its own
    and puts back the one before. Where two go in the order in which they came, what is put back is unmapped already,
    and the next signal kills the process (openvino 2026.4).
    """
    try:
        import openvino
    except ImportError as error:
        raise ModuleNotFoundError('OpenVINO files need openvino: pip install "fex-explain[openvino]".') from error
    return openvino.Core()


class _Logits(nn.Module):
    """A function as the module that the converter wants, with the parameters that it uses."""

    def __init__(self, network: nn.Module, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.logits = network, logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)
