"""How often an explainer's own class is its black box's: what to know where the box is not asked."""

from typing import Any, NamedTuple

__all__ = ["Agreement", "told_agreement"]


class Agreement(NamedTuple):
    """Of held-out inputs, the share in which the explainer's likeliest class is the black box's.

    Attributes:
        share: in [0, 1].
        inputs: how many were looked at, at least 1.
    """

    share: float
    inputs: int

    @classmethod
    def of(cls, found: Any) -> "Agreement | None":
        """From plain data of a checkpoint; None where it has none, or no such numbers."""
        share, inputs = (found.get("share"), found.get("inputs")) if isinstance(found, dict) else (None, None)
        if not isinstance(share, float | int) or not isinstance(inputs, int) or not (0 <= share <= 1 <= inputs):
            return None
        return cls(float(share), inputs)

    def __str__(self) -> str:
        return f"{self.share:.0%}".replace("%", " %")


def told_agreement(agreement: Agreement | None) -> str:
    """A clause for reports.

    Example:
        >>> told_agreement(Agreement(0.864, 1000))
        "its own class is the black box's in 86 % of 1,000 held-out inputs"
    """
    if agreement is None:
        return "how often its own class is the black box's was not measured"
    return f"its own class is the black box's in {agreement} of {agreement.inputs:,} held-out inputs"
