"""Image networks of the transformers library: from a folder or the hub, or built again from plain data."""

from typing import Any

from torch import nn

from fex.storage.pretrained import fetch_pretrained

__all__ = ["build_vision_net", "head_of", "load_vision_net"]


def load_vision_net(model: str, *, classifier: bool) -> nn.Module:
    """The classifier of a folder or a hub id, on the CPU, in float32; code that comes with it is never run.

    Args:
        model: local folder as `save_pretrained` writes it, or hub id.
        classifier: its head is needed too, and must be trained.

    Raises:
        OSError: neither a folder nor a model that the hub gives.
        ValueError: no image network; weights that lack some of its tensors.
    """
    from transformers import AutoModelForImageClassification  # here: the import takes seconds
    from transformers.utils import logging

    logging.disable_progress_bar()
    files = "config.json and model.safetensors"
    net, report = fetch_pretrained(lambda: AutoModelForImageClassification, model, noun="image network", files=files)
    prefix = f"{net.base_model_prefix}."
    missing = sorted(name for name in report["missing_keys"] if classifier or name.startswith(prefix))
    if missing:  # transformers would fill them with random numbers, and only warn
        raise ValueError(
            f"The weights of {model!r} lack {len(missing)} tensors (first: {missing[0]}): it is untrained."
        )
    return settled(net)


def build_vision_net(config: dict[str, Any]) -> nn.Module:
    """The untrained classifier of a `plain_config`.

    Raises:
        ValueError: a kind of network that this version of transformers does not know.
    """
    from transformers import AutoConfig, AutoModelForImageClassification

    given = dict(config)
    built = AutoConfig.for_model(given.pop("model_type"), **given)
    return settled(AutoModelForImageClassification.from_config(built, trust_remote_code=False))


def settled(net: Any) -> nn.Module:
    """In evaluation mode; some networks read their own parts' answers by name."""
    net.config.return_dict = True
    return net.eval()


def head_of(net: nn.Module) -> nn.Linear | None:
    """The linear layer that ends a classifier, alone or after layers without weights; None where it ends otherwise."""
    head = getattr(net, "classifier", None)
    layers = [part for part in head.modules() if isinstance(part, nn.Linear)] if isinstance(head, nn.Module) else []
    own = sum(parameter.numel() for parameter in head.parameters()) if layers else 0
    alone = len(layers) == 1 and own == sum(parameter.numel() for parameter in layers[0].parameters())
    return layers[0] if alone else None
