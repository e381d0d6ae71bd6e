"""What a run of `fex-explain` was told about the fidelity of its maps."""

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Measured"]

SHOWN = 3


@dataclass
class Measured:
    """Counts, and the least faithful maps.

    Attributes:
        maps: inputs whose fidelity is known.
        unknown: inputs that were asked about in vain: all answers alike.
        poor: maps that foretell no more than the number of removed features does.
        least: the least faithful, name and fidelity.
    """

    maps: int = 0
    unknown: int = 0
    poor: int = 0
    least: list[tuple[str, float]] = field(default_factory=list)

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> "Measured":
        """From `to_dict`."""
        return cls(**(data or {}))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def add(self, name: str, fidelity: float | str | None) -> None:
        """Counts one input: the fidelity of its map (its first class), "unknown", or None where nobody has asked."""
        if fidelity is None:
            return
        if isinstance(fidelity, str):
            self.unknown += 1
            return
        self.maps += 1
        self.poor += fidelity <= 0
        self.least = sorted([*self.least, (name, fidelity)], key=lambda each: each[1])[:SHOWN]

    def __str__(self) -> str:
        text = ""
        if self.maps:
            named = ", ".join(f"{name} {value:.2f}" for name, value in self.least)
            text += f"\nfidelity measured of {self.maps:,} maps; the least faithful: {named} (all in explanations.csv)"
        if self.poor:
            text += f"\nmaps that foretell no more than the number of removed features does: {self.poor:,}"
        if self.unknown:
            text += f"\nmaps whose fidelity is unknown, since the answers hardly differ: {self.unknown:,}"
        return text
