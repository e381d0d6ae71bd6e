"""Coloured words: on self-contained pages, and in the terminal."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from rich.text import Text as RichText

from fex.atomic import replacing
from fex.report.html import Card, Kind, page_foot, page_head
from fex.text_explanation import TextExplanation, Word

__all__ = ["TEXTS", "terminal_text", "text_card", "write_text_page"]

TEXTS = Kind(
    "texts",
    "source, class or words",
    "Colours run from the smallest to the largest score of each text, which are written above it: compare the words "
    "of one text and class, not two texts. Point at a word for its score.",
)
_ACCENT = (235, 120, 20)  # orange: told from black and white letters by those who see few colours too
_STEPS = 5  # shades in the terminal
# What a page cannot hold: control characters, halves of characters.
_UNFIT = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000))}


def strengths(words: Sequence[Word]) -> list[float]:
    """Scores scaled to [0, 1] by their own range; all 0 where they are equal."""
    scores = [word.score for word in words]
    low, high = min(scores), max(scores)
    return [(score - low) / (high - low) if high > low else 0.0 for score in scores]


def _pieces(explanation: TextExplanation) -> Iterable[tuple[int, str, Word | None, float]]:
    """The text cut up: (part, characters, the word they are or None, its strength); put together they are the text."""
    words = explanation.word_scores()
    shown = strengths(words)
    for part, text in enumerate(explanation.texts):
        place = 0
        for word, strength in zip(words, shown, strict=True):
            if word.part != part:
                continue
            if word.start > place:
                yield part, text[place : word.start], None, 0.0
            yield part, text[max(place, word.start) : word.end], word, strength
            place = max(place, word.end)
        if place < len(text):
            yield part, text[place:], None, 0.0


def _words_html(explanation: TextExplanation) -> str:
    found, last = [], 0
    for part, characters, word, strength in _pieces(explanation):
        if part != last:
            found.append("<hr>")
            last = part
        shown = escape(characters.translate(_UNFIT))
        if word is None:
            found.append(shown)
        else:
            colour = f"rgb({_ACCENT[0]} {_ACCENT[1]} {_ACCENT[2]} / {strength * 0.85:.2f})"
            found.append(
                f'<span style="background:{colour};border-radius:.2rem" title="{word.score:.3f}">{shown}</span>'
            )
    # dir=auto: right-to-left texts are shown from the right
    return f'<p dir="auto" style="white-space:pre-wrap;color:var(--ink);overflow-wrap:anywhere">{"".join(found)}</p>'


def _numbers(explanation: TextExplanation) -> str:
    """The class's probability and whose it is, and the range of the scores."""
    scores = [word.score for word in explanation.word_scores()]
    return (
        f"p = {explanation.probability:.3f} ({explanation.estimated_by}) · scores {min(scores):.3g} … {max(scores):.3g}"
    )


def text_card(explanations: Sequence[TextExplanation]) -> Card:
    """One text with its coloured words for each explained class.

    Args:
        explanations: of one text, at least one.
    """
    first = explanations[0]
    name = escape((first.source or "text").translate(_UNFIT))
    note = f" <span>· {first.cut:,} tokens beyond the limit were cut off</span>" if first.cut else ""
    figures = "".join(
        '<figure style="max-width:none;flex-basis:100%"><figcaption>'
        f"{escape(e.target_name)} <span>{escape(_numbers(e))}</span></figcaption>{_words_html(e)}</figure>"
        for e in explanations
    )
    every = escape(" ".join(e.target_name for e in explanations))
    return Card(
        first.source or "text",
        f'<article data-file="{name}" data-class="{escape(first.target_name)}" data-all="{every}" '
        f'data-p="{first.probability:.6f}"><h2>{name}{note}</h2><div class="row">{figures}</div></article>\n',
    )


def write_text_page(path: str | Path, texts: Iterable[Sequence[TextExplanation]], title: str = "Explanations") -> None:
    """One self-contained page for the given texts (each a list of explanations of one text)."""
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace") as file:
        file.write(page_head(TEXTS, title))
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
    room, last = longest, 0
    for part, characters, word, strength in _pieces(explanation):
        if part != last:
            shown.append("\n| ")
            last = part
        if room <= 0:
            shown.append(" …")
            break
        style = ""
        if word is not None and strength > 0:
            level = round(strength * _STEPS) / _STEPS
            red, green, blue = (round(255 - (255 - c) * level) for c in _ACCENT)
            style = f"black on rgb({red},{green},{blue})" if level else ""
        shown.append(_visible(characters)[:room], style=style or "not bold")
        room -= len(characters)
    return shown


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
