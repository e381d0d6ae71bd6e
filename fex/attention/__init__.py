"""Transformers seen from inside: attention maps, their gradients and their relevance."""

from fex.attention.layers import Head, Layer, Transformer
from fex.attention.read import read_transformer
from fex.attention.relevance import attention_rollout, relevance_rollout

__all__ = ["Head", "Layer", "Transformer", "attention_rollout", "read_transformer", "relevance_rollout"]
