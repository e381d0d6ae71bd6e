"""Which encoder an explainer of a given black box stands on, and on which grid it explains."""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save_file
from torch import nn

from fex.black_box import BlackBox, TextBlackBox, TorchBlackBox
from fex.black_box.given import FromProbabilities
from fex.black_box.text import TextInputs
from fex.nets import BaseEncoder, PyramidEncoder, TextEncoder, TransformersEncoder, ViTEncoder

__all__ = ["EncoderChoice", "FEW", "choose_encoder", "grid_of", "network_of", "stored"]

FEW = 5_000  # instances; with fewer a pretrained backbone is kept as it is
COARSE = 2_000  # with fewer, a map of some fifty places is all that is learnt
MOST_SIDE = 16  # places a side


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder, as a config describes it.

    Attributes:
        class_path: its class.
        init_args: its arguments.
        encoder: itself.
        why: in a few words.
        lr: learning rate that suits it.
    """

    class_path: str
    init_args: dict[str, Any]
    encoder: BaseEncoder
    why: str
    lr: float


def network_of(box: BlackBox) -> nn.Module | None:
    """The network of a box that has one."""
    if not isinstance(box, TorchBlackBox):
        return None
    return box.module.network if isinstance(box.module, FromProbabilities) else box.module


def _without_bars() -> None:
    """Progress bars of networks that are written in a moment say nothing."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def stored(box: BlackBox, folder: Path) -> dict[str, Any] | None:
    """Writes the network of a box to `folder`; the arguments of an encoder that starts from it, None without one."""
    net: Any = network_of(box)
    if isinstance(box, TextBlackBox):
        return {"model": box.model}
    config = getattr(net, "config", None)
    if hasattr(config, "model_type") and hasattr(net, "save_pretrained"):
        _without_bars()
        net.save_pretrained(folder)
        return {"model": str(folder)}
    name = (getattr(net, "pretrained_cfg", None) or {}).get("architecture")
    if name is None or not timm.is_model(name):
        return None
    save_file({key: value.contiguous().clone() for key, value in net.state_dict().items()}, folder / "net.safetensors")
    arguments = getattr(box, "model_args", None)
    if arguments is None:
        arguments = {"num_classes": net.num_classes}
        size = getattr(getattr(net, "patch_embed", None), "img_size", None)
        arguments |= {} if size is None else {"img_size": size}
    return {"model": name, "weights": str(folder / "net.safetensors"), "model_args": arguments}


def choose_encoder(box: BlackBox, start: dict[str, Any] | None, instances: int) -> EncoderChoice:
    """The encoder for a box: its own network where that can serve, a small untrained one otherwise.

    Args:
        box: the black box.
        start: arguments by which an encoder gets the box's own weights; None where there are none to be had.
        instances: how many there are to train on.
    """
    if isinstance(box, TextInputs):
        return _of_texts(box, start)
    few = instances < FEW
    frozen = {"frozen": True} if few else {}
    net: Any = network_of(box)
    colours = {"mean": list(box.mean), "std": list(box.std)}
    usable = start is not None and getattr(box, "channels", 3) == 3 and not getattr(box, "_flips", False)
    for kind in _kinds(net) if usable else ():
        for head in (True, False):
            given = {**(start or {}), **colours, **frozen, **({"class_head": True} if head else {})}
            try:
                encoder = kind(**given)
            except (ValueError, RuntimeError, OSError):  # not for this network: the next one, at last a small one
                continue
            if head and (encoder.class_weight is None or len(encoder.class_weight) != box.num_classes):
                continue
            if encoder.size is not None and encoder.size != box.preprocess.size:
                continue
            why = f"the box's own network ({type(net).__name__})"
            why += ", kept as it is, since there is little data" if few else ", trained on"
            return EncoderChoice(_path(kind), given, encoder, why, 1e-3 if few else 1e-4)
    return _small(box, net)


def _path(kind: type) -> str:
    return f"fex.nets.{kind.__name__}"


def _kinds(net: Any) -> list[Any]:
    """Encoders that may fit a network, the fitting one first."""
    if hasattr(getattr(net, "config", None), "model_type"):
        return [TransformersEncoder]
    tokens = hasattr(net, "num_prefix_tokens") and hasattr(net, "patch_embed")
    return [ViTEncoder, PyramidEncoder] if tokens else [PyramidEncoder]


def _small(box: BlackBox, net: Any) -> EncoderChoice:
    height, width = box.preprocess.size
    colours = {"mean": list(box.mean), "std": list(box.std)}
    more = {} if len(box.mean) == 3 else {"in_chans": len(box.mean)}
    why = "a small network from scratch: the box's own " + ("does not fit" if net is not None else "cannot be had")
    if height == width <= 64 and height % 8 == 0:  # patches of 4 or 8 pixels
        given = {
            "model": "conv_vit_tiny",
            "model_args": {"img_size": height, "patch_size": 8 if height > 32 else 4, **more},
        }
        return EncoderChoice(_path(ViTEncoder), {**given, **colours}, ViTEncoder(**given, **colours), why, 1e-3)
    if (least := min(height, width)) < 32:  # its last stage would have no place left
        more = {**more, "output_stride": 16 if least >= 16 else 8}
    given = {
        "model": "convnext_atto",
        **({"model_args": more} if more else {}),
        **colours,
    }  # norms of layers: those of batches would need statistics
    return EncoderChoice(_path(PyramidEncoder), given, PyramidEncoder(**given), why, 1e-3)


def _of_texts(box: TextInputs, start: dict[str, Any] | None) -> EncoderChoice:
    adapters = importlib.util.find_spec("peft") is not None
    light = {"lora_rank": 16} if adapters else {"frozen": True}
    why = "by adapters of rank 16" if adapters else "kept as it is: adapters need the `text` extra"
    # A box that shows no network: the encoder is that of its tokenizer, whose tokens it reads.
    start = start or {"model": getattr(box, "tokenizer", "minilm")}
    for head in (True, False) if isinstance(box, TextBlackBox) else (False,):
        given = {**start, **light, **({"class_head": True} if head else {})}
        encoder = TextEncoder(**given)
        outputs = getattr(getattr(encoder.net, "config", None), "num_labels", None)
        if not head or outputs == box.num_classes:
            own = "the box's own network" if isinstance(box, TextBlackBox) else "a network that reads its tokens"
            return EncoderChoice(_path(TextEncoder), given, encoder, f"{own}, {why}", 1e-3)
    raise AssertionError("an encoder without a head always fits")


def grid_of(box: BlackBox, encoder: BaseEncoder, instances: int) -> tuple[int, int]:
    """Height and width of the grid on which a box of images is explained.

    The patches of a ViT, at most 16 a side; else a place for each 32 pixels, at least 7 and at most 14 a side; where
    there is little data, half of them.
    """
    patch = getattr(encoder, "patch", None)
    tokens = patch is not None and len(getattr(encoder, "lateral", ())) <= 1
    sides = []
    for axis, side in enumerate(box.preprocess.size):
        count = side // patch[axis] if tokens and patch else min(14, max(7 if side > 64 else 8, side // 32))
        most = MOST_SIDE if instances >= COARSE else 8
        sides.append(max(1, math.ceil(count / math.ceil(count / most)), min(2, side)))
    return sides[0], sides[1]
