"""Ratios of times, all quantities of a ratio measured in turn in one run: a machine's noise falls on each alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fex.baselines import RISE, GradSHAP, IntegratedGradients
from fex.benchmark.measure import wait
from fex.black_box.base import BlackBox
from fex.explainers import AmortizedExplainer, explainer_meta
from fex.images.features import PatchGrid
from fex.images.preprocess import Preprocess
from fex.images.removal import Mean
from fex.nets import Encoder, ExplainerNet
from fex.nets.backbones.timm import build_timm
from fex.storage.resources import manifest
from fex.storage.weights import save_black_box
from fex.types import Explainer

__all__ = ["Figure", "make_explainer", "one_pass", "ratio", "speedups", "spread", "time_in_turn", "weights_or_random"]


@dataclass(frozen=True)
class Figure:
    """One measured number beside its target.

    Attributes:
        name: of the quantity.
        value: a ratio, or what `unit` says.
        target: bound of the value; None where the value is only told.
        bound: which side of the target is right.
        unit: "x" for ratios, "%" for shares, "MB" for 10^6 bytes.
        parts: what the value was computed from, plain data; times in seconds as of `spread`.
        shapes: sizes of what was measured, plain data.
    """

    name: str
    value: float
    target: float | None = None
    bound: Literal["<=", ">="] = "<="
    unit: str = "x"
    parts: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.bound == "<=" else self.value >= self.target

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "value": self.value, "unit": self.unit, "target": self.target, "bound": self.bound, "ok": self.ok,
            "parts": self.parts, "shapes": self.shapes,
        }  # fmt: skip


def time_in_turn(
    functions: Mapping[str, Callable[[], object]], repeats: int, *, device: torch.device | str = "cpu", warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of each function: all once, all once more, and so on; the first `warm_up` rounds are not kept.

    Raises:
        ValueError: repeats below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}.")
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warm_up + repeats):
        for name, function in functions.items():
            wait(device)
            start = time.perf_counter()
            function()
            wait(device)
            if turn >= warm_up:
                samples[name].append(time.perf_counter() - start)
    return samples


def spread(samples: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and count of measured seconds."""
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {"median": middle, "quartiles": [low, high], "n": len(samples)}


def ratio(
    name: str,
    above: Sequence[float],
    below: Mapping[str, tuple[float, Sequence[float]]],
    *,
    target: float,
    bound: Literal["<=", ">="] = "<=",
    label: str = "measured",
    shapes: dict[str, Any] | None = None,
) -> Figure:
    """median(above) / sum of count * median over `below`, which holds (count, seconds) by name."""
    total = sum(count * statistics.median(samples) for count, samples in below.values())
    parts = {label: spread(above)}
    for part, (count, samples) in below.items():
        parts[part] = {**spread(samples), "count": count}
    return Figure(name, statistics.median(above) / total, target, bound, parts=parts, shapes=shapes or {})


def weights_or_random(name: str, folder: Path) -> str:
    """The shipped CIFAR-10 black box by name, or a file with random weights of its architecture: as fast, not wise."""
    if name in manifest():
        return name
    path = folder / f"{name}.safetensors"
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = build_timm("conv_vit_tiny", {"img_size": 32})
        meta = {
            "model": "conv_vit_tiny", "model_args": {"img_size": 32}, "class_names": [str(i) for i in range(10)],
            "preprocess": Preprocess(32, 32).to_dict(), "mean": [0.5] * 3, "std": [0.25] * 3,
        }  # fmt: skip
        save_black_box(path, net, meta)
    return str(path)


def make_explainer(encoder: Encoder, black_box: BlackBox, features: PatchGrid) -> AmortizedExplainer:
    """An untrained explainer of `black_box`."""
    net = ExplainerNet(encoder).build(black_box.num_classes, features)
    return AmortizedExplainer(net, explainer_meta(net, black_box, Mean()))


def _backbone_pass(explainer: AmortizedExplainer, inputs: Tensor) -> Callable[[], object]:
    """A forward pass of the explainer's backbone alone, on inputs that are prepared already.

    Pictures are normalised and in the backbone's own memory format, texts have their attention masks.
    """
    encoder: Any = explainer.net.encoder
    if explainer.features.modality == "text":
        arguments = encoder.reading.arguments(encoder.net, inputs)
        return torch.inference_mode()(lambda: encoder.net(**arguments))
    prepared = (inputs - encoder.mean) / encoder.std
    prepared = prepared.contiguous(memory_format=getattr(encoder, "memory_format", torch.contiguous_format))
    return torch.inference_mode()(lambda: encoder.net(prepared))


def one_pass(name: str, explainer: AmortizedExplainer, inputs: Tensor, *, repeats: int, target: float = 1.2) -> Figure:
    """`attribute` of a batch (B, ...), against a forward pass of the explainer's backbone alone, in one precision."""
    inputs = inputs.to(explainer.device)
    functions = {"explanation": lambda: explainer.attribute(inputs), "backbone": _backbone_pass(explainer, inputs)}
    samples = time_in_turn(functions, repeats, device=explainer.device)
    return ratio(
        name,
        samples["explanation"],
        {"backbone": (1, samples["backbone"])},
        target=target,
        label="explanation",
        shapes={"inputs": list(inputs.shape), "features": explainer.features.count(inputs)},
    )


def speedups(
    explainer: AmortizedExplainer,
    black_box: BlackBox,
    inputs: Tensor,
    *,
    repeats: int,
    queries: int = 100,
    target: float = 30.0,
) -> list[Figure]:
    """How many times faster an explanation is than RISE, and of images than IG and GradSHAP, at `queries` each.

    All explain the same batch (B, ...) and class, so that ratios of batches are ratios of instances.
    """
    inputs = inputs.to(explainer.device)
    classes = black_box(inputs).argmax(1)
    rise = RISE(black_box, explainer.features, num_masks=queries)
    slow: dict[str, Explainer] = {"rise_text": rise}
    if explainer.features.modality == "image":
        ig = IntegratedGradients(black_box, steps=queries)
        slow = {"rise": rise, "ig": ig, "gradshap": GradSHAP(black_box, samples=queries)}
    functions: dict[str, Callable[[], object]] = {"explanation": lambda: explainer.attribute(inputs, classes)}
    for name, method in slow.items():
        functions[name] = partial(method.attribute, inputs, classes)
    samples = time_in_turn(functions, repeats, device=explainer.device, warm_up=1)
    shapes = {"inputs": list(inputs.shape), "features": explainer.features.count(inputs), "queries": queries}
    return [
        ratio(
            f"speedup_{name}",
            samples[name],
            {"explanation": (1, samples["explanation"])},
            target=target,
            bound=">=",
            label=name,
            shapes=shapes,
        )
        for name in slow
    ]
