"""Whether a checkpoint is of the explainer that goes on with it."""

import logging
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl

from fex.black_box import BlackBox
from fex.checks import differences
from fex.storage.description import check_description

__all__ = ["description_of"]

log = logging.getLogger("lightning_modules")

_SAME = ("net", "modality", "grid", "class_names", "multi_label")


def description_of(
    checkpoint: Mapping[str, Any], own: Mapping[str, Any], black_box: BlackBox, trainer: pl.Trainer | None = None
) -> tuple[dict[str, Any], int, float]:
    """What a checkpoint says of its explainer, and the queries and seconds that its training has taken.

    Args:
        checkpoint: as it was read.
        own: description of the explainer that is to go on, see `fex.explainers.explainer_meta`.
        black_box: what is asked now.
        trainer: says whether training goes on, or the checkpoint is measured only; None is the former.

    Raises:
        ValueError: no checkpoint of an explainer, one of another explainer or for another black box, or a damaged one.
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
    _check_same_box(found, black_box.name, black_box.digest(), training=trainer is None or trainer.training)
    return found, queries, seconds


def _check_same_box(found: Mapping[str, Any], name: str, digest: str | None, *, training: bool) -> None:
    """Whether a checkpoint's black box is the one that is asked now: an explainer of two boxes explains neither.

    Args:
        found: the checkpoint's description.
        name: of the box that is asked now.
        digest: SHA-256 of its weights or file, None where it has none at hand.
        training: goes on with the checkpoint; otherwise it is measured only, and a warning is enough.

    Raises:
        ValueError: training goes on with a box of other weights. Where these are not known of both, names are compared,
            and a difference is a warning.
    """
    before, known = found.get("black_box"), found.get("black_box_sha256")
    if known and digest and known != digest:
        told = f"The checkpoint was trained for black box {before!r} with other weights than those of {name!r}"
        if training:
            raise ValueError(
                f"{told}: give the box that it was trained for, or start anew without --ckpt_path (the encoder's "
                "`weights` may be those of the new box)."
            )
        log.warning("%s: what is measured is not the box that it explains.", told)
    elif not (known and digest) and (known or before != name):
        log.warning(
            "The checkpoint was trained for black box %r; whether %r, which is asked now, is the same cannot be "
            "compared: its weights are not known. If it is another, start anew without --ckpt_path.", before, name,
        )  # fmt: skip
