"""What DAX and IASSA cost beside their queries: shares of time, and memory."""

import shutil
import time
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from fex.benchmark.measure import peak_bytes
from fex.benchmark.speed.images import Figure, ratio, time_in_turn
from fex.black_box import BlackBox, CallableBlackBox, TimmBlackBox
from fex.black_box.network import Compile
from fex.dax import DAX, FitSettings
from fex.iassa import IASSA, BackboneFeatures, SpatialAttention, WindowSchedule
from fex.images.preprocess import Preprocess

__all__ = ["attention_memory", "compiled_speedup", "dax_memory", "dax_overhead", "iassa_overhead"]


class _Timed(BlackBox):
    """A black box that knows how long it took."""

    def __init__(self, inner: BlackBox) -> None:
        super().__init__(**inner.options())
        self.inner, self.seconds = inner, 0.0

    def _score(self, inputs: Tensor) -> Tensor:
        start = time.perf_counter()
        found = self.inner._score(inputs)
        self.seconds += time.perf_counter() - start
        return found


def _lite0() -> _Timed:
    return _Timed(TimmBlackBox(weights="efficientnet_lite0", precision="bf16", channels_last=True, chunk=8))


def _photograph() -> Tensor:
    """A real one, which has segments; it comes with scikit-image."""
    from skimage import data

    return Preprocess(224, 224)(Image.fromarray(data.chelsea())).unsqueeze(0)


def _overhead(name: str, explainer: Any, box: _Timed, target: float) -> Figure:
    inputs = _photograph()
    label = box(inputs).argmax(1)
    queries, box.seconds, start = box.queries, 0.0, time.perf_counter()
    explainer.attribute(inputs, label)
    total = time.perf_counter() - start
    parts = {"seconds": total, "seconds_of_queries": box.seconds, "queries": box.queries - queries}
    return Figure(name, 1 - box.seconds / total, target, parts=parts, shapes={"inputs": list(inputs.shape)})


def dax_overhead(samples: int = 6000, target: float = 0.25) -> Figure:
    """Share of an explanation's time that is not spent in the black box, EfficientNet-Lite0 at 224 pixels."""
    box = _lite0()
    fit = FitSettings(mask_stride=2, precision="bf16", batch_size=128)  # as in dax_imagenet.yaml
    return _overhead("dax_overhead", DAX(box, num_samples=samples, fit=fit), box, target)


def iassa_overhead(target: float = 0.2) -> list[Figure]:
    """The same for IASSA, with the attention at 112 x 112: with its paper's settings, and with 500 queries by ours."""
    box = _lite0()
    backbone = BackboneFeatures("tf_efficientnet_lite0", weights="efficientnet_lite0", levels=(0, 1, 2, 3))
    paper = IASSA(box, backbone, window="keep", schedule=WindowSchedule.paper(), beta=0.5)
    short = IASSA(box, backbone, budget=500)
    short.attribute(_photograph())  # what the first use costs is no share of 500 queries
    return [
        _overhead("iassa_overhead", paper, box, target),
        _overhead("iassa_overhead_500", short, box, target),
    ]


def dax_memory(samples: int = 6000, target: float = 1000.0) -> Figure:
    """Most memory of an explanation at 224 pixels beyond the black box, whose place a mean takes."""

    def brightness(x: Tensor) -> Tensor:
        share = x.mean((1, 2, 3))
        return torch.stack([share, 1 - share], 1)

    box = CallableBlackBox(brightness, num_classes=2, chunk=64)
    explainer = DAX(box, num_samples=samples, fit=FitSettings(mask_stride=2, max_epochs=1))
    inputs = _photograph()
    peak = peak_bytes(lambda: explainer.attribute(inputs, 0))
    return Figure("dax_memory", peak / 1e6, target, unit="MB", shapes={"samples": samples})


def attention_memory(side: int = 112, channels: int = 192, target: float = 300.0) -> Figure:
    """Most memory of the spatial attention for several maps, which as a matrix would take side^4 numbers."""
    # Of one length, as those of a backbone are: four levels of length 1 each.
    features = 2 * torch.nn.functional.normalize(torch.randn(side * side, channels), dim=1)
    values = torch.rand(side * side)

    def attend() -> None:
        attention = SpatialAttention(features, keep=True)
        for _ in range(2):
            attention(values)

    peak = peak_bytes(attend)
    parts = {"the_matrix_mb": side**4 * 4 / 1e6}
    return Figure("iassa_attention_memory", peak / 1e6, target, unit="MB", parts=parts, shapes={"side": side})


def compiled_speedup(repeats: int = 15, chunks: int = 4) -> list[Figure]:
    """How many times faster a compiled black box is, EfficientNet-Lite0 at 224 pixels, by each compiler there is."""
    options: dict[str, Any] = {"precision": "bf16", "channels_last": True, "chunk": 8}
    compilers: dict[str, Compile] = {"compiled": True} if shutil.which("c++") else {}
    if find_spec("openvino"):
        compilers["openvino"] = "openvino"
    if not compilers:
        raise ValueError("No compiler to measure: there is neither a C++ compiler nor the package openvino.")
    boxes = {
        name: TimmBlackBox(weights="efficientnet_lite0", compile=compile, **options)
        for name, compile in {"plain": False, **compilers}.items()
    }
    count = chunks * options["chunk"]
    inputs = torch.rand(count, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    samples = time_in_turn({name: partial(box, inputs) for name, box in boxes.items()}, repeats)
    return [
        ratio(
            "compiled_speedup" if name == "compiled" else f"{name}_speedup",
            samples["plain"],
            {name: (1, samples[name])},
            target=1.0,
            bound=">=",
            label="plain",
            shapes={"inputs": list(inputs.shape)},
        )
        for name in compilers
    ]
