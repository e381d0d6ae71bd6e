"""A black box of the command line as a config names it."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from fex.black_box import (
    BlackBox,
    CallableBlackBox,
    ExportedBlackBox,
    HttpBlackBox,
    OnnxBlackBox,
    OpenvinoBlackBox,
    PromptBlackBox,
    TextBlackBox,
    TextCallableBlackBox,
    TimmBlackBox,
    load_black_box,
)
from fex.black_box.exported import check_trust
from fex.black_box.given import raw_scores
from fex.black_box.loading import loader_of
from fex.black_box.scores import SUMS
from fex.black_box.timm import timm_folder
from fex.cli.train.prompt_flags import prompt_arguments, refuse_prompt_flags
from fex.cli.train.recipe import built
from fex.images import Preprocess
from fex.storage.resources import manifest

__all__ = ["ASKED", "asked_box", "is_graph", "named_box", "start_of"]

# Boxes that say nothing of their answers, and the argument that names them.
ASKED: dict[Any, str] = {
    HttpBlackBox: "url", CallableBlackBox: "function",
    OnnxBlackBox: "path", OpenvinoBlackBox: "path", ExportedBlackBox: "path",
}  # fmt: skip


def is_graph(spec: dict[str, Any]) -> bool:
    """Whether it is the box of a file of a graph, by its class and arguments."""
    return "path" in spec["init_args"]


def _options(asked: Namespace) -> dict[str, Any]:
    """What the flags say of any box."""
    options: dict[str, Any] = {}
    if isinstance(asked.classes, int):
        options["num_classes"] = asked.classes
    elif asked.classes is not None:
        options["class_names"] = asked.classes
    if asked.size is not None:
        options["preprocess"] = {"height": asked.size[0], "width": asked.size[1]}
    if asked.prompts is not None:
        options["prompts"] = asked.prompts
    return {**options, **({"multi_label": True} if asked.multi_label else {})}


def named_box(asked: Namespace, *, texts: bool) -> dict[str, Any] | BlackBox:
    """The box that a name gives by itself; of one that says nothing of its answers, its class and arguments.

    Raises:
        ValueError: see `load_black_box`; flags that this kind of box does not take.
    """
    if texts and asked.size is not None:
        raise ValueError("--size is for pictures, the data holds texts: leave it out.")
    name, options, kind = asked.black_box, _options(asked), loader_of(asked.black_box)
    if kind is PromptBlackBox:
        return PromptBlackBox(**prompt_arguments(asked, texts=texts))
    refuse_prompt_flags(asked)
    key = ASKED.get(kind)  # type: ignore[arg-type]
    if key is not None:
        return _unasked_box(asked, kind, key, options, texts=texts)
    if asked.outputs is not None:
        raise ValueError(
            "--outputs is for files of a graph, addresses and functions: a network's own answers are known."
        )
    if isinstance(options.get("preprocess"), dict):
        options["preprocess"] = Preprocess(**options["preprocess"])
    classes = options.pop("num_classes", None)
    if asked.weights is not None:
        options["weights"] = asked.weights
    try:
        box = load_black_box(name, **options)
    except TypeError as error:
        raise ValueError(f"{name!r} does not take all of these flags ({error}).") from error
    if classes not in (None, box.num_classes):
        raise ValueError(f"{name!r} has {box.num_classes} classes, got --classes {classes}.")
    return box


def _unasked_box(asked: Namespace, kind: Any, key: str, options: dict[str, Any], *, texts: bool) -> dict[str, Any]:
    """Class and arguments of a box that says nothing of its answers.

    Raises:
        ValueError: flags that it does not take; a file that is to be trusted first.
    """
    name = asked.black_box
    if asked.prompts is not None:
        raise ValueError(f"--prompts is for a folder or hub id of a CLIP or SigLIP, not for {name!r}: leave it out.")
    if asked.weights is not None:
        raise ValueError(f"{name!r} has its weights with it: leave --weights out.")
    if texts and kind is not CallableBlackBox:
        raise ValueError(f"{name!r} takes pictures, the data holds texts: give a folder of pictures.")
    if kind is ExportedBlackBox:
        check_trust(name, trust=asked.trust)
        options["trust"] = True
    given: Any = TextCallableBlackBox if texts else kind
    options |= {"tokenizer": asked.tokenizer} if texts else {}
    options |= {} if asked.outputs is None else {"outputs": asked.outputs}
    return {"class_path": f"fex.black_box.{given.__name__}", "init_args": {key: name, **options}}


def spec_of(box: BlackBox, asked: Namespace) -> dict[str, Any]:
    """How a config names a box that was loaded by `named_box`."""
    if isinstance(box, PromptBlackBox):
        return {"class_path": "fex.black_box.PromptBlackBox", "init_args": prompt_arguments(asked, texts=True)}
    options = {key: value for key, value in _options(asked).items() if key != "num_classes"}
    name = asked.black_box
    if isinstance(box, TimmBlackBox):
        shipped = manifest().get(name, {}).get("kind") == "black_box"
        if shipped or (asked.weights is None and Path(name).is_file()):
            given: dict[str, Any] = {"weights": name}
        elif asked.weights is not None:
            given = {"model": name, "weights": asked.weights}
        else:
            given = {"model": box.model, "pretrained": True}
    else:
        given = {"model": name}
    return {"class_path": f"fex.black_box.{type(box).__name__}", "init_args": {**given, **options}}


def start_of(box: BlackBox, spec: dict[str, Any]) -> dict[str, Any] | None:
    """Arguments by which an encoder starts from the box's own weights, by names that a config can hold."""
    given = spec["init_args"]
    if isinstance(box, TextBlackBox) or "TransformersBlackBox" in spec["class_path"]:
        return {"model": given["model"]}
    if not isinstance(box, TimmBlackBox):
        return None
    arguments = {"model_args": dict(box.model_args)} if box.model_args else {}
    if (folder := timm_folder(box.model)) is not None:
        files = [path for path in (folder / "model.safetensors", folder / "pytorch_model.bin") if path.is_file()]
        name = (getattr(box.module, "pretrained_cfg", None) or {}).get("architecture")
        arguments = arguments or {"model_args": {"num_classes": box.num_classes}}
        return {"model": name, "weights": str(files[0]), **arguments} if files and name else None
    if ":" in box.model or "/" in box.model or not timm.is_model(box.model.split(".")[0]):
        return None  # a checkpoint holds names of architectures alone
    source = {"weights": given["weights"]} if given.get("weights") else {"pretrained": True}
    meta = manifest().get(str(given.get("weights")), {}).get("meta", {})
    return {"model": box.model, **source, **({} if meta else arguments)}


