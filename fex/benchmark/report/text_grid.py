"""Every method on the same texts: a block a text, in it a line a method, its words coloured by their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from fex.explanations.text import TextExplanation
from fex.report.text import beyond_limit, first_pieces, score_range

__all__ = ["TextRow", "text_blocks"]

LONGEST = 500  # characters shown of a text, some 80 words
ROOM = 2000  # characters shown of all texts together

TextRow = dict[str, TextExplanation | None]
"""One text: by method, its explanation, or None where its scores are not finite."""


def _few(rows: Sequence[Mapping[str, TextExplanation | None]]) -> list[list[tuple[str, TextExplanation | None]]]:
    """The first texts that any method explained, at least one, as many as there is room for."""
    found, room = [], ROOM
    for row in rows:
        one = next((each for each in row.values() if each is not None), None)
        if one is None:
            continue
        room -= min(LONGEST, sum(map(len, one.texts)))
        if found and room < 0:
            break
        found.append(list(row.items()))
    return found


def _block(row: Sequence[tuple[str, TextExplanation | None]]) -> dict[str, Any]:
    first = next(each for _, each in row if each is not None)
    count, total = sum(piece.word is not None for piece in first_pieces(first, LONGEST)), len(first.word_scores())
    shortened = f"its first {count:,} of {total:,} words are shown" if count < total else ""
    notes = filter(None, (f"p = {first.probability:.3f}", shortened, beyond_limit(first)))
    lines = [(name, None if e is None else (score_range(e), first_pieces(e, LONGEST))) for name, e in row]
    return {"first": first, "notes": notes, "lines": lines}


def text_blocks(rows: Sequence[Mapping[str, TextExplanation | None]]) -> list[dict[str, Any]]:
    """For the template; long texts are cut to their first words, and fewer of them are shown.

    Args:
        rows: see `TextRow`, one a text.
    """
    return [_block(row) for row in _few(rows)]
