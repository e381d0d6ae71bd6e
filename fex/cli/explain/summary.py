"""What a run of `fex-explain` did."""

from dataclasses import dataclass, field
from pathlib import Path

from fex.cli.explain.measured import Measured

__all__ = ["Summary", "TextSummary"]


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


@dataclass
class TextSummary:
    """What a run did.

    Attributes:
        explained: texts with results.
        skipped: texts without.
        truncated: texts that were cut off.
        tokens_cut: tokens that were left out in them.
        named: the first few of the skipped, with reasons.
        seconds: wall time after loading.
        output: folder of the results; None where there is none.
        flat: maps whose scores hardly differ.
        note: what to know of the classes.
        done: texts that an earlier run had finished.
        measured: what was asked about the maps, and how faithful they are.
        kept_in: where skipped and measured ones are listed, instead of skipped.csv and explanations.csv.
    """

    explained: int = 0
    skipped: int = 0
    truncated: int = 0
    tokens_cut: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    output: Path | None = None
    flat: int = 0
    note: str = ""
    done: int = 0
    measured: Measured = field(default_factory=Measured)
    kept_in: str = ""

    def __str__(self) -> str:
        new = self.explained + self.skipped - self.done
        rate = new / self.seconds if self.seconds else 0.0
        unit = "text" if self.explained == 1 else "texts"
        text = f"explained {self.explained:,} {unit}"
        if self.done:
            text += f" ({self.done:,} of all were finished before)"
        if new:
            text += f" in {self.seconds:.1f} s ({rate:.1f} texts/s)"
        if self.flat:
            text += f"\nmaps that are nearly flat and say little: {self.flat:,}"
        if self.truncated:
            text += (
                f"\nlonger than the explainer reads: {self.truncated:,}, whose last {self.tokens_cut:,} tokens were "
                "cut off (--window explains them whole)"
            )
        if self.skipped:
            where = "" if self.output is None else f" (all in {self.kept_in or self.output / 'skipped.csv'})"
            text += f"\nskipped {self.skipped:,} that could not be explained{where}:"
            text += "".join(f"\n  {name}: {reason}" for name, reason in self.named)
        text += str(self.measured).replace("explanations.csv", self.kept_in or "explanations.csv")
        if self.note:
            text += f"\n{self.note}"
        return text if self.output is None else f"{text}\nresults: {self.output}"

    def count(self, name: str, skipped: str | None, cut: int = 0, flat: int = 0) -> None:
        """Counts one text, explained or skipped for a reason."""
        if skipped is not None:
            self.skipped += 1
            if len(self.named) < 3:
                self.named.append((name, skipped))
            return
        self.explained += 1
        self.truncated += cut > 0
        self.tokens_cut += cut
        self.flat += flat
