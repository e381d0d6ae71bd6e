"""A network that compares pictures with texts (CLIP, SigLIP) as a black box: one prompt a class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fex.black_box.classes import chosen_names
from fex.black_box.colour import Colour
from fex.black_box.network import TorchBlackBox
from fex.black_box.transformers import check_size, fetch_network, image_processor, prepared_by
from fex.images.preprocess import Preprocess

__all__ = ["ZeroShotBlackBox"]


class ZeroShotBlackBox(TorchBlackBox):
    """A classifier made of prompts: a picture's logit of a class is its likeness to the class's prompt.

    The prompts are read once, as the box is built; a query runs the image part alone. Whether it gives the logits of
    the whole network is tried on one picture. Code that comes with a model is never run.

    Args:
        model: id on the hub, or a local folder as `save_pretrained` writes it, of a CLIP, a SigLIP or their like.
        prompts: one a class, such as "a photo of a cat".
        class_names: names of the classes; by default the prompts.
        revision: branch, tag or commit on the hub; None takes the newest.
        preprocess: geometry of the inputs; by default that of its preprocessor_config.json, as mean and std.
        mean: mean of the normalisation, RGB in [0, 1].
        std: standard deviation of the normalisation.
        multi_label: each prompt holds or not, whatever the others (sigmoid); None says so of SigLIP, which was trained
            for it. Otherwise a softmax shares one out among them.
        name: how errors and reports call it; by default the last part of `model`.
        **options: see `TorchBlackBox`: precision, channels_last, compile, chunk.

    Raises:
        OSError: neither a local folder nor a model that the hub gives.
        ValueError: fewer than two prompts of exclusive classes, the same twice, or one that is too long; no network
            that compares pictures with texts, or one that does so in another way.
    """

    def __init__(
        self,
        model: str,
        prompts: Sequence[str],
        class_names: Sequence[str] | None = None,
        revision: str | None = None,
        preprocess: Preprocess | None = None,
        mean: Colour | None = None,
        std: Colour | None = None,
        multi_label: bool | None = None,  # noqa: FBT001 a YAML key
        name: str | None = None,
        **options: Any,
    ) -> None:
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if len(prompts) < (1 if multi_label else 2) or len(set(prompts)) < len(prompts):
            raise ValueError(f"Got prompts {prompts}, expected two or more, each another: one a class.")
        net: Any = fetch_network(model, revision, "ZeroShotImageClassification")
        if not hasattr(net, "get_image_features") or not hasattr(net, "logit_scale"):
            raise ValueError(f"{model!r} ({type(net).__name__}) is no network that compares pictures with texts.")
        sigmoid = net.config.model_type.startswith("siglip")
        processor = None if None not in (preprocess, mean, std) else image_processor(model, revision)
        preprocess, mean, std = prepared_by(processor, net.config.vision_config, preprocess, mean, std, model)
        tokens = _tokens(model, revision, prompts, net.config.text_config.max_position_embeddings, full=sigmoid)
        net = net.eval().requires_grad_(requires_grad=False)
        likeness = _Likeness(net, tokens)
        check_size(likeness, net.config.vision_config, preprocess, model)
        _try(net, likeness, tokens, preprocess.size, model)
        super().__init__(
            likeness,
            class_names=chosen_names(class_names, prompts),
            num_classes=len(prompts),
            preprocess=preprocess,
            mean=mean,
            std=std,
            multi_label=sigmoid if multi_label is None else multi_label,
            name=name or Path(model).name,
            **options,
        )
        self.model, self.prompts = model, prompts


class _Likeness(nn.Module):
    """Normalised pictures (B, 3, H, W) -> logits (B, C): scale * cosine of the angle to each prompt (+ bias)."""

    def __init__(self, net: Any, tokens: dict[str, Tensor]) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():
            self.register_buffer("texts", _direction(net.get_text_features(**tokens)))

    def forward(self, pixels: Tensor) -> Tensor:
        cosine = _direction(self.net.get_image_features(pixel_values=pixels)) @ self.texts.T
        return cosine * self.net.logit_scale.exp() + getattr(self.net, "logit_bias", 0.0)


def _direction(features: Any) -> Tensor:
    """Features (B, E), which newer releases of transformers wrap in an object, at length 1."""
    features = features if isinstance(features, Tensor) else features.pooler_output
    return features / features.norm(dim=-1, keepdim=True)


def _tokens(model: str, revision: str | None, prompts: Sequence[str], longest: int, *, full: bool) -> dict[str, Tensor]:
    """Prompts as the network takes them; `full` pads them to its whole length, as SigLIP was trained.

    Raises:
        ValueError: no tokenizer; a prompt that is too long: its end would be cut off.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{model!r} has no tokenizer for its prompts ({str(error).splitlines()[0]}).") from error
    for prompt in prompts:
        if (count := len(tokenizer(prompt)["input_ids"])) > longest:
            raise ValueError(f"The prompt {prompt[:60]!r} has {count} tokens, {model!r} reads {longest}: shorten it.")
    padding: dict[str, Any] = {"padding": "max_length", "max_length": longest} if full else {"padding": True}
    found = tokenizer(list(prompts), return_tensors="pt", **padding)
    return {key: found[key] for key in (("input_ids",) if full else ("input_ids", "attention_mask")) if key in found}


@torch.no_grad()
def _try(net: Any, likeness: nn.Module, tokens: dict[str, Tensor], size: tuple[int, int], model: str) -> None:
    """Compares the logits of one picture with those of the whole network.

    Raises:
        ValueError: they differ.
    """
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    whole = net(pixel_values=pixels, **tokens).logits_per_image
    if whole.shape != (1, len(tokens["input_ids"])) or not torch.allclose(likeness(pixels), whole, 1e-3, 1e-3):
        raise ValueError(
            f"{model!r} ({type(net).__name__}) compares pictures with texts in a way that fex does not know: wrap it "
            "in a function that returns logits, CallableBlackBox."
        )
