"""The word `black_box` in the place of an encoder's model: the network of the black box, named once."""

from typing import Any

__all__ = ["WORD", "name_own_network"]

WORD = "black_box"
_NETWORK = ("model", "weights", "pretrained", "model_args", "mean", "std")


def name_own_network(model: Any) -> None:
    """Where the encoder's `model` is `black_box`, writes what the black box's own settings say of its network there.

    Args:
        model: `class_path` and `init_args` of the Lightning module, changed in place.

    Raises:
        ValueError: a black box whose settings name no network.
    """
    explainer = model.get("init_args", {}).get("explainer")
    encoder = ((explainer or {}).get("init_args") or {}).get("encoder")
    given = (encoder or {}).get("init_args") or {}
    if given.get("model") != WORD:
        return
    box = model["init_args"]["black_box"]
    known = box.get("init_args") or {}
    if not known.get("model"):
        raise ValueError(
            f"The encoder's model is {WORD!r}, the black box's own network, but {box.get('class_path')} has no `model` "
            "in its init_args: name the encoder's model itself."
        )
    for key in _NETWORK:
        if key in given and key in known:
            given[key] = known[key]
