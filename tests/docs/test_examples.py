"""The whole files that the pages show run as they stand, in an empty folder, and write what they say."""

import re
import runpy
import warnings
from pathlib import Path

import pytest

from tests.interop.patience import patient

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = sorted(path.stem for path in (DOCS / "examples").glob("*_*.py") if path.stem != "own_server")
NEEDS = {
    "own_onnx": ["onnxruntime"],
    "own_graph": ["openvino"],
    "use_export": ["onnxruntime", "onnxscript"],
    "use_server": ["litserve", "python_multipart"],
    "use_interop": ["shap", "quantus"],
    "use_ray": ["ray"],
    "use_spark": ["pyspark"],
}
SLOW = ("use_export", "use_server", "use_interop", "use_ray", "use_spark")
FILES = {
    "own_text": {"explained/0.html", "explained/1.html", "explainer.ckpt"},
    "own_bands": {"explained/0.png", "explained/1.png", "runs/explainer/checkpoints/last.ckpt"},
    "own_graph": {"mine.xml", "mine.pt2", "explained.png"},
    "own_llm": {"explained.html"},
    "own_sound": {"explained.png", "classifier.safetensors"},
    "use_export": {"explainer.onnx", "explained.png"},
    "use_server": {"explained.png"},
    "use_demo": {"cat.png", "dog.png", "curve.png"},
    "use_interop": {"captum.png", "deeplift/0.png", "shap/1.png"},
    "use_ray": set(),
    "use_spark": {"explained/_SUCCESS"},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in EXAMPLES]
)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(DOCS / "examples")
    for package in NEEDS.get(name, []):
        imported = pytest.importorskip(package)
        if package == "ray":
            monkeypatch.setattr(imported, "init", patient(imported))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path(str(DOCS / "examples" / f"{name}.py"), run_name="__main__")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written >= FILES.get(name, {"explained/0.png", "explained/3.png", "explainer.ckpt"})
    assert capsys.readouterr().out.strip()


def test_every_example_is_shown_by_a_page_and_every_page_shows_one():
    shown = {
        name
        for page in DOCS.rglob("*.md")
        for name in re.findall(r'--8<-- "docs/examples/([\w.]+)"', page.read_text(encoding="utf-8"))
    }
    assert shown == {path.name for path in (DOCS / "examples").iterdir() if path.is_file()}


def test_the_server_has_the_size_that_its_page_says():
    code = (DOCS / "examples" / "own_server.py").read_text(encoding="utf-8")
    body = code[code.index("class Scores") : code.index("if __name__")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20
