"""Token encoder of texts: any transformers encoder."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fex.nets.encoder import BaseEncoder, EncoderOutput, freeze_unused
from fex.storage.resources import manifest
from fex.texts.backbone import load_text_net
from fex.texts.lora import add_lora, check_lora, merge_lora
from fex.texts.network import NetworkReading, Pool, embeddings_of, hidden_of
from fex.texts.text_net import build_text_net, text_body

__all__ = ["TextEncoder"]


class TextEncoder(BaseEncoder):
    """A transformers network over token ids; its last hidden states are the tokens.

    The pooled vector is the first of them where that has seen the whole text; of a decoder, the last of the text. Of
    an encoder-decoder the encoder is taken. It must read with the black box's own tokenizer.

    Args:
        model: shipped name (a backbone, or a trained black box), local folder, hub id, or .safetensors of a black box.
        config: a transformers config as plain data, instead of `model`; untrained, for weights to be loaded into.
        pad: id of the padding; only with `config`.
        separator: id that ends the first text of a pair, where there are token types; only with `config`.
        padded: texts of different lengths may share a pass (`NetworkReading`); only with `config`.
        pool: where the pooled vector is read (`NetworkReading`); only with `config`.
        frozen: keep the backbone as it is.
        class_head: keep the model's own classifier, frozen, and start the class levels from it; for a model that
            classifies as the black box does.
        lora_rank: if positive, train rank-r updates of the linear layers instead of the backbone itself; the export
            then holds these alone, where the model is a shipped one (needs the `text` extra's `peft`).
        lora_alpha: scale of the updates, (lora_alpha / lora_rank) B A; None is twice the rank.
        lora_dropout: share of what the updates read that is dropped while training, the same for a whole step.

    Raises:
        ValueError: neither or both of model and config; no text model.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        config: dict[str, Any] | None = None,
        pad: int = 0,
        separator: int | None = None,
        padded: bool = True,
        pool: Pool = "first",
        frozen: bool = False,
        class_head: bool = False,
        lora_rank: int = 0,
        lora_alpha: float | None = None,
        lora_dropout: float = 0.0,
    ) -> None:
        if (model is None) == (config is None):
            raise ValueError(f"TextEncoder needs either `model` or `config`, got {model!r} and {config!r:.80}.")
        if config is None:
            assert model is not None
            found = load_text_net(model, classifier=class_head)
            if class_head and found.missing:
                raise ValueError(f"{model!r} is no trained classifier (it lacks {found.missing[0]}): no class_head.")
            net: Any = found.net
            config, reading = found.config, found.reading
        else:
            net = build_text_net(config, classifier=class_head)
            reading = NetworkReading(pad, separator, padded, pool)
        lora = check_lora(lora_rank, lora_alpha, lora_dropout)
        options = {"frozen": frozen, "class_head": class_head, "lora_rank": lora_rank, **lora}
        init_args = {"config": config, **asdict(reading), **options}
        super().__init__(_tokens(net.eval(), reading).shape[-1], init_args, frozen=frozen)
        self.base = model if model in manifest() else None
        self.adapter_args = {"model": model, **options}
        self.class_head, self.reading = class_head, reading
        self.net = net
        self.eval()
        if frozen or lora_rank:
            net.requires_grad_(requires_grad=False)
        else:
            # DDP refuses weights without gradient, such as a pooler that nothing reads; a classifier stays as it is.
            freeze_unused(net, lambda: _tokens(net, reading).square().sum())
        if lora_rank:
            self.net = add_lora(net, lora_rank, lora_alpha, lora_dropout)

    def merge(self) -> None:
        """Adds trained updates to the weights, for explaining without their cost."""
        merge_lora(self.net)

    def forward(self, inputs: Tensor, grid: tuple[int, int] | None = None) -> EncoderOutput:  # noqa: ARG002
        """Ids (B, L), int64 -> float32 `EncoderOutput` with a token for each id."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.reading.padded:
                return self._part(inputs)
            groups = self.reading.groups(inputs)
            parts = [self._part(self.reading.cut(inputs[rows])) for rows in groups]
        back = torch.cat(groups).argsort()
        wide = [F.pad(part.tokens, (0, 0, 0, inputs.shape[1] - part.tokens.shape[1])) for part in parts]
        classes = [part.classes for part in parts if part.classes is not None]
        return EncoderOutput(
            torch.cat(wide)[back],
            torch.cat([part.pooled for part in parts])[back],
            torch.cat(classes)[back] if classes else None,
        )

    def _part(self, inputs: Tensor) -> EncoderOutput:
        """Ids (B, L) that share a pass."""
        given = {"output_hidden_states": True} if self.class_head else {}
        output = self.net(**self.reading.arguments(self.net, inputs), **given)
        tokens = hidden_of(output).float()
        classes = output.logits.float() if self.class_head else None
        return EncoderOutput(tokens, self.reading.pooled(tokens, inputs), classes)


def _tokens(net: Any, reading: NetworkReading) -> Tensor:
    """Hidden states (1, L, D) of a few ids, by what reads texts in the network, without its classifier."""
    body = text_body(net)
    ids = torch.arange(min(4, embeddings_of(net))).flip(0)[None]
    return hidden_of(body(**reading.arguments(body, ids)))
