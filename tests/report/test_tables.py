import math

import pytest
from rich.console import Console

from fex.report.tables import markdown_table, pivot, print_table, text_table


def rows():
    common = {"protocol": "fex", "n": 5000, "queries": 0, "seconds": 0.0123}
    return [
        {"method": "FEX", "metric": "positive_auc", "value": 0.27749, "ci95": [0.27, 0.285], **common},
        {"method": "FEX", "metric": "negative_auc", "value": 0.78, "ci95": [0.77, 0.79], **common},
        {**common, "method": "RISE [100]", "metric": "positive_auc", "value": 0.3, "queries": 1234567, "seconds": 2.5},
        {"method": "FEX", "protocol": "seg", "metric": "pointing_game", "value": math.nan, "ci95": [math.nan] * 2},
    ]


def test_one_line_a_method_one_column_a_metric():
    header, lines = pivot(rows())
    assert header == [
        "method", "fex positive auc ↓ (n = 5,000)", "fex negative auc ↑ (n = 5,000)", "seg pointing game ↑",
        "queries / input", "seconds / input",
    ]  # fmt: skip
    assert lines == [
        ["FEX", "0.277 [0.270, 0.285]", "0.780 [0.770, 0.790]", "–", "0", "12.3 ms"],
        ["RISE [100]", "0.300", "", "", "1,234,567", "2.5 s"],
    ]


def test_counts_that_differ_are_told_by_the_least_and_the_most():
    first, second, third, _ = rows()
    header, _ = pivot([first, second, {**third, "n": 10}])
    assert header[1] == "fex positive auc ↓ (n = 10–5,000)"


def test_markdown_is_a_table():
    lines = markdown_table([{**rows()[0], "method": "a|b"}]).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[2].startswith("| a\\|b | 0.277 [0.270, 0.285] |")
    assert len(lines) == 3


def test_text_keeps_brackets_and_prints_wide_to_files(capsys):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(text_table(rows(), "Results"))
    text = console.export_text()
    assert "0.277 [0.270, 0.285]" in text
    assert "RISE [100]" in text
    print_table(rows(), title="Results")
    assert "0.277 [0.270, 0.285]" in capsys.readouterr().out


def test_memory_and_significance_are_shown():
    first, _, third, _ = rows()
    better = {"best": "FEX", "differs": False}
    header, lines = pivot([{**first, **better, "peak_mb": 3.14159}, {**third, "best": "FEX", "differs": False}])
    assert header[-1] == "peak MB"
    assert [line[1] for line in lines] == ["0.277 [0.270, 0.285] ★", "0.300 ≈"]
    assert lines[0][-1] == "3.14"
    assert pivot([{**third, "best": "FEX", "differs": True}])[1][0][1] == "0.300"
    assert pivot([{**third, "best": "FEX", "differs": None}])[1][0][1] == "0.300 ?"


def test_what_failed_has_a_line():
    error = {"method": "Gone", "protocol": None, "metric": None, "value": None, "error": "OSError: " + "x" * 200}
    header, lines = pivot([rows()[0], error])
    assert lines[1][0] == "Gone"
    assert lines[1][1].startswith("failed: OSError: xxx")
    assert lines[1][1].endswith("…")
    assert pivot([error])[0] == ["method", "result"]


def test_errors():
    with pytest.raises(ValueError, match="at least one row"):
        pivot([])
    with pytest.raises(ValueError, match=r"lacks \['protocol', 'metric'\]"):
        pivot([{"method": "FEX", "value": 1}])
    with pytest.raises(ValueError, match=r"two results of 'FEX' for 'positive_auc' of protocol 'fex'"):
        pivot([rows()[0], rows()[0]])
