"""Scores of one explained instance."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from fex.benchmark.attribute import attributions
from fex.images import PatchGrid, Removal
from fex.metrics.deletion_protocols import RegionDeletion
from fex.metrics.model_randomisation import ModelRandomisation
from fex.metrics.protocols import Attributed, Protocol, get_protocol
from fex.types import Batch

__all__ = ["instance_protocol", "instance_scores"]


def instance_protocol(name: str, removal: Removal) -> Protocol:
    """A protocol by name, as runs over instances use it.

    Raises:
        ValueError: no such protocol, or one that explains black boxes with other weights.
    """
    protocol = get_protocol(name)
    if isinstance(protocol, ModelRandomisation):
        raise ValueError(f"Protocol {name!r} makes explainers of other black boxes: run it by `fex-bench run`.")
    # A name with a fill says which; "dax" is with that of the perturbations (DAX, section IV).
    return replace(protocol, removal=removal) if isinstance(protocol, RegionDeletion) and "/" not in name else protocol


def instance_scores(
    explainer: Any,
    protocols: Sequence[Protocol],
    batch: Batch,
    row: int,
    inputs: Tensor,
    clean: Tensor,
    target: Tensor,
    attribution: Tensor,
) -> dict[str, Any]:
    """Components of every protocol for one instance. Masks are read here, after its explanation is finished.

    Args:
        explainer: has the black box that is asked.
        protocols: what scores the instance.
        batch: has its label, mask and ignored pixels, where the data has them.
        row: its place there.
        inputs: the instance (1, 3, H, W).
        clean: the box's probabilities (1, C).
        target: its explained class (1,).
        attribution: its map (H, W).
    """
    if not protocols:
        return {}
    grid = PatchGrid(inputs.shape[-2], inputs.shape[-1])
    labels, masks, ignored = (
        None if (found := batch.get(key)) is None else found[row : row + 1] for key in ("labels", "masks", "ignored")
    )
    data = Attributed(
        inputs,
        attribution.flatten()[None],
        attribution[None],
        grid,
        clean,
        labels,
        masks,
        explain=partial(attributions, explainer, features=grid),
        target=target,
        ignored=ignored,
    )
    return {
        f"{protocol.name}/{name}": values.cpu().float().numpy()
        for protocol in protocols
        for name, values in protocol.evaluate(explainer.black_box, data).items()
    }
