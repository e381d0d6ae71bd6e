"""What the pages need besides Markdown: notebooks, formulas as MathML, the list of result pages; all made at build."""

import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

DOCS = Path(__file__).parent
RESULTS = "<!-- the pages of docs/results -->"
NOTEBOOK = re.compile(r"<!-- notebook: ([\w.-]+) -->")
FORMULA = re.compile(r"```math\n(.*?)```", re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    markdown = NOTEBOOK.sub(lambda found: notebook(DOCS / found[1]), markdown)
    markdown = FORMULA.sub(lambda found: formula(found[1]), markdown)
    return markdown.replace(RESULTS, results())


def formula(latex: str) -> str:
    """A formula on a line of its own, as MathML, which browsers show without a script."""
    return f'<div class="formula">{convert(" ".join(latex.split()), display="block")}</div>'


def results() -> str:
    """One line a page of results."""
    lines = []
    for page in sorted((DOCS / "results").glob("**/*.md")):
        title = next((line[2:] for line in page.read_text("utf-8").splitlines() if line.startswith("# ")), page.stem)
        lines.append(f"- [{title}]({page.relative_to(DOCS).as_posix()})")
    return "\n".join(lines) or "The tables are not in this build."


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
