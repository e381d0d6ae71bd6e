"""A timm classifier as a black box: by name (hub or local weights), or a classifier trained here."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

import fex.nets.conv_vit  # noqa: F401 registers conv_vit_tiny with timm
from fex.black_box.base import TorchBlackBox
from fex.preprocess import Preprocess
from fex.resources import shipped_path
from fex.weights import load_state, load_weights

__all__ = ["TimmBlackBox", "build_timm", "read_timm_weights"]


def build_timm(model: str, model_args: dict[str, Any] | None = None, *, pretrained: bool = False) -> nn.Module:
    """`timm.create_model` with errors that say what to do."""
    if not timm.is_model(model.split(":")[-1].split("/")[-1].split(".")[0]) and ":" not in model:
        close = timm.list_models(f"*{model.split('_')[0]}*")[:8]
        raise ValueError(f"timm knows no model {model!r}. Some it knows: {', '.join(close) or 'see timm.list_models()'}.")
    try:
        return timm.create_model(model, pretrained=pretrained, **(model_args or {}))
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise OSError(
            f"Could not get the pretrained weights of {model!r} ({type(error).__name__}: {error}). Without a network, "
            "set `weights` to a local file (.safetensors, .pth, .bin) of that model."
        ) from error


def read_timm_weights(weights: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata of a local file or a shipped name; files from elsewhere have no metadata."""
    path = shipped_path(str(weights)) or Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"Found no weights at {path}, and none are shipped by that name.")
    if path.suffix == ".safetensors":
        try:
            return load_weights(path)
        except ValueError:
            pass  # a safetensors file of timm itself
    return dict(timm.models.load_state_dict(str(path), weights_only=True)), {}


def _in_order(module: nn.Module, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under this module's names, where only the names differ (a port of the same network)."""
    own = module.state_dict()
    if set(own) == set(tensors):
        return tensors
    counters = "num_batches_tracked"
    given = [tensor for name, tensor in tensors.items() if counters not in name]
    names = [name for name in own if counters not in name]
    if [tuple(own[name].shape) for name in names] != [tuple(tensor.shape) for tensor in given]:
        return tensors  # load_state names the mismatch
    return {**{name: own[name] for name in own if counters in name}, **dict(zip(names, given, strict=True))}


class TimmBlackBox(TorchBlackBox):
    """A timm classifier.

    Input size, crop, mean and std come from the model's own metadata unless given.

    Args:
        model: timm name; may be left out when `weights` were written by this project.
        weights: local file or shipped name; None with `pretrained` takes timm's hub weights.
        pretrained: download the hub weights.
        model_args: keyword arguments of the model, plain data.
        precision: "fp32", "bf16" or "fp16".
        channels_last: memory format.
        **options: see `BlackBox`.

    Raises:
        ValueError: an unknown model; weights that do not fit.
    """

    def __init__(
        self,
        model: str | None = None,
        weights: str | None = None,
        pretrained: bool = False,  # noqa: FBT001, FBT002 a YAML key
        model_args: dict[str, Any] | None = None,
        precision: str = "fp32",
        channels_last: bool = False,  # noqa: FBT001, FBT002 a YAML key
        class_names: list[str] | None = None,
        preprocess: Preprocess | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        chunk: int = 256,
        multi_label: bool = False,  # noqa: FBT001, FBT002 a YAML key
        name: str | None = None,
    ) -> None:
        tensors, meta = read_timm_weights(weights) if weights is not None else ({}, {})
        model = model or meta.get("model")
        if model is None:
            raise ValueError("TimmBlackBox needs `model`, a timm name: the weights do not say which they belong to.")
        arguments = {**meta.get("model_args", {}), **(model_args or {})}
        net = build_timm(model, arguments, pretrained=pretrained and weights is None)
        if weights is not None:
            load_state(net, _in_order(net, tensors), source=str(weights))
        elif not pretrained:
            raise ValueError(
                f"TimmBlackBox({model!r}) has no weights: set `weights` to a local file or a shipped name, or "
                "`pretrained: true` to take timm's."
            )
        data = timm.data.resolve_model_data_config(net)
        if preprocess is None:
            preprocess = Preprocess(**meta["preprocess"]) if "preprocess" in meta else _preprocess_of(data)
        net.requires_grad_(requires_grad=False)
        super().__init__(
            net.eval(),
            precision=precision,
            channels_last=channels_last,
            class_names=class_names or meta.get("class_names") or _class_names(net),
            preprocess=preprocess,
            mean=mean or meta.get("mean") or data["mean"],
            std=std or meta.get("std") or data["std"],
            chunk=chunk,
            multi_label=multi_label,
            name=name or (Path(weights).stem if weights else model),
        )
        self.model, self.model_args = model, arguments


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
