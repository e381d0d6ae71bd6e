"""One explained instance: its explanation and its scores."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from fex.benchmark.attribute import attributions
from fex.explanations import Explanation
from fex.images import PatchGrid, Removal
from fex.metrics.deletion_protocols import RegionDeletion
from fex.metrics.model_randomisation import ModelRandomisation
from fex.metrics.protocols import Attributed, Protocol, get_protocol
from fex.types import Batch

__all__ = ["instance_explanation", "instance_protocol", "instance_scores"]


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


def instance_explanation(
    explainer: Any, name: str, image: Tensor, attribution: Tensor, target: Tensor, clean: Tensor, **facts: Any
) -> Explanation:
    """What is kept of one instance.

    Args:
        explainer: a per-instance explainer.
        name: of the instance.
        image: (3, H, W).
        attribution: its map (H, W).
        target: its explained class, a scalar.
        clean: the box's probabilities (C,).
        **facts: further fields of `Explanation`.
    """
    size = (image.shape[-2], image.shape[-1])
    return Explanation(
        attribution=attribution.flatten(),
        features=PatchGrid(*size),
        size=size,
        target=int(target),
        target_name=explainer.black_box.class_names[int(target)],
        probability=float(clean[target]),
        probability_of="black box",
        method=type(explainer).__name__,
        removal=explainer.removal.name,
        black_box=explainer.black_box.name,
        source=name,
        image=image,
        **facts,
    )
