"""How explanations are drawn: their fields, handed to what draws arrays and words."""

from pathlib import Path

from PIL import Image

from fex.explanations.image import Explanation
from fex.explanations.text import TextExplanation
from fex.report.figures import explanation_figure, figure_file
from fex.report.heatmap import GAP, TILE, enlarged, fitted, panel, to_picture, typeface
from fex.report.html import write_page
from fex.report.page import render
from fex.report.text import text_card, write_text_page
from fex.storage.names import on_one_line

__all__ = ["explanation_panel"]


def explanation_panel(explanation: Explanation, **options: str) -> Image.Image:
    """`panel` of an `Explanation`; without its picture, the map is laid over grey. Options as of `panel`."""
    if explanation.image is not None:
        picture = to_picture(explanation.image.detach().cpu())
    else:
        picture = Image.new("RGB", (explanation.size[1], explanation.size[0]), (128, 128, 128))
    title = f"{explanation.target_name}  ·  p = {explanation.probability:.3f} ({explanation.estimated_by})"
    subtitle = on_one_line(f"{explanation.method} of {explanation.black_box}  ·  {explanation.removal} removal")
    if explanation.measured:
        subtitle += f"  ·  {explanation.measured}"
    if explanation.chosen_by == "explainer":
        subtitle += f"  ·  {explanation.doubt}"
    if explanation.source:  # a long path gives way to the rest
        font, dot = typeface(12), "  ·  "
        width = 3 * enlarged(picture, TILE).width + 2 * GAP - font.getlength(subtitle + dot)
        subtitle += dot + fitted(explanation.source, font, max(60, int(width)))
    named = {"title": title, "subtitle": subtitle, "span": explanation.span, **options}
    return panel(picture, explanation.grid, **named)  # type: ignore[arg-type]


def _page(explanation: Explanation, path: Path) -> None:
    write_page(path, [[explanation]])


def _text_page(explanation: TextExplanation, path: Path) -> None:
    write_text_page(path, [[explanation]])


def _card(explanation: Explanation) -> str:
    picture = explanation_panel(explanation)
    return render("report/templates/notebook.html", picture=picture, name=explanation.target_name)


def _text_card(explanation: TextExplanation) -> str:
    return text_card([explanation]).html


_FIGURES = {"figure": explanation_figure, "file": figure_file}
Explanation.drawings = {"picture": explanation_panel, "card": _card, "page": _page, **_FIGURES}
TextExplanation.drawings = {"card": _text_card, "page": _text_page, **_FIGURES}
