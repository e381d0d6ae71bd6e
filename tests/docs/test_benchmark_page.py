"""The Python example of the benchmark's page runs as it stands."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def example(page):
    """The one Python block of a page."""
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return block


@pytest.mark.filterwarnings("ignore")
def test_quantus_scores_a_method_through_explain_func():
    pytest.importorskip("quantus")
    found = {}
    exec(compile(example("benchmark.md"), "docs/benchmark.md", "exec"), found)
    assert len(found["scores"]) == 2
    assert found["box"].queries > 2 * 100  # RISE's, and what the metric asked


def test_the_example_without_quantus():
    """What the page hands to `explain_func` and `model` has the shapes that it says."""
    found = {}
    code, call = example("benchmark.md").replace("import quantus\n", "").split("metric = ")
    assert "explain_func=explain" in call
    exec(compile(code, "docs/benchmark.md", "exec"), found)
    x, y = found["x"], found["y"]
    assert found["explain"](None, x.numpy(), y.numpy()).shape == (2, 1, 32, 32)
    assert found["model"](x).shape == (2, 10)
