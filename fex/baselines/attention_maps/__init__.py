"""Attention maps: transformers seen from inside, their attention, its gradients and its relevance.

A network's layers are read into plain data, which is run again under rules of relevance or rolled out.
Read `layers`, `read`, `rules`, `relevance`.
"""

from fex.baselines.attention_maps.layers import Head, Layer, LayerTape, Transformer, first_input, run_head, run_layer
from fex.baselines.attention_maps.read import read_transformer
from fex.baselines.attention_maps.relevance import attention_rollout, head_relevance, layer_relevance, relevance_rollout

__all__ = [
    "Head",
    "Layer",
    "LayerTape",
    "Transformer",
    "attention_rollout",
    "first_input",
    "head_relevance",
    "layer_relevance",
    "read_transformer",
    "relevance_rollout",
    "run_head",
    "run_layer",
]
