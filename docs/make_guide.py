"""Runs the cells of the Python guide and stores what they show in the notebook, without Jupyter.

python docs/make_guide.py
"""

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

NOTEBOOK = Path(__file__).parent / "python-guide.ipynb"


def run_cell(source: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and the value of its last line where that is an expression.

    Args:
        source: its code.
        names: what earlier cells have defined; changed in place.
    """
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, NOTEBOOK.name, "exec"), names)  # the notebook's own code
        value = None if last is None else eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
    return printed.getvalue(), value


def shown(value: Any) -> dict[str, Any]:
    """A value as notebooks store it: a page, a picture (as WebP, which is smaller), or text."""
    if hasattr(value, "_repr_html_") and not hasattr(value, "_repr_png_"):
        return {"text/html": value._repr_html_()}
    if hasattr(value, "_repr_png_"):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(value._repr_png_())).convert("RGB").save(buffer, "WEBP", quality=80)
        return {"image/webp": base64.b64encode(buffer.getvalue()).decode()}
    return {"text/plain": repr(value)}


def main() -> None:
    """Runs every cell in an empty folder."""
    notebook, names = json.loads(NOTEBOOK.read_text("utf-8")), {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for count, cell in enumerate([cell for cell in notebook["cells"] if cell["cell_type"] == "code"], 1):
            printed, value = run_cell("".join(cell["source"]), names)
            cell["execution_count"], cell["outputs"] = count, []
            if printed:
                cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": printed})
            if value is not None:
                result = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
                cell["outputs"].append({**result, "data": shown(value)})
        os.chdir(NOTEBOOK.parent)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
