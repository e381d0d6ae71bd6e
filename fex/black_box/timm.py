"""A timm classifier as a black box: by name (hub or local weights), or a classifier trained here."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import timm
from timm.data.imagenet_info import infer_imagenet_subset
from torch import Tensor, nn

from fex.black_box.classes import chosen_names
from fex.black_box.colour import Colour
from fex.black_box.network import TorchBlackBox
from fex.images.preprocess import Preprocess
from fex.nets.backbones.timm import build_timm, in_order, read_timm_weights
from fex.storage.description import building
from fex.storage.weights import load_state

__all__ = ["TimmBlackBox", "preprocess_of_timm", "timm_folder"]

IMAGENETS = ("in1k", "in12k", "in21k", "in22k")  # in timm's tags, as "a1_in1k"


class TimmBlackBox(TorchBlackBox):
    """A timm classifier.

    Input size, crop, mean and std come from the model's own metadata unless given; so do class names, where timm's own
    weights are taken. A head with one logit makes two classes, see `BlackBox`.

    Args:
        model: timm name; may be left out when `weights` were written by this project.
        weights: local file or shipped name; None with `pretrained` takes timm's hub weights.
        pretrained: download the hub weights.
        model_args: keyword arguments of the model, plain data; without `num_classes`, the head is as large as that of
            the `weights`, or else as there are `class_names`; `in_chans: 1` gives a network of grey pictures.
        precision: "fp32", "bf16" or "fp16".
        channels_last: memory format.
        compile: see `TorchBlackBox`.
        class_names: see `BlackBox`; or "imagenet-1k", "imagenet-21k" ..., whose names timm knows, for `weights` that
            were trained on it.
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
        class_names: Sequence[str] | str | None = None,
        preprocess: Preprocess | None = None,
        mean: Colour | None = None,
        std: Colour | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        tensors, meta = read_timm_weights(weights) if weights is not None else ({}, {})
        model = _name_of(model, weights, meta, pretrained=pretrained)
        class_names, own = (
            _subset_names(names) if isinstance(names, str) else names
            for names in (class_names, meta.get("class_names"))
        )
        class_names = chosen_names(class_names, own)
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        with building(tensors, str(weights)) if meta else nullcontext():
            net = build_timm(model, arguments, pretrained=weights is None)
            if preprocess is None and "preprocess" in meta:
                preprocess = Preprocess(**meta["preprocess"])
        if weights is not None:
            arguments = _filled(net, tensors, arguments, len(class_names or ()), source=weights)
        else:
            class_names = chosen_names(class_names, _own_names(net, model))
        data = timm.data.resolve_model_data_config(net, _own_size(net, arguments))
        if preprocess is None:
            preprocess = preprocess_of_timm(data)
        super().__init__(
            net.eval().requires_grad_(requires_grad=False),
            channels=int(arguments.get("in_chans", 3)),
            class_names=class_names,
            num_classes=_count(net),
            preprocess=preprocess,
            mean=meta.get("mean", data["mean"]) if mean is None else mean,
            std=meta.get("std", data["std"]) if std is None else std,
            name=name or (Path(weights).stem if weights else model),
            **options,
        )
        self.model, self.model_args = model, arguments


def _name_of(model: str | None, weights: str | None, meta: dict[str, Any], *, pretrained: bool) -> str:
    """The timm name, given or that of the weights."""
    if meta.get("kind", "black_box") != "black_box":
        raise ValueError(f"The weights of {weights} are of kind {meta['kind']!r}, expected a black box.")
    model = model or meta.get("model")
    if model is None:
        raise ValueError("TimmBlackBox needs `model`, a timm name: the weights do not say which they belong to.")
    if weights is None and not pretrained:
        raise ValueError(
            f"TimmBlackBox({model!r}) has no weights: set `weights` to a local file or a shipped name, or "
            "`pretrained: true` to take timm's."
        )
    return model


def _filled(
    net: Any, tensors: dict[str, Tensor], arguments: dict[str, Any], named: int, *, source: str
) -> dict[str, Any]:
    """Loads weights into a network whose head gets as large as theirs; its arguments, with that size."""
    if "num_classes" not in arguments:
        count = _head_size(net, tensors) or named
        if count and count != net.num_classes:
            net.reset_classifier(count)
            arguments = {**arguments, "num_classes": count}
    load_state(net, in_order(net, tensors), source=source)
    return arguments


def _count(net: Any) -> int:
    count = int(getattr(net, "num_classes", 0))
    if count < 1:
        raise ValueError("This timm model has no classifier head (num_classes = 0): it gives no probabilities.")
    return count


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


def preprocess_of_timm(data: dict[str, Any]) -> Preprocess:
    """The geometry of timm's own evaluation transform (`timm.data.create_transform`)."""
    _, height, width = data["input_size"]
    mode = data.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise ValueError(f"This timm model wants crop_mode {mode!r}, which fex does not do: set `preprocess`.")
    sides = (math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"]))
    if mode == "center" and sides[0] == sides[1]:
        return Preprocess(height, width, sides[0], data["interpolation"])
    return Preprocess(height, width, sides, data["interpolation"], squash=mode == "squash")


def timm_folder(model: str) -> Path | None:
    """The folder that a timm name stands for; None of other names."""
    return Path(model.partition(":")[2]) if model.startswith("local-dir:") else None


def _own_names(net: Any, model: str) -> list[str] | None:
    """Names that come with downloaded weights; None where nothing says what their classes are.

    The number of classes alone says nothing: of 1,000 of one's own, none is in ImageNet. Its name in the tag says it,
    where the weights are timm's own; a folder keeps the tag of what it was fine-tuned from.
    """
    config = getattr(net, "pretrained_cfg", None) or {}
    names = config.get("label_names")
    if names and len(names) == net.num_classes:
        return [str(name) for name in names]
    of_timm = ":" not in model or model.partition(":")[2].startswith("timm/")
    on_imagenet = any(part in IMAGENETS for part in (config.get("tag") or "").split("_"))
    subset = infer_imagenet_subset(net) if of_timm and on_imagenet else None
    return _subset_names(subset) if subset else None


def _subset_names(subset: str) -> list[str]:
    """First word of each class of one of timm's ImageNets.

    Raises:
        ValueError: a name that timm does not know.
    """
    try:
        info = timm.data.ImageNetInfo(subset)
    except AssertionError as error:
        raise ValueError(
            f"Got class_names={subset!r}, expected a list with one name a class, or a set of timm's: 'imagenet-1k', "
            "'imagenet-12k', 'imagenet-21k', 'imagenet-22k'."
        ) from error
    return [name.split(",")[0] for name in info.label_descriptions(detailed=False)]
