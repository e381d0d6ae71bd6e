"""Transformers networks for texts: from the hub, a folder, a package, or weights that this project wrote."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from fex.storage.description import building
from fex.storage.pretrained import fetch_pretrained
from fex.storage.resources import manifest, shipped_path
from fex.storage.weights import load_weights, save_weights
from fex.texts.lora import add_lora, merge_lora
from fex.texts.network import NetworkReading, ask_positions, ask_reading, embeddings_of, settle
from fex.texts.text_net import kind_of, plain_config, text_body
from fex.texts.tokenizer import TextPreprocess
from fex.texts.tokenizer_files import fetch_tokenizer

__all__ = ["TextNet", "is_text_weights", "load_text_net", "load_tokenizer", "save_text_black_box"]


class TextNet(NamedTuple):
    """A network and what it takes.

    Attributes:
        net: a transformers model.
        preprocess: its tokenizer.
        class_names: of its classes.
        missing: names of tensors that the weights lack, and that are therefore random.
        reading: how it reads a batch of texts.
        config: plain data that `build_text_net` makes the network of.
    """

    net: nn.Module
    preprocess: TextPreprocess
    class_names: list[str]
    missing: list[str]
    reading: NetworkReading
    config: dict[str, Any]


def is_text_weights(name: str | Path) -> bool:
    """Whether a shipped name or a .safetensors file holds a text classifier written by `save_text_black_box`."""
    entry = manifest().get(str(name))
    if entry is not None:
        return entry.get("modality") == "text" and entry["kind"] == "black_box"
    path = Path(name)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        return load_weights(path)[1].get("modality") == "text"
    except ValueError:
        return False


def _folder(model: str) -> str:
    """The folder of a backbone that comes with a package, else the name itself."""
    entry = manifest().get(model)
    if entry is None or entry["kind"] != "backbone":
        return model
    path = shipped_path(model)
    assert path is not None
    return str(path.parent)


def load_tokenizer(model: str, *, revision: str | None = None, max_length: int | None = None) -> TextPreprocess:
    """The tokenizer of a shipped backbone, a local folder or a model on the hub."""
    found = fetch_tokenizer(_folder(model), revision=revision, max_length=max_length)
    if max_length is None:
        found.limit(None)
    return found


def _fetch(model: str, revision: str | None, *, classifier: bool, **options: Any) -> tuple[nn.Module, list[str]]:
    from transformers import AutoConfig

    def kind() -> Any:
        config = AutoConfig.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
        return kind_of(config, classifier=classifier)

    files = "config.json, tokenizer.json and model.safetensors"
    net, report = fetch_pretrained(kind, model, revision, noun="text model", files=files, **options)
    other_shape = {entry[0] for entry in report["mismatched_keys"]}
    net = net if classifier else text_body(net)
    return net.eval(), sorted(other_shape.union(report["missing_keys"]))


def load_text_net(
    model: str,
    *,
    classifier: bool,
    num_classes: int | None = None,
    revision: str | None = None,
    max_length: int | None = None,
) -> TextNet:
    """A transformers network for texts with its tokenizer, on the CPU, in evaluation mode.

    Args:
        model: shipped name or .safetensors of a trained black box; shipped name of a backbone; local folder; hub id.
        classifier: with the head of a sequence classifier, or without.
        num_classes: C of a new head; by default that of the model's config.
        revision: on the hub.
        max_length: most tokens; by default the model's own limit, at most 8192.

    Raises:
        OSError: neither a folder nor a model that the hub gives.
        ValueError: no text model; weights that do not fit.
    """
    from transformers.utils import logging

    if is_text_weights(model):
        return _load_written(model, classifier=classifier, max_length=max_length)
    logging.disable_progress_bar()
    options: dict[str, Any] = {}
    if classifier and num_classes is not None:
        options = {"num_labels": num_classes, "ignore_mismatched_sizes": True}
    folder = _folder(model)
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # tensors that are missing are told by this function's callers
    try:
        net, missing = _fetch(folder, revision, classifier=classifier, **options)
    finally:
        logging.set_verbosity(before)
    config: Any = net.config
    preprocess = fetch_tokenizer(folder, revision=revision, max_length=max_length, embeddings=embeddings_of(net))
    preprocess.pair_types = (getattr(config, "type_vocab_size", 0) or 0) > 1
    settle(net, classifier=classifier, pad=preprocess.pad)
    longest = ask_positions(net, preprocess)
    if max_length is None:
        preprocess.limit(longest)
    elif longest is not None and max_length > longest:
        raise ValueError(f"Got max_length {max_length}, but {model!r} has only {longest} positions.")
    names = [str(name) for _, name in sorted((config.id2label or {}).items())]  # some begin at 1
    return TextNet(net, preprocess, names, missing, ask_reading(net, preprocess), plain_config(net))


def save_text_black_box(path: str | Path, net: nn.Module, meta: dict[str, Any]) -> None:
    """Writes what was trained of a text classifier, so that `load_text_net(path)` restores it upon its base.

    Args:
        path: file ending in .safetensors.
        net: the classifier; its trainable tensors are written, all of them where it has no LoRA.
        meta: base (shipped backbone, folder or hub id), lora_rank, class_names, max_length.
    """
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    tensors = {name: tensor for name, tensor in net.state_dict().items() if name in trained or not meta["lora_rank"]}
    save_weights(path, tensors, {"kind": "black_box", "modality": "text", **meta})


def _load_written(model: str, *, classifier: bool, max_length: int | None) -> TextNet:
    path = shipped_path(model) or Path(model)
    tensors, meta = load_weights(path)
    if (name := str(meta.get("base"))) not in manifest() and not Path(name).is_dir():
        # A file that is only to give weights does not choose what is fetched.
        raise ValueError(
            f"The weights of {model} stand on {name!r}, which is neither shipped nor a folder here: get it, such as by "
            f"`hf download {name} --local-dir {name}`, and try again."
        )
    with building(tensors, model):
        base = load_text_net(
            name, classifier=True, num_classes=len(meta["class_names"]), max_length=max_length or meta["max_length"]
        )
        net = add_lora(base.net, meta["lora_rank"]) if meta["lora_rank"] else base.net
    unknown = sorted(set(tensors) - set(net.state_dict()))
    lacking = sorted(name for name in base.missing if name not in tensors)
    if unknown or lacking:
        raise ValueError(
            f"The weights of {model} do not fit their base {meta['base']!r}: {len(unknown)} are unknown there, "
            f"{len(lacking)} are missing (first: {(unknown + lacking)[0]}). Give the base they were trained on."
        )
    try:
        net.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ValueError(f"The weights of {model} do not fit their base {meta['base']!r}: {error}") from error
    net = merge_lora(net).eval()
    config: Any = net.config
    config.id2label = dict(enumerate(meta["class_names"]))
    config.label2id = {name: index for index, name in enumerate(meta["class_names"])}
    net = net if classifier else text_body(net)
    return TextNet(
        net, base.preprocess, list(meta["class_names"]), [], ask_reading(net, base.preprocess), plain_config(net)
    )
