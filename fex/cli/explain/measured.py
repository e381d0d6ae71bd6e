"""What a run of `fex-explain` was told about the fidelity of its maps."""

from dataclasses import asdict, dataclass, field
from typing import Any

from fex.cli.explain.arguments import MOST_WORST
from fex.refine.fidelity import FEWEST

__all__ = ["Measured"]

SHOWN = 3
WIDE = 0.5  # of fidelity, whose best is 1


@dataclass
class Measured:
    """Counts, and the least faithful maps.

    Attributes:
        maps: inputs whose fidelity is known.
        unknown: inputs that were asked about in vain: all answers alike.
        few: inputs about which fewer queries were asked than tell anything.
        poor: maps that surely foretell less than the number of removed features does: the interval ends below 0.
        doubtful: maps of which that cannot be told: the interval holds 0.
        wide: maps whose interval is wider than `WIDE`.
        queries: the fewest that a map was measured by.
        least: the least faithful, name and value, low, high, queries.
    """

    maps: int = 0
    unknown: int = 0
    few: int = 0
    poor: int = 0
    doubtful: int = 0
    wide: int = 0
    queries: int = 0
    least: list[tuple[str, list[float]]] = field(default_factory=list)

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> "Measured":
        """From `to_dict`."""
        return cls(**(data or {}))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def add(self, name: str, fidelity: list[float] | str | None) -> None:
        """Counts one input, by what `least_fidelity` says of it."""
        if fidelity is None:
            return
        if isinstance(fidelity, str):
            self.few += fidelity == "few"
            self.unknown += fidelity != "few"
            return
        _, low, high, queries = fidelity
        self.queries = min(self.queries or int(queries), int(queries))
        self.maps += 1
        self.poor += high < 0
        self.doubtful += low <= 0 <= high
        self.wide += high - low > WIDE
        self.least = sorted([*self.least, (name, fidelity)], key=lambda each: each[1][0])[:MOST_WORST]

    def told(self, table: str = "explanations.csv") -> str:
        """Lines for the terminal; `table` is where all of them are listed."""
        text = ""
        if self.maps:
            named = ", ".join(
                f"{name} {value:.2f} [{low:.2f}, {high:.2f}]" for name, (value, low, high, _) in self.least[:SHOWN]
            )
            text += (
                f"\nfidelity of {self.maps:,} maps, by {self.queries:,} queries each or more, with 95 % intervals; the "
                f"least faithful: {named} (all in {table})"
            )
        if self.poor:
            text += f"\nmaps that foretell less than the number of removed features does: {self.poor:,}"
        if self.doubtful:
            text += f"\nmaps that may foretell no more than that number does (the interval holds 0): {self.doubtful:,}"
        if 2 * self.wide > self.maps:
            text += f"\nso few queries tell it roughly: {4 * self.queries:,} halve the intervals"
        if self.unknown:
            text += f"\nmaps whose fidelity is unknown, since the answers hardly differ: {self.unknown:,}"
        if self.few:
            text += f"\nmaps whose fidelity is unknown, since it takes {FEWEST} queries at least: {self.few:,}"
        return text
