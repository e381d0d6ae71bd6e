"""A folder of results for texts: one JSON line a text, a table, coloured pages; written as they come."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from fex.explanations.text import TextExplanation
from fex.report.fidelity import fidelity_cells
from fex.report.html import Card, Gallery
from fex.report.result_files import ResultFiles
from fex.report.text import text_card

__all__ = ["TEXT_FORMATS", "TextResultFolder", "WrittenText", "check_formats", "written_text"]

TEXT_FORMATS = ("html", "jsonl", "csv")
COLUMNS = (
    "source", "rank", "class_index", "class", "probability", "probability_of", "top_words", "words", "tokens_cut",
    "windows", "flat", "fidelity", "fidelity_low", "fidelity_high", "queries", "seconds", "text",
)  # fmt: skip
_TOP = 5  # words of a line
_EXCERPT = 80  # characters of a line


def check_formats(formats: Sequence[str]) -> None:
    """Whether all are of `TEXT_FORMATS`.

    Raises:
        ValueError: an unknown format.
    """
    unknown = sorted(set(formats) - set(TEXT_FORMATS))
    if unknown:
        raise ValueError(f"Unknown format {', '.join(unknown)}: give some of {', '.join(TEXT_FORMATS)}.")


class WrittenText(NamedTuple):
    """What one text adds: lines of JSON, rows of the table, and its card; how many of its maps are nearly flat."""

    lines: list[str]
    rows: list[list[Any]]
    card: Card | None
    flat: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return self._asdict()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "WrittenText":
        """What `to_dict` was, or was before it became JSON."""
        return cls(data["lines"], data["rows"], None if data["card"] is None else Card(*data["card"]), data["flat"])


def written_text(formats: Sequence[str], explanations: Sequence[TextExplanation]) -> WrittenText:
    """What one text adds to a folder of these formats."""
    lines: list[str] = []
    rows: list[list[Any]] = []
    for rank, explanation in enumerate(explanations, 1):
        if "jsonl" in formats:
            lines.append(json.dumps(explanation.to_dict(), ensure_ascii=False) + "\n")
        if "csv" in formats:
            named = (w.word for w in explanation.top(None) if any(map(str.isalnum, w.word)))
            top, text = " ".join(islice(named, _TOP)), " | ".join(explanation.texts)
            rows.append(
                [explanation.source, rank, explanation.target, explanation.target_name,
                 f"{explanation.probability:.6f}", explanation.probability_of, top,
                 len(explanation.word_scores()), explanation.cut, explanation.windows,
                 "yes" if explanation.flat else "no", *fidelity_cells(explanation), explanation.queries,
                 f"{explanation.seconds:.6f}",
                 text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"]
            )  # fmt: skip
    card = text_card(explanations) if "html" in formats else None
    return WrittenText(lines, rows, card, sum(explanation.flat for explanation in explanations))


class TextResultFolder(ResultFiles):
    """Writes results under one folder, in the order they are added.

    explanations.jsonl has words, scores and character spans; explanations.csv a line for each text and class, with
    the words of the largest scores (punctuation left out) and the text's first characters; gallery.html the coloured
    texts in pages; skipped.csv what could not be explained.

    Args:
        folder: made if missing.
        formats: of `TEXT_FORMATS`.
        note: line under the heading of the pages.

    Raises:
        ValueError: an unknown format.
        OSError: the folder cannot be written.
    """

    named = "source"

    def __init__(self, folder: str | Path, *, formats: Sequence[str] = TEXT_FORMATS, note: str = "") -> None:
        check_formats(formats)
        self.formats = tuple(formats)
        super().__init__(folder, Gallery(Path(folder), title="Explanations", note=note, kind="texts"))

    def _begin(self) -> None:
        self._lines = self._open("explanations.jsonl") if "jsonl" in self.formats else None
        self._table = self._csv("explanations.csv", COLUMNS) if "csv" in self.formats else None
        if "html" in self.formats:
            self.gallery.index.unlink(missing_ok=True)  # of an earlier run; there is none where all are skipped

    def add(self, explanations: Sequence[TextExplanation]) -> WrittenText:
        """Adds the explanations of one text; returns what it added."""
        written = written_text(self.formats, explanations)
        self.add_written(written)
        return written

    def add_written(self, written: WrittenText) -> None:
        """Adds what `add` gave before."""
        if self._lines is not None:
            self._lines.writelines(written.lines)
        if self._table is not None:
            self._table.writerows(written.rows)
        if written.card is not None:
            self.gallery.add(written.card)
