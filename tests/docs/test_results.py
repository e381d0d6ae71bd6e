"""Tables of results and the JSON files that they are made from: no page differs from its file."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from fex.report.tables import LEGEND

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("make_results", ROOT / "docs" / "make_results.py")
make_results = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_results)

PAGE = "# A page\n\n<!-- results: mine -->\n<!-- /results -->\n\nafter\n"


def written(folder, name="mine", **changes):
    data = {"title": "t", "command": "fex-bench run", "commit": "abc", "date": "2026-01-02", "machine": "two cores",
            "n": 1000, "columns": ["method", {"name": "auc ↓"}, {"name": "time", "form": "seconds"}],
            "rows": [["FEX", {"value": 0.25, "low": 0.2, "high": 0.3, "after": "★"}, 0.0016],
                     ["RISE", {"value": 0.5, "low": 0.4, "high": 0.6}, 2.5]]} | changes  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(data))


def test_no_page_differs_from_its_json_and_every_json_is_shown(capsys):
    assert make_results.main(["--check"]) == 0, capsys.readouterr()


def sentences(page):
    """A page without its code, its tables from JSON, its figures from JSON, and where its links lead."""
    text = page.read_text(encoding="utf-8")
    for kind in (make_results.BLOCK, make_results.FIGURE, r"(?s)```.*?```", r"`[^`\n]*`", r"\]\([^)]*\)"):
        text = re.sub(kind, "", text)
    return text


@pytest.mark.parametrize("page", make_results.pages(), ids=lambda page: page.name)
def test_no_measured_figure_is_typed(page):
    """Intervals, scores with three decimals, and durations; versions, settings and shares that were chosen may be."""
    typed = [r"\d ?± ?\d", r"\d \[[+−]?\d", r"\b0\.\d{3}(?! … )", r"\d (minutes|s|ms|hours)\b"]
    found = [hit[0] for kind in typed for hit in re.finditer(f".{{0,30}}{kind}", sentences(page))]
    assert found == [], "a figure that was measured comes from docs/results: <!-- figure: NAME KEY --><!-- /figure -->"


def test_a_figure_in_a_sentence_is_filled(tmp_path):
    written(tmp_path, figures={"gain": {"value": 0.1, "low": -0.05, "high": 0.2, "signed": True}, "time": "9 minutes"})
    page = "by <!-- figure: mine gain -->?<!-- /figure --> in <!-- figure: mine time --><!-- /figure -->."
    shown = make_results.filled(page, tmp_path)
    assert "-->+0.100 [−0.050, +0.200]<!--" in shown
    assert "-->9 minutes<!--" in shown
    assert make_results.figure("mine", "FEX / auc ↓", tmp_path) == "0.250 [0.200, 0.300]"
    with pytest.raises(ValueError, match="mine has 0 figures 'loss'; it has gain, time"):
        make_results.figure("mine", "loss", tmp_path)
    assert make_results.figure("agreement", "fex_vit_cifar10").endswith(" %")


def test_paired_differences_are_those_of_the_report(tmp_path):
    fact = {"a": "FEX", "protocol": "fex", "n": 100, "differs": True}
    differences = [
        {**fact, "b": "RISE", "metric": "positive_auc", "difference": -0.026, "ci95": [-0.053, 0.01]},
        {**fact, "b": "RISE", "metric": "negative_auc", "difference": 0.1, "ci95": [0.05, 0.15]},
        {**fact, "b": "Random", "metric": "negative_auc", "difference": 0.2, "ci95": [0.1, 0.3], "n": 90},
    ]
    written(tmp_path, differences=differences)
    shown = make_results.block("mine-paired", tmp_path)
    assert "| paired difference | positive auc | negative auc |" in shown
    assert "| FEX − RISE | −0.026 [−0.053, +0.010] | +0.100 [+0.050, +0.150] |" in shown
    assert "| FEX − Random |  | +0.200 [+0.100, +0.300] |" in shown
    assert "n = 90 to 100" in shown
    assert make_results.figure("mine-paired", "FEX − RISE / negative auc", tmp_path) == "+0.100 [+0.050, +0.150]"
    differences[2]["protocol"] = "seg"
    written(tmp_path, differences=differences)
    assert "| fex positive auc | fex negative auc | seg negative auc |" in make_results.block("mine-paired", tmp_path)
    with pytest.raises(ValueError, match="asks for the results other-paired"):
        make_results.read("other-paired", tmp_path)


def test_links_of_the_pages_lead_somewhere():
    for page in (ROOT / "docs" / "results").glob("*.md"):
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link.partition("#")[0]).is_file(), (page.name, link)


def test_every_file_says_where_it_comes_from():
    for path in (ROOT / "docs" / "results").glob("*.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        assert {"title", "rows", "commit", "machine"} <= set(data) or {"title", "figures", "origin"} <= set(data), (
            path.name
        )
        if data.get("commit") and path.name != "overview.json":  # which takes its rows from the others
            assert re.match(r"\d{4}-\d\d-\d\d", data["date"] or ""), path.name
        if "stale" in data:
            assert set(data["stale"]["rows"]) <= {
                row["method"] if isinstance(row, dict) else row[0] for row in data["rows"]
            }, path.name


def test_a_page_is_filled_and_a_change_of_either_is_seen(tmp_path):
    written(tmp_path)
    page = make_results.filled(PAGE, tmp_path)
    assert "| FEX | 0.250 [0.200, 0.300] ★ | 1.6 ms |\n| RISE | 0.500 [0.400, 0.600] | 2.5 s |" in page
    assert "*n = 1,000 · two cores · commit abc · 2026-01-02*\n\n```bash\nfex-bench run\n```" in page
    assert page.startswith("# A page\n")
    assert page.endswith("after\n")
    assert make_results.filled(page, tmp_path) == page
    assert make_results.filled(page.replace("0.250", "0.150"), tmp_path) == page
    written(tmp_path, rows=[["FEX", 0.1, 0.0016]])
    assert make_results.filled(page, tmp_path) != page


@pytest.mark.parametrize(
    ("cell", "column", "text"),
    [
        (0.25, {}, "0.250"),
        (1000, {"decimals": 0}, "1,000"),
        (-0.25, {"signed": True}, "−0.250"),
        ({"value": 0.1, "half_width": 0.02, "decimals": 2}, {}, "0.10 ± 0.02"),
        ({"value": 31.9, "sd": 12.9, "after": "ᵃ"}, {"decimals": 1}, "31.9 (12.9) ᵃ"),
        ({"value": 3.9, "unit": "%", "decimals": 1}, {}, "3.9 %"),
        ([0.1, 0.2], {"decimals": 1}, "0.1 · 0.2"),
        ({"all": [1, 2], "by": " / ", "bold": True}, {"decimals": 0}, "**1 / 2**"),
        (0.00538, {"form": "mb"}, "0.00538"),
        ("not run", {}, "not run"),
        (None, {}, ""),
    ],
)
def test_a_cell(cell, column, text):
    assert make_results.shown(cell, column) == text


def test_stale_rows_are_marked_and_the_mark_is_explained(tmp_path):
    written(tmp_path, stale={"rows": ["RISE"], "why": "Measured before."})
    assert "| RISE † | 0.5" in make_results.block("mine", tmp_path)
    assert "† Measured before." in make_results.block("mine", tmp_path)


def test_a_choice_takes_its_numbers_from_other_files(tmp_path):
    written(tmp_path, "one", stale={"rows": ["RISE"], "why": "Measured before."})
    written(tmp_path, "two", rows=[["FEX", 0.75, 1], ["Random", 0.5, 1]])
    columns = [{"file": "one", "column": "auc", "name": "A"}, {"file": "two", "column": "auc", "name": "B"}]
    rows = [{"name": "FEX"}, {"name": "another", "as": {"one": "RISE", "two": "Random"}}, {"name": "RISE"}]
    (tmp_path / "mine.json").write_text(json.dumps({"first": "method", "from": columns, "rows": rows}))
    shown = make_results.block("mine", tmp_path)
    assert "| FEX | 0.250 [0.200, 0.300] | 0.750 |" in shown  # its ★ compares it with rows that are left out
    assert "| another | 0.500 [0.400, 0.600] † | 0.500 |" in shown
    assert "| RISE | 0.500 [0.400, 0.600] † | – |" in shown
    assert "† Measured before." in shown


def test_a_report_of_the_benchmark_takes_the_place_of_a_transcribed_table(tmp_path):
    written(tmp_path)
    rows = [
        {"method": name, "protocol": "fex", "metric": "positive_auc", "value": value, "ci95": [value, value],
         "n": 8, "queries": 0, "seconds": 0.002, "peak_mb": None, "best": "FEX", "to_best": 0.0, "differs": False}
        for name, value in (("FEX", 0.25), ("Random", 0.5))
    ]  # fmt: skip
    report = {"rows": rows, "black_box": "box", "data": "d", "seed": 0, "device": "cpu", "threads": 2,
              "versions": {"torch": "2"}, "curves": [1] * 1000, "differences": []}  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps(report))
    make_results.keep(tmp_path / "report.json", "mine", {"command": "fex-bench run --config x", "n": 8}, tmp_path)
    kept = json.loads((tmp_path / "mine.json").read_text())
    assert kept["title"] == "t"
    assert kept["machine"] == "cpu, 2 threads"
    assert "curves" not in kept
    page = make_results.filled(PAGE, tmp_path)
    assert "| method | fex positive auc ↓ (n = 8) | queries / input | seconds / input |" in page
    assert "| FEX | 0.250 [0.250, 0.250] ★ | 0 | 2 ms |" in page
    assert f"{LEGEND.split(', ?')[0]}." in page
    assert "fex-bench run --config x" in page


def test_what_cannot_be_shown_is_refused(tmp_path):
    with pytest.raises(ValueError, match="asks for the results mine, but there is no"):
        make_results.filled(PAGE, tmp_path)
    written(tmp_path, rows=[["FEX", 1]])
    with pytest.raises(ValueError, match="a row has 2 cells, expected 3"):
        make_results.filled(PAGE, tmp_path)


def test_no_picture_of_queries_is_older_than_its_json():
    spec = importlib.util.spec_from_file_location("make_queries", ROOT / "docs" / "make_queries.py")
    make_queries = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_queries)
    for path in (ROOT / "docs" / "results").glob("queries-*.json"):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        assert make_queries.digest(rows) in (ROOT / "docs" / "pictures" / f"{path.stem}.svg").read_text(
            encoding="utf-8"
        )
