"""What the pages need besides Markdown: notebooks, and formulas as MathML; made at build."""

import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

DOCS = Path(__file__).parent
NOTEBOOK = re.compile(r"<!-- notebook: ([\w.-]+) -->")
FORMULA = re.compile(r"```math\n(.*?)```", re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    markdown = NOTEBOOK.sub(lambda found: notebook(DOCS / found[1]), markdown)
    return FORMULA.sub(lambda found: formula(found[1]), markdown)


def formula(latex: str) -> str:
    """A formula on a line of its own, as MathML, which browsers show without a script."""
    return f'<div class="formula">{convert(" ".join(latex.split()), display="block")}</div>'


def notebook(path: Path) -> str:
    """The cells of a notebook with their stored outputs, as Markdown."""
    shown = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        shown.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            shown.append(_output(output))
    return "\n\n".join(shown)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div class="output">{"".join(data["text/html"])}</div>'
    for kind in ("image/webp", "image/png"):
        if kind in data:
            return (
                f'<img class="output" alt="what the cell shows" src="data:{kind};base64,{"".join(data[kind]).strip()}">'
            )
    return "```text\n" + "".join(output.get("text") or data.get("text/plain", "")).rstrip() + "\n```"
