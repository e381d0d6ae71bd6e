"""Networks of the transformers library, from a local folder or the hub: code that comes with them is never run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = ["fetch_pretrained"]


def fetch_pretrained(
    kind: Callable[[], Any], model: str, revision: str | None = None, *, noun: str, files: str, hint: str = "",
    **options: Any,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """A network in float32, on the CPU, and what was missing in its file, as `from_pretrained` tells it.

    Args:
        kind: gives the class of transformers, such as AutoModelForImageClassification.
        model: local folder as `save_pretrained` writes it, or hub id.
        revision: on the hub.
        noun: what is expected, for errors.
        files: what its folder holds, for errors.
        hint: what to do about another kind of network.
        **options: of `from_pretrained`.

    Raises:
        OSError: neither a folder nor a model that the hub gives.
        ValueError: no such network, or weights of other shapes than its config says.
    """
    own_head = options.pop("ignore_mismatched_sizes", False)  # the caller has one made that the file has not
    try:
        if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
            raise OSError("it has no config.json")  # some releases of transformers guess by the folder's name
        net, report = kind().from_pretrained(
            model,
            revision=revision or "main",
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,  # by default that of the file: fp16 trains to NaN, and answers otherwise
            ignore_mismatched_sizes=True,  # told below, with both shapes
            **options,
        )
    except OSError as error:
        if Path(model).is_dir():
            raise OSError(
                f"{model} is no folder of a transformers model ({error}): expected {files}, as `save_pretrained` "
                "writes them."
            ) from error
        raise OSError(
            f"Could not get {model!r} from the hub ({error}). Without a network, give a local folder with {files}."
        ) from error
    except (ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{model!r} is no {noun} that transformers can build ({first}).{hint}") from error
    if not own_head and (
        unfit := sorted(report["mismatched_keys"])
    ):  # transformers has filled them with random numbers
        name, *shapes = (unfit[0],) if isinstance(unfit[0], str) else unfit[0]  # older releases tell no shapes
        there, here = map(tuple, shapes) if shapes else ("another shape", "its own")
        raise ValueError(
            f"The weights of {model!r} do not fit its config.json: {name} has shape {there}, the config makes "
            f"{here}. Mend the config (of a head, `id2label` has an entry for each class), or give the weights that "
            "belong to it."
        )
    return net, report
