"""The page: what Gradio shows of a `Trial`."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from fex.demo.trial import HEADERS, Trial
from fex.errors import BlackBoxError

__all__ = ["LAUNCH", "make_page"]

MOST = 5  # classes at once
# As wide as the screen and no wider: the two columns, of `NARROWEST` pixels, then stand below each other.
CSS = """
.gradio-container, .gradio-container > .main {width: 100%; max-width: min(60rem, 100vw); box-sizing: border-box}
.gradio-container {margin: auto}
.gradio-container > .main {padding: 12px}
.gradio-container :is(.wrap, .contain, .row) {min-width: 0; max-width: 100%}
#table {overflow-x: auto}
"""
NARROWEST = 280
# Nothing is loaded from elsewhere: no fonts, no counters; files of others are small.
LAUNCH = {
    "theme": gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    "css": CSS,
    "max_file_size": "32mb",
    "show_error": True,
    "quiet": True,
}


def make_page(trial: Trial) -> gr.Blocks:
    """The page, not launched; `launch(**LAUNCH)` does."""
    first = trial.explainers[0]

    def explain(given: str | None, classes: Sequence[str] | None, top_k: float, queries: float) -> list[Any]:
        try:
            found = trial(given, classes or [], int(top_k), int(queries))
        except (ValueError, OSError, BlackBoxError) as error:
            raise gr.Error(str(error)) from error
        maps = "".join(found.pages) if trial.text else found.pictures
        return [maps, found.rows, found.curve, found.note]

    with gr.Blocks(title="fex", analytics_enabled=False) as page:
        gr.Markdown(f"## {first.method} explains {first.black_box}\nWhich parts of an input count for a class.")
        with gr.Row():
            with gr.Column(min_width=NARROWEST):
                given = (
                    gr.Textbox(label="text", lines=4, max_length=20_000)
                    if trial.text
                    else gr.Image(type="filepath", label="picture", sources=["upload"], height=280)
                )
                classes = gr.Dropdown(
                    trial.class_names, multiselect=True, max_choices=MOST, value=[], label="classes",
                    info="none: the likeliest ones", elem_id="classes",
                )  # fmt: skip
                count = min(MOST, len(trial.class_names))
                top_k = gr.Slider(1, max(2, count), value=1, step=1, label="how many of the likeliest")
                queries = gr.Slider(
                    0, 128, value=16, step=16, label="queries for the fidelity", visible=trial.black_box is not None
                )
                button = gr.Button("Explain", variant="primary", elem_id="explain")
            with gr.Column(min_width=NARROWEST):
                maps = (
                    gr.HTML(label="maps", elem_id="maps")
                    if trial.text
                    else gr.Gallery(label="maps", columns=1, object_fit="contain", elem_id="maps")
                )
                table = gr.Dataframe(headers=HEADERS, label="classes", wrap=True, elem_id="table")
                curve = gr.Plot(label="as features go", visible=trial.black_box is not None)
                note = gr.Markdown()
        button.click(explain, [given, classes, top_k, queries], [maps, table, curve, note], api_name="explain")
    return page.queue(max_size=32, default_concurrency_limit=1)
