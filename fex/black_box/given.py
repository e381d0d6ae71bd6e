"""A network or a function at hand as a black box."""

import logging
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from fex.black_box.base import BlackBox
from fex.black_box.callable import CallableBlackBox
from fex.black_box.classes import chosen_names, names_of
from fex.black_box.network import TorchBlackBox
from fex.black_box.scores import SUMS, Outputs, check_outputs, columns, score_table
from fex.black_box.text_callable import TextCallableBlackBox
from fex.black_box.timm import preprocess_of_timm
from fex.images.preprocess import Preprocess, as_preprocess
from fex.keywords import called, check_keywords, keywords_of, made

__all__ = ["FromProbabilities", "box_of", "raw_scores"]

log = logging.getLogger(__name__)


class FromProbabilities(nn.Module):
    """A network that ends in a softmax (or sigmoids) as one of logits, which give the same probabilities back."""

    def __init__(self, network: nn.Module, *, multi_label: bool, num_classes: int = 0) -> None:
        super().__init__()
        self.network, self.multi_label, self.num_classes = network, multi_label, num_classes

    def forward(self, inputs: Tensor) -> Tensor:
        answer = self.network(inputs)
        scores = score_table(answer, rows=len(inputs), num_classes=self.num_classes, name=type(self.network).__name__)
        low, high = scores.detach().aminmax()
        sums = scores.detach().sum(1)
        exclusive = self.multi_label or scores.shape[1] == 1 or bool(((sums - 1).abs() <= SUMS).all())
        if low < -1e-3 or high > 1.001 or not exclusive:
            raise ValueError(
                f"The network was said to give probabilities, but gave values in [{float(low):.3g}, {float(high):.3g}] "
                "whose rows do not sum to 1: set outputs='logits', or multi_label=True."
            )
        tiny = torch.finfo(scores.dtype).tiny
        single = self.multi_label or scores.shape[1] == 1
        return scores.clamp(1e-7, 1 - 1e-7).logit() if single else scores.clamp_min(tiny).log()


def box_of(model: nn.Module | Callable[..., Any], /, **options: Any) -> BlackBox:
    """A box around a network or a function.

    Args:
        model: a network from normalised pictures (B, 3, H, W) to scores, or a function of pictures in [0, 1]; with
            `tokenizer`, a function of a list of texts.
        **options: settings of `TorchBlackBox`, `CallableBlackBox` or `TextCallableBlackBox`; `preprocess` may be a
            mapping. `outputs` of a network are "logits" unless it is said otherwise.

    Raises:
        TypeError: neither a network nor a function; a keyword that the box does not take.
        ValueError: settings that do not fit.
    """
    if options.get("preprocess") is not None:
        options["preprocess"] = as_preprocess(options["preprocess"])
    if "tokenizer" in options:
        if isinstance(model, nn.Module):
            raise ValueError("A network of texts goes in as its folder, or as a function of a list of texts.")
        return made(TextCallableBlackBox, model, **options)
    if isinstance(model, nn.Module):
        return _torch_box(model, **options)
    if not callable(model):
        raise TypeError(f"Got a {type(model).__name__}, expected a name, a path, a network or a function.")
    return made(CallableBlackBox, model, **options)


def _torch_box(net: nn.Module, /, *, outputs: Outputs = "logits", **options: Any) -> TorchBlackBox:
    keywords = keywords_of(TorchBlackBox)
    check_keywords(options, [*keywords, "outputs"], what=called(TorchBlackBox), taken=keywords[:1])
    check_outputs(outputs)
    known = _known(net)
    options = {**known, **options}
    if names := chosen_names(options.get("class_names"), known.get("class_names")):
        options["class_names"] = names
    guessed = [key for key in ("preprocess", "mean", "std") if options.get(key) is None]
    if guessed:
        log.warning(
            "Nothing was said of %s of %s: those of ImageNet (224 x 224 pixels, its mean and std) are taken. If it was "
            "trained otherwise, its answers are wrong: give them to load_black_box.",
            ", ".join(guessed), type(net).__name__,
        )  # fmt: skip
        options = {key: value for key, value in options.items() if key not in guessed}
    options.setdefault("name", type(net).__name__)
    if options.get("num_classes") is None:  # names are compared with it
        options["num_classes"] = _count(net, options.get("preprocess") or Preprocess(), options.get("channels", 3))
    if outputs == "probabilities":
        multi_label, count = bool(options.get("multi_label")), options["num_classes"]
        net = FromProbabilities(net, multi_label=multi_label, num_classes=count)
    return TorchBlackBox(net, **options)


def _known(net: Any) -> dict[str, Any]:
    """What a network of timm or transformers says of itself."""
    if getattr(net, "pretrained_cfg", None) and hasattr(net, "get_classifier"):
        data = timm.data.resolve_model_data_config(net)
        return {"preprocess": preprocess_of_timm(data), "mean": data["mean"], "std": data["std"]}
    labels = getattr(getattr(net, "config", None), "id2label", None)
    return {"class_names": names_of(labels, type(net).__name__)} if labels else {}


@torch.no_grad()
def _count(net: nn.Module, preprocess: Preprocess, channels: int) -> int:
    """How many scores it gives, by one pass."""
    first = next(net.parameters(), torch.zeros(1))
    mode = net.training
    try:
        answer = net.eval()(torch.zeros(1, channels, *preprocess.size, device=first.device, dtype=first.dtype))
    except Exception as error:  # the user's own network
        raise ValueError(
            f"{type(net).__name__} fails on a picture of {preprocess.size} pixels ({type(error).__name__}: {error}): "
            "set `preprocess` to the size that it takes."
        ) from error
    finally:
        net.train(mode)
    found = score_table(answer, rows=1, num_classes=0, name=type(net).__name__)
    if found.ndim != 2 or len(found) != 1:
        raise ValueError(
            f"{type(net).__name__} returned shape {tuple(found.shape)} for one picture (1, {channels}, "
            f"{preprocess.size[0]}, {preprocess.size[1]}), expected (1, C): one row an input and one column a class."
        )
    return found.shape[1]


@torch.no_grad()
def raw_scores(box: BlackBox, inputs: Tensor) -> Tensor:
    """What a box of `outputs: probabilities` got for inputs, (R, C), before anything is checked; counted as queries."""
    found = box._score(inputs.to(box.device, inputs.dtype))
    box.queries += len(inputs)
    return columns(found, len(inputs)).float().cpu()
