"""Whether a checkpoint is of the explainer that goes on with it."""

from collections.abc import Mapping
from typing import Any

from fex.checks import differences
from fex.storage.description import check_description

__all__ = ["description_of"]

_SAME = ("net", "modality", "grid", "class_names", "multi_label")


def description_of(checkpoint: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[dict[str, Any], int, float]:
    """What a checkpoint says of its explainer, and the queries and seconds that its training has taken.

    Args:
        checkpoint: as it was read.
        own: description of the explainer that is to go on, see `fex.explainers.explainer_meta`.

    Raises:
        ValueError: no checkpoint of an explainer, one of another explainer, or a damaged one.
    """
    found = checkpoint.get("fex")
    if found is None:
        raise ValueError("This checkpoint is no FEX checkpoint (it has no `fex` entry): give one of the same run.")
    # Older checkpoints are all of images, and all of them learnt exclusive classes.
    found = {"modality": "image", "multi_label": False, **check_description(found, "the checkpoint")}
    unlike = [line for key in _SAME for line in differences(key, found.get(key), own[key])]
    if unlike:
        raise ValueError(f"The checkpoint is of another explainer: {'; '.join(unlike)}. They must agree.")
    queries, seconds = checkpoint.get("fex_queries"), found.get("training", {}).get("seconds", 0.0)
    if type(queries) is not int or type(seconds) not in (int, float):
        raise ValueError(f"The checkpoint counts {queries!r} queries in {seconds!r} seconds: it is damaged.")
    return found, queries, seconds
