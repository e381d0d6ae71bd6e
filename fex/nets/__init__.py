"""Networks: the explainer and its encoders.

`encoder` says what an encoder gives, `backbones`, `vit`, `pyramid`, `unet`, `conv`, `transformers` and `text` are those
there are; `explainer` puts heads on one: a logit a feature and class, and a value. `class_maps` starts it from a
classifier's own evidence, `shapley` is FastSHAP's. Read them in this order.
"""

from typing import Any

from fex.modality import Features, modality_of
from fex.nets.class_maps import ClassMapNet, Encoded, encoder_path
from fex.nets.contexts import logits_in_contexts
from fex.nets.conv import ConvEncoder
from fex.nets.encoder import BaseEncoder, Encoder, EncoderOutput
from fex.nets.explainer import ExplainerNet
from fex.nets.pyramid import PyramidEncoder
from fex.nets.shapley import ShapleyNet
from fex.nets.text import TextEncoder
from fex.nets.transformers import TransformersEncoder
from fex.nets.unet import UNetEncoder
from fex.nets.vit import ViTEncoder
from fex.storage.resources import manifest

__all__ = [
    "BaseEncoder",
    "ClassMapNet",
    "ConvEncoder",
    "Encoded",
    "Encoder",
    "EncoderOutput",
    "ExplainerNet",
    "PyramidEncoder",
    "ShapleyNet",
    "TextEncoder",
    "TransformersEncoder",
    "UNetEncoder",
    "ViTEncoder",
    "logits_in_contexts",
    "rebuild",
]

# A checkpoint may name these, and the encoders of a modality that the user imported, and nothing else: importing what a
# file asks for would be running its code.
_NETS = {f"fex.nets.{cls.__name__}": cls for cls in (ExplainerNet, ShapleyNet)}
_ENCODERS = {
    f"fex.nets.{cls.__name__}": cls
    for cls in (ConvEncoder, ViTEncoder, PyramidEncoder, UNetEncoder, TextEncoder, TransformersEncoder)
}


def rebuild(config: dict[str, Any], num_classes: int, features: Features, *, multi_label: bool = False) -> ClassMapNet:
    """The network that `ClassMapNet.init_args` described, untrained; the other arguments as of `build`.

    Raises:
        ValueError: a network or an encoder that is none of this project's.
    """
    config = dict(config)
    name = config.pop("class_path", "fex.nets.ExplainerNet")
    if name not in _NETS:
        raise ValueError(
            f"The checkpoint names the network {name!r}, expected one of {sorted(_NETS)}: it was not written by this "
            "version of fex."
        )
    net = _NETS[name]
    encoder = config.pop("encoder")
    known = {**_ENCODERS, **{encoder_path(each): each for each in modality_of(features.modality).encoders}}
    kind = known.get(encoder["class_path"])
    if kind is None:
        raise ValueError(
            f"The checkpoint names the encoder {encoder['class_path']!r}, expected one of {sorted(known)}: it was "
            "not written by this version of fex."
        )
    arguments = encoder["init_args"]
    name = str(arguments.get("model", arguments.get("backbone", "")))
    fetching = sorted({"pretrained", "weights"} & set(arguments))
    # Adapters of a text encoder stand on weights that come with this package (or one it names), checked by sha256.
    foreign = kind in (TextEncoder, TransformersEncoder) and name != "" and name not in manifest()
    if fetching or ":" in name or "/" in name or foreign:
        raise ValueError(
            f"The checkpoint asks for files or downloads (model {name!r}, {fetching}), expected the name of an "
            "architecture alone: it was not written by fex."
        )
    return net(kind(**arguments), **config).build(num_classes, features, multi_label=multi_label)
