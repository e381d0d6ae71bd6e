"""The table of many GPUs is the one that its parts give."""

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("make_scale", DOCS / "make_scale.py")
make_scale = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_scale)
PARTS = {
    name: value["value"] for name, value, *_ in json.loads((DOCS / "results/scale-parts.json").read_text())["rows"]
}


def test_the_table_is_the_one_of_the_parts():
    assert make_scale.main(["--check"]) == 0, "run python docs/make_scale.py, then docs/make_results.py"


@pytest.mark.parametrize(
    ("changed", "gpus", "bound"),
    [
        ({}, 8, "box"),
        ({"cores": 1}, 8, "decode"),
        ({"masks": 1}, 8, "explainer"),
        ({"link between nodes": 1}, 64, "network"),
    ],
)
def test_what_bounds_a_step(changed, gpus, bound):
    assert make_scale.row({**PARTS, **changed}, gpus)[6] == bound


def test_a_step_by_hand():
    parts = {**PARTS, "batch": 10, "forward": 100, "masks": 4, "noise": 0, "decode": 0, "images": 60_000}
    _, _, box, explainer, network, step, _, minutes = make_scale.row(parts, 1)
    assert (box, explainer, network, step) == (5, 3, 0, 8)
    assert minutes == pytest.approx(60_000 / 10 * 0.008 / 60)