def asked_box(spec: dict[str, Any], inputs: Tensor) -> tuple[BlackBox, dict[str, Any], list[str]]:
    """A box that says nothing of its answers, after it was asked once: number of classes, kind of scores.

    Args:
        spec: its class and arguments.
        inputs: some instances, as it takes them.

    Returns:
        The box, its class and arguments, and what was found.

    Raises:
        ValueError: scores that cannot be told.
    """
    given, said = dict(spec["init_args"]), []
    classes = {} if "class_names" in given or "num_classes" in given else {"num_classes": 2}
    if is_graph(spec) and classes:  # a graph may say it itself
        try:
            _built(spec, given)
            classes = {}
        except ValueError as error:
            if "set num_classes" not in str(error):
                raise
    if "Http" in spec["class_path"] and "outputs" not in given:
        given["outputs"], scores = _answer(spec, {**given, **classes}, inputs)
    else:
        key = given.get("outputs", "probabilities") if "Http" in spec["class_path"] else "probabilities"
        scores = raw_scores(_built(spec, {**given, **classes, "outputs": key}), inputs)
    if classes:
        given["num_classes"] = scores.shape[1]
        said.append(f"it answers with {scores.shape[1]} scores an input")
    if "outputs" not in given:
        given["outputs"] = _kind(scores, multi_label=bool(given.get("multi_label")))
        said.append(f"they look like {given['outputs']}")
    return _built(spec, given), _spec(spec, given), said


def _answer(spec: dict[str, Any], given: dict[str, Any], inputs: Tensor) -> tuple[str, Tensor]:
    """Of an address: under which key it answers, and the scores.

    Raises:
        ValueError: under none.
    """
    reasons = []
    for kind in ("probabilities", "logits"):
        try:
            return kind, raw_scores(_built(spec, {**given, "outputs": kind}), inputs)
        except ValueError as error:
            reasons.append(error)
    raise reasons[0]


def _spec(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": spec["class_path"], "init_args": given}


def _built(spec: dict[str, Any], given: dict[str, Any]) -> BlackBox:
    if isinstance(geometry := given.get("preprocess"), dict):
        given = {**given, "preprocess": Preprocess(**geometry)}
    return built(_spec(spec, given))


def _kind(scores: Tensor, *, multi_label: bool) -> str:
    """What scores (R, C) are, as far as they show it.

    Raises:
        ValueError: they do not.
    """
    inside = bool((scores >= -1e-3).all() & (scores <= 1.001).all())
    if not inside:
        return "logits"
    if scores.shape[1] > 1 and (multi_label or bool(((scores.sum(1) - 1).abs() <= SUMS).all())):
        return "probabilities"
    raise ValueError(
        "The scores lie in [0, 1] but do not sum to 1: say what they are, --outputs probabilities or --outputs logits; "
        "of classes that are not exclusive, --multi-label."
    )
