"""Figures of explanations for papers and notebooks: one row each, drawn by matplotlib without a state of its own."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from fex.contrast import painted_span
from fex.explanations.base import BaseExplanation
from fex.explanations.image import Explanation
from fex.explanations.text import TextExplanation
from fex.report.heatmap import COLORMAP, normalise, overlay, to_picture, typeface, upsample
from fex.report.page import displayable
from fex.report.text import ACCENT, first_pieces
from fex.storage.names import on_one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["explanation_figure", "figure_file"]

WIDTH, HEAD, LINE, MARGIN = 7.5, 0.55, 0.24, 0.1  # inches: of a figure, above a row, of a line of text, around it
LONGEST = 1500  # characters of a text
_SIZE = 10  # points


def explanation_figure(*explanations: BaseExplanation) -> "Figure":
    """One row an explanation: picture, map with its scale and overlay; or a text with coloured words.

    Args:
        *explanations: of pictures, or of texts, at least one.
    """
    heights = [_height(explanation) for explanation in explanations]
    figure = _empty((WIDTH, sum(heights)))
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, explanation, height in zip(rows, explanations, heights, strict=True):
        title = f"{explanation.target_name}  ·  p = {explanation.probability:.3f} ({explanation.estimated_by})"
        flat = "  ·  nearly flat: says little" if explanation.flat else ""
        line = f"{on_one_line(title)}{flat}"
        top = 1 - 0.2 / height
        part.text(MARGIN / WIDTH, top, displayable(line), fontsize=_SIZE, weight="bold", parse_math=False, va="center")
        (_draw_words if isinstance(explanation, TextExplanation) else _draw_picture)(part, explanation, height)  # type: ignore[operator]
    return figure


def figure_file(explanation: BaseExplanation, suffix: str) -> bytes:
    """The content of a file of the figure, such as of suffix ".pdf"."""
    buffer = io.BytesIO()
    explanation_figure(explanation).savefig(buffer, format=suffix.removeprefix("."), dpi=150)
    return buffer.getvalue()


def _empty(size: tuple[float, float]) -> "Figure":
    from matplotlib.figure import Figure

    class Shown(Figure):
        """Shown by notebooks also where pyplot is not used."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return Shown(figsize=size)


def _height(explanation: BaseExplanation) -> float:
    """Of its row, in inches."""
    if isinstance(explanation, TextExplanation):
        return HEAD + MARGIN + LINE * (1 + max(line for line, *_ in _laid_out(explanation)))
    height, width = explanation.size  # type: ignore[attr-defined]
    return HEAD + MARGIN + (WIDTH / 3 - 2 * MARGIN) * height / width


def _draw_picture(part: "SubFigure", explanation: Explanation, height: float) -> None:
    rows, columns = explanation.size
    grey = np.full((3, rows, columns), 0.5, np.float32)
    picture = to_picture(grey if explanation.image is None else explanation.image.detach().cpu())
    low = float(explanation.grid.min())
    laid = overlay(picture, upsample(normalise(explanation.grid, span=explanation.span), (rows, columns)))
    tile = WIDTH / 3 - 2 * MARGIN
    spots = [
        part.add_axes(
            ((MARGIN + column * WIDTH / 3) / WIDTH, MARGIN / height, tile / WIDTH, tile * rows / columns / height)
        )
        for column in range(3)
    ]
    spots[0].imshow(picture)
    whole = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    full = painted_span(explanation.grid, explanation.span) or 1.0
    shown = spots[1].imshow(explanation.grid, cmap=COLORMAP, vmin=low, vmax=low + full, extent=whole)
    spots[2].imshow(laid)
    for spot in spots:
        spot.set_axis_off()
    bar = part.add_axes(((2 * WIDTH / 3 + MARGIN) / WIDTH, 1 - 0.26 / height, 1.2 / WIDTH, 0.08 / height))
    part.figure.colorbar(shown, cax=bar, orientation="horizontal", ticks=[low, low + full], format="%.2g")
    bar.tick_params(labelsize=7, length=2)


def _draw_words(part: "SubFigure", explanation: TextExplanation, height: float) -> None:
    for line, left, characters, strength in _laid_out(explanation):
        colour = (*(value / 255 for value in ACCENT), 0.85 * strength)
        y = 1 - (HEAD + (line + 0.5) * LINE) / height
        box: Any = {"facecolor": colour, "edgecolor": "none", "pad": 1.5} if strength > 0 else None
        part.text(left / 72 / WIDTH, y, characters, fontsize=_SIZE, parse_math=False, va="center", bbox=box)


def _laid_out(explanation: TextExplanation) -> list[tuple[int, float, str, float]]:
    """Line, distance from the left in points, characters and strength in [0, 1] of each piece of a text."""
    font, left, right = typeface(_SIZE), 72 * MARGIN, 72 * (WIDTH - MARGIN)
    found, line, place, before = [(0, left, "", 0.0)], 0, left, 0
    for part, characters, _, strength in first_pieces(explanation, LONGEST):
        if part != before:
            line, place, before = line + 1, left, part
        for number, piece in enumerate(displayable(characters).expandtabs().splitlines() or [""]):
            if number:
                line, place = line + 1, left
            width = font.getlength(piece)
            if place > left and place + width > right:
                line, place = line + 1, left
                piece = piece.lstrip()
                width = font.getlength(piece)
            if piece.strip():
                found.append((line, place, piece, strength))
            place += width
    return found
