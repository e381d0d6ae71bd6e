"""Token encoder of texts: any transformers encoder."""

from typing import Any

import torch
from torch import Tensor

from fex.lora import add_lora, merge_lora
from fex.nets.encoder import BaseEncoder, EncoderOutput
from fex.resources import manifest
from fex.text_backbone import build_text_net, load_text_net, plain_config
from fex.tokens import model_arguments

__all__ = ["TextEncoder"]


class TextEncoder(BaseEncoder):
    """A transformers network over token ids; its last hidden states are the tokens, the first is the pooled vector.

    It must read with the black box's own tokenizer.

    Args:
        model: shipped name (a backbone, or a trained black box), local folder, hub id, or .safetensors of a black box.
        config: a transformers config as plain data, instead of `model`; untrained, for weights to be loaded into.
        pad: id of the padding; only with `config`.
        separator: id that ends the first text of a pair, where there are token types; only with `config`.
        frozen: keep the backbone as it is.
        class_head: keep the model's own classifier, frozen, and start the class levels from it; for a model that
            classifies as the black box does.
        lora_rank: if positive, train rank-r updates of the linear layers instead of the backbone itself; the export
            then holds these alone, where the model is a shipped one (needs the `text` extra's `peft`).

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
        frozen: bool = False,
        class_head: bool = False,
        lora_rank: int = 0,
    ) -> None:
        if (model is None) == (config is None):
            raise ValueError(f"TextEncoder needs either `model` or `config`, got {model!r} and {config!r:.80}.")
        if config is None:
            assert model is not None
            found = load_text_net(model, classifier=class_head)
            if class_head and found.missing:
                raise ValueError(f"{model!r} is no trained classifier (it lacks {found.missing[0]}): no class_head.")
            net: Any = found.net
            config, pad, separator = plain_config(net), found.preprocess.pad, found.preprocess.separator
        else:
            net = build_text_net(config, classifier=class_head)
        options = {"frozen": frozen, "class_head": class_head, "lora_rank": lora_rank}
        init_args = {"config": config, "pad": pad, "separator": separator, **options}
        super().__init__(net.config.hidden_size, init_args, frozen=frozen)
        self.base = model if model in manifest() else None
        self.adapter_args = {"model": model, **options}
        self.class_head, self.pad, self.separator = class_head, pad, separator
        self.net = net
        if frozen or lora_rank:
            net.requires_grad_(requires_grad=False)
        if lora_rank:
            self.net = add_lora(net, lora_rank)
        else:
            self._freeze_unused()
        self.eval()

    def _freeze_unused(self) -> None:
        """Weights without gradient would stop DDP: the pooler, where no classifier stands on it, and the classifier."""
        for name, parameter in self.net.named_parameters():
            blocks = any(part.isdecimal() for part in name.split(".")) or "embeddings" in name
            if not blocks:
                parameter.requires_grad_(requires_grad=False)

    @staticmethod
    def is_adapter(name: str) -> bool:
        """Whether a tensor of an `ExplainerNet` was trained beside a backbone with LoRA."""
        return not name.startswith("encoder.net.") or ".lora_" in name

    def merge(self) -> None:
        """Adds trained updates to the weights, for explaining without their cost."""
        merge_lora(self.net)

    def forward(self, inputs: Tensor, grid: tuple[int, int] | None = None) -> EncoderOutput:  # noqa: ARG002
        """Ids (B, L), int64 -> float32 `EncoderOutput` with a token for each id."""
        arguments = model_arguments(inputs, self.pad, self.separator)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if self.class_head:
                output = self.net(input_ids=inputs, output_hidden_states=True, **arguments)
                return EncoderOutput(
                    output.hidden_states[-1].float(), output.hidden_states[-1][:, 0].float(), output.logits.float()
                )
            tokens = self.net(input_ids=inputs, **arguments).last_hidden_state.float()
        return EncoderOutput(tokens, tokens[:, 0])
