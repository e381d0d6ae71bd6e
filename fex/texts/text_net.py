"""Text networks of transformers: what kind, which body, its plain config."""

from typing import Any

from torch import nn

from fex.texts.network import settle

__all__ = ["kind_of", "build_text_net", "plain_config", "text_body"]


# Of a config: what would fetch or run code, and what names places of one machine.
_DROPPED = (
    "auto_map", "quantization_config", "_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype",
    "_attn_implementation", "attn_implementation", "_attn_implementation_internal", "_commit_hash",
)  # fmt: skip


def plain_config(net: Any) -> dict[str, Any]:
    """The config of a transformers network as plain data that builds it again, without files or code."""
    found = {key: value for key, value in net.config.to_dict().items() if key not in _DROPPED}
    if (found.get("pad_token_id") or 0) < 0:  # what `settle` says to classifiers
        found["pad_token_id"] = None
    return found


def build_text_net(config: dict[str, Any], *, classifier: bool) -> nn.Module:
    """The network of a `plain_config`, untrained.

    Raises:
        ValueError: a kind of network that this version of transformers does not know.
    """
    from transformers import AutoConfig

    given = {key: value for key, value in config.items() if key not in _DROPPED}
    built = AutoConfig.for_model(given.pop("model_type"), **given)
    net = kind_of(built, classifier=classifier).from_config(built, trust_remote_code=False)
    return settle(net if classifier else text_body(net), classifier=classifier)


def kind_of(config: Any, *, classifier: bool) -> Any:
    """The automatic class that builds a classifier, or what reads texts: of T5, the encoder alone."""
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTextEncoding
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    if classifier:
        return AutoModelForSequenceClassification
    found = MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), None)
    return AutoModelForTextEncoding if found is not None and found.__name__.endswith("EncoderModel") else AutoModel


def text_body(net: Any) -> Any:
    """What reads texts in a network: it without its classifier, and the encoder of an encoder-decoder such as BART."""
    body = net.base_model
    wrapped = hasattr(body, "decoder") and getattr(body.config, "is_encoder_decoder", False)
    return body.get_encoder() if wrapped or type(body).__name__.endswith("EncoderModel") else body
