"""Coloured words: on self-contained pages, and in the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.text import Text as RichText

from fex.contrast import painted_span
from fex.explanations.text import TextExplanation, Word
from fex.report.html import Card, doubts, write_cards

__all__ = [
    "ACCENT",
    "Piece",
    "beyond_limit",
    "first_pieces",
    "score_range",
    "terminal_text",
    "text_card",
    "write_text_page",
]

ACCENT = (235, 120, 20)  # orange: told from black and white letters by those who see few colours too
_STEPS = 5  # shades in the terminal


class Piece(NamedTuple):
    """Characters of one part of a text, the word that they are (None between words), and its strength in [0, 1]."""

    part: int
    characters: str
    word: Word | None = None
    strength: float = 0.0


def strengths(words: Sequence[Word], span: float | None = None) -> list[float]:
    """Scores scaled to [0, 1] by their own range; all 0 where they are equal, and low where they nearly are.

    Args:
        words: at least one.
        span: largest difference that two scores can have, where it is known; see `fex.contrast.painted_span`.
    """
    scores = [word.score for word in words]
    low, full = min(scores), painted_span(scores, span)
    return [(score - low) / full if full > 0 else 0.0 for score in scores]


def _pieces(explanation: TextExplanation) -> Iterator[Piece]:
    """The text cut up; put together, the pieces are the text."""
    words = explanation.word_scores()
    shown = strengths(words, explanation.span)
    for part, text in enumerate(explanation.texts):
        place = 0
        for word, strength in zip(words, shown, strict=True):
            if word.part != part:
                continue
            if word.start > place:
                yield Piece(part, text[place : word.start])
            yield Piece(part, text[max(place, word.start) : word.end], word, strength)
            place = max(place, word.end)
        if place < len(text):
            yield Piece(part, text[place:])


def first_pieces(explanation: TextExplanation, longest: int | None = None) -> Iterator[Piece]:
    """Whole pieces up to `longest` characters, and " …" where more follow; a longer first one is cut itself."""
    room = longest
    for piece in _pieces(explanation):
        if room is not None and len(piece.characters) > room:
            if room == longest:
                yield piece._replace(characters=piece.characters[:room])
            yield Piece(piece.part, " …")
            return
        yield piece
        room = None if room is None else room - len(piece.characters)


def score_range(explanation: TextExplanation) -> str:
    """The smallest and the largest score of its words, and whether they hardly differ."""
    scores = explanation.shown
    return f"{scores.min():.3g} … {scores.max():.3g}{' (nearly flat)' if explanation.flat else ''}"


def _numbers(explanation: TextExplanation) -> str:
    """The class's probability and whose it is, and the range of the scores."""
    text = f"p = {explanation.probability:.3f} ({explanation.estimated_by}) · scores {score_range(explanation)}"
    return f"{text} · {explanation.measured}" if explanation.measured else text


def beyond_limit(explanation: TextExplanation) -> str:
    """What is said of tokens that were not looked at; "" where there are none."""
    return f"{explanation.cut:,} tokens beyond the limit were cut off" if explanation.cut else ""


def text_card(explanations: Sequence[TextExplanation]) -> Card:
    """One text with its coloured words for each explained class.

    Args:
        explanations: of one text, at least one.
    """
    first = explanations[0]
    shown = [(each, _numbers(each), first_pieces(each)) for each in explanations]
    return Card.of(first.source or "text", explanations, "text_card.html", cut=beyond_limit(first), shown=shown)


def write_text_page(path: str | Path, texts: Iterable[Sequence[TextExplanation]], title: str = "Explanations") -> None:
    """One self-contained page for the given texts (each a list of explanations of one text)."""
    texts = list(texts)
    write_cards(path, "texts", title, doubts(texts), map(text_card, texts))


def terminal_text(explanation: TextExplanation, *, longest: int = 2000) -> RichText:
    """The class and the coloured words, for `rich`; characters that would control the terminal are left out.

    Args:
        explanation: of one text.
        longest: characters shown of a long text.
    """
    shown = RichText(f"{explanation.target_name}  {_numbers(explanation)}", style="bold")
    if explanation.source:
        shown.append(f"  {_visible(explanation.source)}", style="not bold dim")
    shown.append("\n")
    last = 0
    for part, characters, word, strength in first_pieces(explanation, longest):
        if part != last:
            shown.append("\n| ")
            last = part
        style = ""
        if word is not None and strength > 0:
            level = round(strength * _STEPS) / _STEPS
            red, green, blue = (round(255 - (255 - c) * level) for c in ACCENT)
            style = f"black on rgb({red},{green},{blue})" if level else ""
        shown.append(_visible(characters), style=style or "not bold")
    return shown


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
