"""How the code is laid out: what the rooms promise a reader, beside what import-linter holds."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fex", "lightning_modules", "datamodules")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
ROOMS = [path for path in FILES if path.name == "__init__.py"]
# A command line is parsed before torch is imported, which takes seconds; behind these doors imports stand at the top.
DOORS = {"entry.py", "demo.py", "export.py", "serve.py", "quickstart.py", "explain/explain.py", "bench/bench.py"}
# What takes long to import, or is an extra.
LATE = {
    "datasets", "filelock", "gradio", "huggingface_hub", "jinja2", "lightning", "litserve", "markupsafe", "matplotlib",
    "onnxruntime", "onnxscript", "openvino", "peft", "PIL", "python_multipart", "quantus", "scipy",
    "segmentation_models_pytorch", "shap", "skimage", "soundfile", "timm", "torch", "torchvision", "transformers",
}  # fmt: skip


def name(path):
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_a_file_has_at_most_250_lines():
    assert {name(path): count for path in FILES if (count := len(path.read_text().splitlines())) > 250} == {}


def test_the_body_of_a_function_has_at_most_40_lines():
    long = {}
    for path in FILES:
        for function in functions(parsed(path)):
            body = function.body[ast.get_docstring(function) is not None :]
            count = function.end_lineno - body[0].lineno + 1 if body else 0
            if count > 40:
                long[f"{name(path)}:{function.name}"] = count
    assert long == {}


def test_imports_stand_at_the_top():
    """But for what takes long or is an extra, and behind the doors of the programs."""
    found = []
    for path in FILES:
        if not re.search(r"^ +(import|from) ", path.read_text(encoding="utf-8"), re.MULTILINE):
            continue
        for function in functions(parsed(path)):
            for node in ast.walk(function):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                door = path.is_relative_to(ROOT / "fex/cli") and name(path).removeprefix("fex/cli/") in DOORS
                late = [each for each in names if each.partition(".")[0] not in LATE]
                found += [f"{name(path)}: {each}" for each in late if not door]
    assert found == []


def test_pages_are_written_by_templates_which_escape_by_themselves():
    by_hand = re.compile(r"html\.escape|from html import|\bMarkup\(|</(?:a|b|p|h\d|div|span|td|th|tr|text|svg|html)>")
    found = {name(path) for path in FILES if by_hand.search(path.read_text("utf-8"))}
    assert found == {"fex/black_box/secrets.py", "fex/report/page.py"}  # the first looks for what servers have escaped
    templates = [path for path in (ROOT / "fex").rglob("templates/*") if path.is_file()]
    assert len(templates) >= 12
    assert [name(path) for path in templates if re.search(r"\|\s*safe|autoescape", path.read_text("utf-8"))] == []


@pytest.mark.parametrize("path", ROOMS, ids=name)
def test_a_room_says_what_is_in_it_and_in_which_order_to_read(path):
    text = ast.get_docstring(parsed(path)) or ""
    assert len(text.splitlines()) >= 3
    assert "Read" in text
    there = {each.stem for each in path.parent.iterdir()} | {each.name for each in (ROOT / "fex").iterdir()}
    named = re.findall(r"`([a-z_]+)`", text.partition("Read")[2])
    assert set(named) <= there | {"__init__"}
