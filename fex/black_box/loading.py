"""One call for every kind of black box."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from torch import nn

from fex.black_box.base import BlackBox
from fex.black_box.callable import CallableBlackBox
from fex.black_box.exported import ExportedBlackBox
from fex.black_box.given import box_of
from fex.black_box.http import HttpBlackBox
from fex.black_box.onnx import OnnxBlackBox
from fex.black_box.openvino_file import OpenvinoBlackBox
from fex.black_box.prompt import PromptBlackBox, is_completions
from fex.black_box.text import TextBlackBox
from fex.black_box.timm import TimmBlackBox
from fex.black_box.transformers import TransformersBlackBox
from fex.black_box.zero_shot import ZeroShotBlackBox
from fex.keywords import beside, called, check_keywords, close_names, keywords_of, made
from fex.storage.resources import manifest
from fex.texts.backbone import is_text_weights

__all__ = ["load_black_box"]

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin")
GRAPHS: dict[str, type[BlackBox]] = {".onnx": OnnxBlackBox, ".xml": OpenvinoBlackBox, ".pt2": ExportedBlackBox}
FILES = (*WEIGHTS, *GRAPHS)


def _config_key(name: str) -> str | None:
    """Which library wrote the folder's config.json: "architecture" is timm's, "model_type" transformers'."""
    try:
        config = json.loads((Path(name) / "config.json").read_text())
    except (OSError, ValueError):
        return None
    return next((key for key in ("architecture", "model_type") if key in config), None)


def _is_shipped(name: str) -> bool:
    return manifest().get(name, {}).get("kind") == "black_box"


def _is_timm(name: str) -> bool:
    if name.startswith(("hf-hub:", "hf_hub:", "timm/")):
        return True
    return "/" not in name and ":" not in name and timm.is_model(name.split(".")[0]) and not name.endswith(WEIGHTS)


def _is_hub_id(name: str) -> bool:
    looks_so = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None
    return looks_so and not name.startswith("timm/") and not name.endswith(FILES) and not Path(name).exists()


def _load_timm(name: str, /, **options: Any) -> BlackBox:
    name = f"hf-hub:{name}" if name.startswith("timm/") else name
    return made(TimmBlackBox, name, **{"pretrained": "weights" not in options, **options})


def _load_weights(name: str, /, **options: Any) -> BlackBox:
    """Weights of this project or timm's; those of this project say which kind of classifier they are."""
    if is_text_weights(name):
        return made(TextBlackBox, name, **options)
    check_keywords(options, keywords_of(TimmBlackBox), what=called(TimmBlackBox), taken=("weights",))
    return TimmBlackBox(weights=name, **options)


def _load_transformers(name: str, /, **options: Any) -> BlackBox:
    """A classifier of images, by prompts where there are any, or of texts, as its config says."""
    if "prompts" in options:
        return made(ZeroShotBlackBox, name, **options)
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name, revision=options.get("revision") or "main", trust_remote_code=False)
    except (OSError, ValueError):  # told in full where the model is fetched
        config = None
    texts = any(str(a).endswith("SequenceClassification") for a in getattr(config, "architectures", None) or [])
    return made(TextBlackBox if texts else TransformersBlackBox, name, **options)


@dataclass(frozen=True)
class _Kind:
    """One kind of name: how the error lists it, how it is told, what builds it."""

    label: str
    matches: Callable[[str], bool]
    load: Callable[..., BlackBox]


