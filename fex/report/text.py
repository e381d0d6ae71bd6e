"""Coloured words: on self-contained pages, and in the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from rich.text import Text as RichText

from fex.contrast import painted_span
from fex.explanations.text import TextExplanation, Word
from fex.report.fidelity import fidelity_mark
from fex.report.gallery_page import Kind, page_foot, page_head
from fex.report.html import Card, doubts
from fex.storage.atomic import replacing

__all__ = [
    "ACCENT",
    "TEXTS",
    "beyond_limit",
    "displayable",
    "first_pieces",
    "score_range",
    "terminal_text",
    "text_card",
    "words_html",
    "write_text_page",
]

TEXTS = Kind(
    "texts",
    "source, class or words",
    "Colours run from the smallest to the largest score of each text, which are written above it: compare the words "
    "of one text and class, not two texts. Only where scores hardly differ colours stay pale, and they are called "
    "nearly flat: they say little. Point at a word for its score.",
)
ACCENT = (235, 120, 20)  # orange: told from black and white letters by those who see few colours too
_STEPS = 5  # shades in the terminal
# What a page cannot hold: control characters, halves of characters.
_UNFIT = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000))}


class _Piece(NamedTuple):
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


def displayable(text: str) -> str:
    """The text without what a page cannot hold; not escaped yet."""
    return text.translate(_UNFIT)


def _pieces(explanation: TextExplanation) -> Iterator[_Piece]:
    """The text cut up; put together, the pieces are the text."""
    words = explanation.word_scores()
    shown = strengths(words, explanation.span)
    for part, text in enumerate(explanation.texts):
        place = 0
        for word, strength in zip(words, shown, strict=True):
            if word.part != part:
                continue
            if word.start > place:
                yield _Piece(part, text[place : word.start])
            yield _Piece(part, text[max(place, word.start) : word.end], word, strength)
            place = max(place, word.end)
        if place < len(text):
            yield _Piece(part, text[place:])


def first_pieces(explanation: TextExplanation, longest: int | None) -> Iterator[_Piece]:
    """Whole pieces up to `longest` characters, and " …" where more follow; a longer first one is cut itself."""
    room = longest
    for piece in _pieces(explanation):
        if room is not None and len(piece.characters) > room:
            if room == longest:
                yield piece._replace(characters=piece.characters[:room])
            yield _Piece(piece.part, " …")
            return
        yield piece
        room = None if room is None else room - len(piece.characters)


def words_html(explanation: TextExplanation, longest: int | None = None) -> tuple[str, int]:
    """A paragraph with coloured words, and how many words it shows.

    The strongest of all words has the full colour, also where it is not shown.

    Args:
        explanation: of one text.
        longest: characters shown of a long text; None shows it whole.
    """
    found, last, count = [], 0, 0
    for part, characters, word, strength in first_pieces(explanation, longest):
        if part != last:
            found.append("<hr>")
            last = part
        shown = escape(displayable(characters))
        if word is None:
            found.append(shown)
        else:
            count += 1
            colour = f"rgb({ACCENT[0]} {ACCENT[1]} {ACCENT[2]} / calc({strength:.2f} * var(--heat, .85)))"
            found.append(
                f'<span style="background:{colour};border-radius:.2rem" title="{word.score:.3f}">{shown}</span>'
            )
    # dir=auto: right-to-left texts are shown from the right
    style = "white-space:pre-wrap;color:var(--ink);overflow-wrap:anywhere"
    return f'<p dir="auto" style="{style}">{"".join(found)}</p>', count


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
    name = escape(displayable(first.source or "text"))
    note = f" <span>· {beyond_limit(first)}</span>" if first.cut else ""
    figures = "".join(
        '<figure style="max-width:none;flex-basis:100%"><figcaption>'
        f"{escape(e.target_name)} <span>{escape(_numbers(e))}</span></figcaption>{words_html(e)[0]}</figure>"
        for e in explanations
    )
    every = escape(" ".join(e.target_name for e in explanations))
    return Card(
        first.source or "text",
        f'<article data-file="{name}" data-class="{escape(first.target_name)}" data-all="{every}" '
        f'data-p="{first.probability:.6f}"{fidelity_mark(explanations)}>'
        f'<h2>{name}{note}</h2><div class="row">{figures}</div></article>\n',
    )


def write_text_page(path: str | Path, texts: Iterable[Sequence[TextExplanation]], title: str = "Explanations") -> None:
    """One self-contained page for the given texts (each a list of explanations of one text)."""
    texts = list(texts)
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace") as file:
        file.write(page_head(TEXTS, title, doubts(texts)))
        for explanations in texts:
            file.write(text_card(explanations).html)
        file.write(page_foot(TEXTS))


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
