"""A timm classifier as a black box: by name (hub or local weights), or a classifier trained here."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from fex.backbones.timm import build_timm, in_order, read_timm_weights
from fex.black_box.base import Compile, TorchBlackBox
from fex.description import building
from fex.preprocess import Preprocess
from fex.weights import load_state

__all__ = ["TimmBlackBox"]


class TimmBlackBox(TorchBlackBox):
    """A timm classifier.

    Input size, crop, mean and std come from the model's own metadata unless given.

    Args:
        model: timm name; may be left out when `weights` were written by this project.
        weights: local file or shipped name; None with `pretrained` takes timm's hub weights.
        pretrained: download the hub weights.
        model_args: keyword arguments of the model, plain data; without `num_classes`, the head is as large as that of
            the `weights`, or else as there are `class_names`.
        precision: "fp32", "bf16" or "fp16".
        channels_last: memory format.
        compile: see `TorchBlackBox`.
        **options: see `BlackBox`.

    Raises:
        ValueError: an unknown model; weights that do not fit.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | None = None,
        pretrained: bool = False,
        model_args: dict[str, Any] | None = None,
        precision: str = "fp32",
        channels_last: bool = False,
        compile: Compile = False,  # noqa: A002 torch's own word
        class_names: list[str] | None = None,
        preprocess: Preprocess | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        chunk: int = 256,
        multi_label: bool = False,
        name: str | None = None,
    ) -> None:
        tensors, meta = read_timm_weights(weights) if weights is not None else ({}, {})
        if meta.get("kind", "black_box") != "black_box":
            raise ValueError(f"The weights of {weights} are of kind {meta['kind']!r}, expected a black box.")
        model = model or meta.get("model")
        if model is None:
            raise ValueError("TimmBlackBox needs `model`, a timm name: the weights do not say which they belong to.")
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        with building(tensors, str(weights)) if meta else nullcontext():
            net = build_timm(model, arguments, pretrained=pretrained and weights is None)
            if preprocess is None and "preprocess" in meta:
                preprocess = Preprocess(**meta["preprocess"])
        if weights is not None and "num_classes" not in arguments:
            count = _head_size(net, tensors) or len(class_names or ())
            if count and count != net.num_classes:
                net.reset_classifier(count)
                arguments["num_classes"] = count
        if weights is not None:
            load_state(net, in_order(net, tensors), source=str(weights))
        elif not pretrained:
            raise ValueError(
                f"TimmBlackBox({model!r}) has no weights: set `weights` to a local file or a shipped name, or "
                "`pretrained: true` to take timm's."
            )
        data = timm.data.resolve_model_data_config(net, _own_size(net, arguments))
        if preprocess is None:
            preprocess = _preprocess_of(data)
        net.requires_grad_(requires_grad=False)
        super().__init__(
            net.eval(),
            precision=precision,
            channels_last=channels_last,
            compile=compile,
            class_names=class_names or meta.get("class_names") or _class_names(net),
            num_classes=int(getattr(net, "num_classes", 0)) or None,
            preprocess=preprocess,
            mean=mean or meta.get("mean") or data["mean"],
            std=std or meta.get("std") or data["std"],
            chunk=chunk,
            multi_label=multi_label,
            name=name or (Path(weights).stem if weights else model),
        )
        self.model, self.model_args = model, arguments


def _head_size(net: Any, tensors: dict[str, Tensor]) -> int | None:
    """Classes of the head that `tensors` hold under this network's name for it; None if they hold none."""
    head = net.get_classifier()
    names = [f"{name}.weight" for name, part in net.named_modules() if part is head]
    return next((len(tensors[name]) for name in names if name in tensors), None)


def _own_size(net: nn.Module, model_args: dict[str, Any]) -> dict[str, Any]:
    """The image size that the network was built for, which need not be the pretrained one, for timm's data config."""
    size = model_args.get("img_size") or getattr(getattr(net, "patch_embed", None), "img_size", None)
    if size is None:
        return {}
    height, width = (size, size) if isinstance(size, int) else size
    return {"input_size": (3, height, width)}


def _preprocess_of(data: dict[str, Any]) -> Preprocess:
    _, height, width = data["input_size"]
    squash = data.get("crop_mode") == "squash"
    return Preprocess(height, width, round(max(height, width) / data["crop_pct"]), data["interpolation"], squash)


def _class_names(net: nn.Module) -> list[str]:
    count = int(getattr(net, "num_classes", 0))
    if count < 1:
        raise ValueError("This timm model has no classifier head (num_classes = 0): it gives no probabilities.")
    if count == 1000:
        names = timm.data.ImageNetInfo().label_descriptions(detailed=False)
        return [name.split(",")[0] for name in names]
    return [str(index) for index in range(count)]
