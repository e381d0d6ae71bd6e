"""One run of an explainer, as protocols need it: scores of the features and maps of the pixels."""

import torch
from torch import Tensor

from fex.class_names import Target
from fex.modality import Features
from fex.types import Explainer

__all__ = ["attributions"]


def attributions(
    explainer: Explainer, inputs: Tensor, target: Target | None, features: Features
) -> tuple[Tensor, Tensor]:
    """Scores (B, N) of `features` and maps (B, H, W) of pixels or (B, L) of tokens, by one run of the explainer.

    An explainer that scores features of its own (`attribute_features`) is taken at its word: its scores where the
    grids agree, pooled from its patches where not; its map is bilinear, or its own where it has one that is finer or
    coarser than the features (`features_and_maps`). One of pixels gives its map; its scores are means over patches.

    Raises:
        ValueError: a result that is no tensor, of another shape, or not finite: some protocols would drop such an
            instance, others rank it.
    """
    scores, maps = _run(explainer, inputs, target, features)
    bad = ~(scores.isfinite().flatten(1).all(1) & maps.isfinite().flatten(1).all(1))
    if bool(bad.any()):
        name = type(explainer).__name__
        raise ValueError(f"Attributions of {name} are NaN or infinite in {int(bad.sum())} of {len(bad)} instances.")
    return scores, maps


def _run(explainer: Explainer, inputs: Tensor, target: Target | None, features: Features) -> tuple[Tensor, Tensor]:
    own = getattr(explainer, "features", None)
    if own is not None and hasattr(explainer, "features_and_maps"):
        values, maps = (each.detach().float() for each in explainer.features_and_maps(inputs, target))
        return values if own == features else features.pool(maps), maps
    if own is not None and hasattr(explainer, "attribute_features"):
        values = explainer.attribute_features(inputs, target).detach().float()
        scores = values if own == features else features.pool(own.on_inputs(values, inputs))
        return scores, own.maps(values, inputs)
    found = explainer.attribute(inputs, target)
    if not isinstance(found, torch.Tensor):
        raise ValueError(
            f"{type(explainer).__name__}.attribute returned {type(found).__name__}, expected a tensor: of an array, "
            "torch.from_numpy(array)."
        )
    maps = found.detach().float()
    size = (len(inputs), *(inputs.shape[1:] if inputs.ndim == 2 else inputs.shape[-2:]))
    if maps.shape != size:
        raise ValueError(
            f"{type(explainer).__name__}.attribute returned shape {tuple(maps.shape)}, expected {size}: one value a "
            "pixel, token or column."
        )
    return features.pool(maps), maps