KINDS = (
    _Kind("a shipped name", _is_shipped, _load_weights),
    _Kind("an address of a language model (.../completions)", is_completions, PromptBlackBox),
    _Kind(
        "an http:// or https:// address",
        lambda name: name.startswith(("http://", "https://")) and not is_completions(name),
        HttpBlackBox,
    ),
    *(
        _Kind(f"a file {suffix}", lambda name, suffix=suffix: "://" not in name and name.endswith(suffix), box)
        for suffix, box in GRAPHS.items()
    ),
    _Kind(
        "a weights file (.safetensors written by fex, or any of timm's with model=NAME)",
        lambda name: "://" not in name and name.endswith(WEIGHTS),
        _load_weights,
    ),
    _Kind("a folder of a transformers classifier", lambda name: _config_key(name) == "model_type", _load_transformers),
    _Kind(
        "a folder of a timm classifier",
        lambda name: _config_key(name) == "architecture",
        lambda name, /, **options: made(TimmBlackBox, f"local-dir:{name}", **{"pretrained": True, **options}),
    ),
    _Kind(
        "package.module:function",
        lambda name: re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", name) is not None,
        CallableBlackBox,
    ),
    _Kind("a timm name", _is_timm, _load_timm),
    _Kind("an id of the hub (owner/name)", _is_hub_id, _load_transformers),
)


def loader_of(name: str) -> Callable[..., BlackBox] | None:
    """What builds the black box of a name; None where no kind of name is like it."""
    return next((kind.load for kind in KINDS if kind.matches(name)), None)


def load_black_box(name_or_path: str | Path | nn.Module | Callable[..., Any], **options: Any) -> BlackBox:
    """The black box behind a name, a path or an address, or around a network or a function.

    Args:
        name_or_path: a shipped name; an http(s) address (with `num_classes` or `class_names`); one of a language model
            that ends in /completions (with `model`, `template` and `labels`); an .onnx, an OpenVINO .xml or a .pt2
            (with `trust=True`) file; a weights file; a folder of a transformers or timm classifier, or of a CLIP (with
            `prompts`); "package.module:function" (that module's code
            runs); a timm name (its pretrained weights, or `weights`); an id of a transformers classifier on the hub;
            a network from normalised pictures (B, 3, H, W) to logits (or `outputs="probabilities"`); a function of
            pictures in [0, 1], or, with `tokenizer`, of a list of texts.
        **options: settings of the class that serves it: `TimmBlackBox`, `TransformersBlackBox`, `TextBlackBox`,
            `ZeroShotBlackBox`, `OnnxBlackBox`, `OpenvinoBlackBox`, `ExportedBlackBox`, `HttpBlackBox`,
            `PromptBlackBox`, `CallableBlackBox`, `TorchBlackBox`, `TextCallableBlackBox`.

    Returns:
        The black box, on the CPU.

    Raises:
        ValueError: none of these, or more than one; says what it takes.
        TypeError: a keyword that it does not take; says what was probably meant.

    Example:
        >>> import torch
        >>> box = load_black_box("torch.nn.functional:relu", num_classes=2)
        >>> box.name
        'torch.nn.functional:relu'
    """
    if not isinstance(name_or_path, str | Path):
        return box_of(name_or_path, **options)
    name = str(name_or_path)
    found = [kind for kind in KINDS if kind.matches(name)]
    # What the manifest describes comes first: timm may know an architecture by the same name.
    if len(found) == 1 or (found and found[0] is KINDS[0]):
        load = found[0].load
        return made(load, name, **options) if isinstance(load, type) else load(name, **options)
    if found:
        raise ValueError(
            f"{name!r} is ambiguous: {' and '.join(kind.label for kind in found)}. Write ./{name} for the one on disk, "
            "or use the class itself (TimmBlackBox, TransformersBlackBox, ...)."
        )
    entry = manifest().get(name)
    if entry is not None:
        use = "train a classifier on it" if entry.get("kind") == "backbone" else "use load_explainer"
        raise ValueError(f"{name!r} is shipped, but is of kind {entry.get('kind')!r}, no black box: {use}.")
    shipped = ", ".join(sorted(key for key in manifest() if _is_shipped(key))) or "none"
    near = close_names(name, [*shipped.split(", "), *timm.list_models(), *beside(name, FILES)], all_else=False) or "."
    raise ValueError(
        f"Found no black box {name!r}{near} Expected {'; '.join(kind.label for kind in KINDS)}. "
        f"Shipped names: {shipped}."
    )
