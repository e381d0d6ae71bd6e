"""Every method on the same texts: a block a text, in it a line a method, its words coloured by their scores."""

from collections.abc import Mapping, Sequence
from html import escape

from fex.explanations.text import TextExplanation
from fex.report.text import beyond_limit, displayable, score_range, words_html

__all__ = ["TEXT_GRID_STYLE", "TextRow", "text_grid"]

LONGEST = 500  # characters shown of a text, some 80 words
ROOM = 2000  # characters shown of all texts together

TextRow = dict[str, TextExplanation | None]
"""One text: by method, its explanation, or None where its scores are not finite."""

# Goes into a page's own style sheet, as it is.
TEXT_GRID_STYLE = """.text { border-top: 1px solid var(--line); padding: .4rem 0 .8rem }
.text h3 { font-size: .9rem; font-weight: 500; margin: 0 0 .3rem; overflow-wrap: anywhere }
.text h3 span, .text dt span { color: var(--faint); font-weight: 400; font-size: .8rem }
.text dl { display: grid; grid-template-columns: minmax(6rem, 13rem) minmax(0, 1fr); gap: .3rem 1rem; margin: 0 }
.text dt { overflow-wrap: anywhere } .text dt span { display: block }
.text dd { margin: 0; max-width: 75ch } .text dd p { margin: 0 } .text hr { border: 0; margin: .2rem }
@media (max-width: 40rem) { .text dl { grid-template-columns: minmax(0, 1fr) } .text dd { margin-bottom: .5rem } }
"""


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


def _block(row: Sequence[tuple[str, TextExplanation | None]]) -> str:
    first = next(each for _, each in row if each is not None)
    count, total = words_html(first, LONGEST)[1], len(first.word_scores())
    notes = [
        f"p = {first.probability:.3f}",
        f"its first {count:,} of {total:,} words are shown" if count < total else "",
        beyond_limit(first),
    ]
    lines = []
    for method, explanation in row:
        name = escape(displayable(method))
        if explanation is None:
            lines.append(f"<dt>{name}</dt><dd><p>its scores are not finite</p></dd>\n")
        else:
            span = f"<span>{score_range(explanation)}</span>"
            lines.append(f"<dt>{name} {span}</dt><dd>{words_html(explanation, LONGEST)[0]}</dd>\n")
    title, predicted = (escape(displayable(each)) for each in (first.source or "text", first.target_name))
    note = " · ".join(filter(None, notes))
    return (
        f'<section class="text"><h3>{title} · {predicted} <span>{note}</span></h3><dl>\n{"".join(lines)}</dl>'
        "</section>\n"
    )


def text_grid(rows: Sequence[Mapping[str, TextExplanation | None]]) -> str:
    """A part of a page; "" without texts.

    Long texts are cut to their first words, and fewer of them are shown.

    Args:
        rows: see `TextRow`, one a text.
    """
    few = _few(rows)
    if not few:
        return ""
    return (
        "<h2>Every method on the same inputs</h2><p>The class that the box predicts and its probability; each map from "
        "its own lowest to its own highest score, which stand under the method's name. A word has the largest score of "
        "its tokens: point at it for the number.</p>\n" + "".join(map(_block, few))
    )
