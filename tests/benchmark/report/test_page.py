"""Forms of a benchmark's report: numbers are where they belong, nothing comes from elsewhere, nothing is executed."""

import re
import xml.etree.ElementTree as ET

import pytest
import torch

from fex.benchmark.report.markdown import markdown_report
from fex.benchmark.report.page import benchmark_page
from fex.report.svg import line_chart


def row(method, value, **more):
    common = {
        "protocol": "fex", "metric": "positive_auc", "n": 9, "queries": 100.0, "seconds": 0.01, "peak_mb": 12.5,
        "removal": "mean", "explainer_removal": "mean", "training": None, "break_even": None, "best": "A & <b>",
    }  # fmt: skip
    return {"method": method, "value": value, "ci95": [value - 0.1, value + 0.1], "differs": False, **common, **more}


def report(**changes):
    curve = {
        "protocol": "fex",
        "curve": "positive_curve",
        "y_name": "agreement",
        "x_name": "share removed",
        "x": [0.0, 0.5],
    }
    matrix = {"protocol": "fex", "metric": "positive_auc", "explainer_removal": "mean", "ci95": [0, 1]}
    return {
        "rows": [
            row("A & <b>", 0.2, training={"queries": 5000.0}, break_even={"queries": 50}),
            row("B", 0.3, differs=True),
            row("C", 0.21),
            {"method": "D", "protocol": None, "metric": None, "value": None, "n": 0,
             "error": "OSError: <gone>\nat all"},
        ],
        "differences": [
            {"a": "A & <b>", "b": "B", "protocol": "fex", "metric": "positive_auc", "difference": -0.1,
             "ci95": [-0.15, -0.05], "n": 100}
        ],
        "curves": [{"method": name, "mean": [1.0, 0.25], **curve} for name in ("A & <b>", "B")],
        "removal_matrix": [
            {"method": name, "evaluation_removal": fill, "value": value, **matrix}
            for name, fill, value in (("B", "mean", 0.3), ("B", "blur", 0.4))
        ],
        "break_even_against": "B", "warnings": ["the grid is biased"], "black_box": "box", "data": "d", "seed": 0,
        "versions": {"torch": "2"},
    } | changes  # fmt: skip


def test_markdown_says_it_all():
    text = markdown_report(report())
    assert "| A & <b> | 0.200 [0.100, 0.300] ★ | 100 | 10 ms | 12.5 |" in text
    assert "| B | 0.300 [0.200, 0.400] | " in text
    assert "| C | 0.210 [0.110, 0.310] ≈ | " in text
    assert "| D | failed: OSError: <gone> at all |" in text
    assert "- D: OSError: <gone> at all" in text
    assert "| A & <b> − B | fex positive auc | -0.100 [-0.150, -0.050] | 100 |" in text
    assert "| A & <b> | 5,000 | – | 50 | – |" in text
    never = report()
    never["rows"][0]["break_even"] = {"queries": None}
    assert "| A & <b> | 5,000 | – | never | – |" in markdown_report(never)
    assert "| B | mean | 0.300 | 0.400 |" in text
    assert "**Warning.** the grid is biased" in text


def test_what_was_scored_and_the_differences_to_the_best_are_in_both_forms():
    rows = [
        row("A", 0.2, best="A", to_best=0.0, to_best_ci95=[0.0, 0.0], unit="8x8 patches", evaluation_queries=19.0),
        row("B", 0.3, best="A", to_best=0.1, to_best_ci95=[0.05, 0.15], differs=True, unit="8x8 patches",
            evaluation_queries=19.0, peak_mb=None, training={"queries": 10.0}),
    ]  # fmt: skip
    full = report(rows=rows, device="cpu", threads=2, break_even_against=None)
    text, page = markdown_report(full), benchmark_page(full)
    assert "seed 0; device cpu, 2 threads, torch 2." in text
    assert "| fex | mean | 8x8 patches | 19 |" in text
    assert "| B | +0.100 [+0.050, +0.150] |" in text
    assert "| B | 0.300 [0.200, 0.400] | 100 | 10 ms | – |" in text
    assert "Peak MB –: not measured" in text
    assert "Pays after: unknown, as no RISE was scored" in text
    assert '<td data-v="0.0">best</td>' in page
    assert '<td data-v="0.1">+0.100 [+0.050, +0.150]</td>' in page
    assert "<h2>Paired differences</h2>" in page
    assert "Peak MB –: not measured" not in markdown_report(report())


def test_page_is_sortable_self_contained_and_escaped():
    page = benchmark_page(report(), images=[torch.rand(3, 8, 8)], titles=["#0 <i>"], maps={"B": [torch.rand(4, 4)]})
    assert "<b>" not in page.replace("&lt;b&gt;", "")
    assert "<i>" not in page
    assert "<gone>" not in page
    assert 'data-v="0.2"' in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/jpeg") == 2
    assert page.count("<polyline") == 2 + 1  # C has no curve, and keeps its place among the colours
    with pytest.raises(ValueError, match=r"Got 1 images, 0 titles and maps \{\}, expected as many of each"):
        benchmark_page(report(), images=[torch.rand(3, 8, 8)])


def test_figures_over_counts_have_an_axis_of_counts():
    """Figure 3 of the paper: F1 over the number of tokens that came back."""
    curve = {"protocol": "text-insertion", "curve": "f1", "y_name": "F1", "x_name": "tokens inserted"}
    lines = [{"method": name, "x": [1, 2, 20], "mean": [0.5, 0.75, 1.0], **curve} for name in ("A & <b>", "B")]
    page = benchmark_page(report(curves=lines))
    assert "text-insertion: f1" in page
    assert ">tokens inserted</text>" in page
    assert ">F1</text>" in page
    assert {f">{tick}</text>" for tick in (0, 4, 8, 12, 16, 20)} <= set(re.findall(r">\d+</text>", page))
    chart = re.search(r'<svg viewBox="0 0 460.*?</svg>', page, re.DOTALL).group()
    (first, *_, last), _ = (
        [float(point.split(",")[0]) for point in e.attrib["points"].split()]
        for e in ET.fromstring(chart).iter()
        if e.tag.endswith("polyline") and e.attrib["points"]
    )
    left, right = (float(x) for x in re.search(r'd="M([\d.]+) [\d.]+H([\d.]+)"', chart).groups())
    assert last == pytest.approx(right, abs=0.1)
    assert first == pytest.approx(left + (right - left) / 20, abs=0.1)


def test_lines_go_through_their_points():
    svg = line_chart({"a": [0.0, 1.0], "b": [None, 0.5]}, [0.0, 1.0], title="T", x_label="x", y_label="y")
    lines = [e.attrib["points"] for e in ET.fromstring(svg).iter() if e.tag.endswith("polyline")]
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in lines[0].split())
    assert x0 < x1
    assert y0 > y1
    assert lines[1] == f"{x1},{(y0 + y1) / 2:.1f}"
    with pytest.raises(ValueError, match="Series 'a' has 1 values for 2 positions"):
        line_chart({"a": [1.0]}, [0.0, 1.0], title="", x_label="", y_label="")
