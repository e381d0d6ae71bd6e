"""What a run of `fex-explain` did."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fex.cli.explain.measured import Measured

__all__ = ["PictureSummary", "TextSummary"]

NAMED = 3  # of the inputs that were skipped
OF_THE_PROCESS = (
    "seconds",
    "output",
    "note",
    "kept_in",
    "gallery",
    "worst",
)  # all else a stopped run and the one that goes on share


S = TypeVar("S", bound="_Summary")


@dataclass(kw_only=True)
class _Summary:
    """What a run did.

    Attributes:
        explained: inputs with results.
        skipped: inputs that could not be read, or whose results could not be drawn.
        named: the first few of them, with reasons.
        seconds: wall time after loading.
        output: folder of the results; None where there is none.
        flat: maps whose values hardly differ.
        note: what to know of the classes.
        done: inputs that an earlier run had finished.
        measured: what was asked about the maps, and how faithful they are.
        worst: page of the least faithful, where it was asked for.
        kept_in: where skipped, flat and measured ones are listed, instead of skipped.csv and explanations.csv.
    """

    explained: int = 0
    skipped: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    output: Path | None = None
    flat: int = 0
    note: str = ""
    done: int = 0
    measured: Measured = field(default_factory=Measured)
    kept_in: str = ""
    worst: Path | None = None

    def count(self, name: str, skipped: str | None, flat: int = 0) -> None:
        """Counts one input: explained, with so many flat maps, or skipped for a reason."""
        if skipped is None:
            self.explained += 1
            self.flat += flat
            return
        self.skipped += 1
        if len(self.named) < NAMED:
            self.named.append((name, skipped))

    def counts(self) -> dict[str, Any]:
        """Plain data of a run that has ended, for `ended`."""
        kept = {name: value for name, value in vars(self).items() if name not in OF_THE_PROCESS}
        return {**kept, "done": self.explained + self.skipped, "measured": self.measured.to_dict()}

    def ended(self: S, counts: Mapping[str, Any]) -> S:
        """The summary of a run that had ended before: what `counts` gave."""
        return replace(self, **{**counts, "measured": Measured.of(counts.get("measured"))})

    def _explained(self, unit: str) -> str:
        new = self.explained + self.skipped - self.done
        text = f"explained {self.explained:,} {unit if self.explained == 1 else unit + 's'}"
        if self.done:
            text += f" ({self.done:,} of all were finished before)"
        if new and self.explained:
            rate = new / self.seconds if self.seconds else 0.0
            text += f" in {self.seconds:.1f} s ({rate:.1f} {unit}s/s)"
        return text

    @property
    def _skipped_in(self) -> str:
        return self.kept_in or str((self.output or Path()) / "skipped.csv")

    @property
    def _table(self) -> str:
        return self.kept_in or "explanations.csv"

    @property
    def _reasons(self) -> str:
        return "".join(f"\n  {name}: {reason}" for name, reason in self.named)

    @property
    def _end(self) -> str:
        note = f"\n{self.note}" if self.note else ""
        worst = f"\nthe least faithful: {self.worst}" if self.worst else ""
        results = "" if self.output is None else f"\nresults: {self.output}"
        return self.measured.told(self._table) + note + results + worst


@dataclass(kw_only=True)
class PictureSummary(_Summary):
    """Of pictures.

    Attributes:
        gallery: whether the run makes one.
    """

    gallery: bool = True

    def __str__(self) -> str:
        text = self._explained("image")
        if self.skipped:
            text += f", skipped {self.skipped:,} (all in {self._skipped_in}):{self._reasons}"
        if self.flat:
            text += f"\nmaps that are nearly flat and say little: {self.flat:,} (`flat` in {self._table})"
        gallery = (self.output or Path()) / "gallery.html"
        return text + self._end + (f"\ngallery: {gallery}" if self.gallery and gallery.is_file() else "")


@dataclass(kw_only=True)
class TextSummary(_Summary):
    """Of texts.

    Attributes:
        truncated: texts that were cut off.
        tokens_cut: tokens that were left out in them.
    """

    truncated: int = 0
    tokens_cut: int = 0

    def __str__(self) -> str:
        text = self._explained("text")
        if self.flat:
            text += f"\nmaps that are nearly flat and say little: {self.flat:,}"
        if self.truncated:
            text += (
                f"\nlonger than the explainer reads: {self.truncated:,}, whose last {self.tokens_cut:,} tokens were "
                "cut off (--window explains them whole)"
            )
        if self.skipped:
            where = "" if self.output is None else f" (all in {self._skipped_in})"
            text += f"\nskipped {self.skipped:,} that could not be explained{where}:{self._reasons}"
        return text + self._end

    def count(self, name: str, skipped: str | None, flat: int = 0, cut: int = 0) -> None:
        """As there; `cut` tokens were left out."""
        super().count(name, skipped, flat)
        self.truncated += cut > 0
        self.tokens_cut += cut
