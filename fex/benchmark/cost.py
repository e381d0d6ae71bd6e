"""What a method costs before its first explanation, and when that has paid for itself."""

import math
from collections.abc import Mapping

__all__ = ["break_even", "training_cost"]


def training_cost(explainer: object, stated: Mapping[str, float] | None = None) -> dict[str, float] | None:
    """Queries and seconds that training took, or None where there was none or nobody noted it.

    Args:
        explainer: an amortized one knows it from its checkpoint (`meta["training"]`).
        stated: {"queries": ..., "seconds": ...} from the config, for those that do not.

    Raises:
        ValueError: another entry, or a number below 0.
    """
    meta = getattr(explainer, "meta", None)
    found = stated if stated is not None else (meta or {}).get("training") if isinstance(meta, dict) else None
    if not found:
        return None
    numbers = isinstance(found, Mapping) and all(
        isinstance(value, (int, float)) and value >= 0 for value in found.values()
    )
    if not numbers or set(found) - {"queries", "seconds"}:
        raise ValueError(f"Got training cost {found}, expected `queries` and `seconds`, both >= 0.")
    return {key: float(value) for key, value in found.items()}


def break_even(training: float, own: float, reference: float) -> int | None:
    """Smallest number of explanations whose cost, with training, is at most what the reference spends on as many.

    Args:
        training: cost of the training.
        own: cost of one explanation.
        reference: cost of one of the reference's.

    Returns:
        n >= 0 with training + n own <= n reference; None where it never pays.

    Example:
        >>> break_even(1000, own=0, reference=100)
        10
    """
    if training <= 0:
        return 0
    if reference <= own:
        return None
    return math.ceil(training / (reference - own) - 1e-9)
