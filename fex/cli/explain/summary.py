"""What a run of `fex-explain` on pictures did."""

from dataclasses import dataclass, field
from pathlib import Path

from fex.cli.explain.measured import Measured

__all__ = ["Summary"]


@dataclass
class Summary:
    """What a run did.

    Attributes:
        explained: images with results.
        skipped: images that could not be read, or whose results could not be drawn.
        named: the first few of them, with reasons.
        seconds: wall time after loading.
        output: folder of the results.
        flat: maps whose values hardly differ.
        note: what to know of the classes.
        done: images that an earlier run had finished.
        measured: what was asked about the maps, and how faithful they are.
        kept_in: where skipped and flat ones are listed, instead of skipped.csv and explanations.csv.
    """

    explained: int = 0
    skipped: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    output: Path = Path()
    flat: int = 0
    note: str = ""
    done: int = 0
    measured: Measured = field(default_factory=Measured)
    kept_in: str = ""

    def __str__(self) -> str:
        new = self.explained + self.skipped - self.done
        rate = new / self.seconds if self.seconds else 0.0
        unit = "image" if self.explained == 1 else "images"
        text = f"explained {self.explained:,} {unit}"
        if self.done:
            text += f" ({self.done:,} of all were finished before)"
        if self.explained and new:
            text += f" in {self.seconds:.1f} s ({rate:.1f} images/s)"
        if self.skipped:
            text += f", skipped {self.skipped:,} (all in {self.kept_in or self.output / 'skipped.csv'}):"
            text += "".join(f"\n  {name}: {reason}" for name, reason in self.named)
        if self.flat:
            table = self.kept_in or "explanations.csv"
            text += f"\nmaps that are nearly flat and say little: {self.flat:,} (`flat` in {table})"
        text += str(self.measured).replace("explanations.csv", self.kept_in or "explanations.csv")
        if self.note:
            text += f"\n{self.note}"
        gallery = self.output / "gallery.html"
        return f"{text}\nresults: {self.output}" + (f"\ngallery: {gallery}" if gallery.is_file() else "")
