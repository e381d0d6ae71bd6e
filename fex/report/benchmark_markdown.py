"""A benchmark's report as Markdown: tables with intervals, differences, costs, what failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from fex.report.tables import LEGEND, markdown_table, with_interval

__all__ = ["cost_lines", "failures", "markdown_report", "matrix_lines"]


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in (header, align, *lines))


def _interval(value: float | None, ci95: Sequence[float | None]) -> str:
    if value is None or None in ci95:
        return "–"
    return with_interval(value, ci95, sign="+")  # type: ignore[arg-type]


def failures(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What has no scores, and why: (method, or method and protocol; reason)."""
    return [
        (row["method"] if row["protocol"] is None else f"{row['method']}, protocol {row['protocol']}", row["error"])
        for row in report["rows"]
        if row.get("error") is not None
    ]


def matrix_lines(report: Mapping[str, Any]) -> dict[tuple[str, str], tuple[list[str], list[list[str]]]]:
    """Explainers by their own fill x fill of the evaluation, by (protocol, metric): header and lines."""
    found: dict[tuple[str, str], tuple[list[str], list[list[str]]]] = {}
    for key in dict.fromkeys((entry["protocol"], entry["metric"]) for entry in report["removal_matrix"]):
        entries = [entry for entry in report["removal_matrix"] if (entry["protocol"], entry["metric"]) == key]
        fills = list(dict.fromkeys(entry["evaluation_removal"] for entry in entries))
        methods = list(dict.fromkeys((entry["method"], entry["explainer_removal"]) for entry in entries))
        values = {(entry["method"], entry["evaluation_removal"]): entry["value"] for entry in entries}
        lines = [
            [
                method,
                own or "–",
                *(f"{v:.3f}" if (v := values.get((method, fill))) is not None else "" for fill in fills),
            ]
            for method, own in methods
        ]
        found[key] = (["method", "its own removal", *(f"evaluated with {fill}" for fill in fills)], lines)
    return found


def cost_lines(report: Mapping[str, Any]) -> list[list[str]]:
    """Method, training queries, training seconds, break-even in queries, break-even in seconds."""
    lines = {}
    kinds = ("queries", "seconds")
    for row in report["rows"]:
        if row.get("training"):
            spent, pays = row["training"], row.get("break_even") or {}
            lines[row["method"]] = [
                row["method"],
                *(f"{spent[what]:,.0f}" if what in spent else "–" for what in kinds),
                *(("never" if pays[what] is None else f"{pays[what]:,}") if what in pays else "–" for what in kinds),
            ]
    return list(lines.values())


def markdown_report(report: Mapping[str, Any], show: Sequence[str] | None = None) -> str:
    """The whole report, as of `fex.benchmark.summary.summarise` with `black_box`, `data`, `seed`, `versions`.

    Args:
        report: plain data.
        show: metrics of the first table; by default all.
    """
    shown = [row for row in report["rows"] if show is None or row["metric"] in show or row["metric"] is None]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    parts = [f"# {report['black_box']}", f"Data: {report['data']}; seed {report['seed']}; {versions}."]
    parts += [f"**Warning.** {warning}" for warning in report["warnings"]]
    if shown:
        parts += [markdown_table(shown), f"Value [95 % interval]; {LEGEND}."]
    if errors := failures(report):
        parts += ["## Without scores", "\n".join(f"- {name}: {' '.join(why.split())}" for name, why in errors)]
    if report["differences"]:
        lines = [
            [f"{d['a']} − {d['b']}", f"{d['protocol']} {d['metric'].replace('_', ' ')}",
             _interval(d["difference"], d["ci95"]), f"{d['n']:,}"]
            for d in report["differences"]
            if show is None or d["metric"] in show
        ]  # fmt: skip
        parts += ["## Paired differences", _table(["paired difference", "metric", "value [95 % interval]", "n"], lines)]
    if lines := cost_lines(report):
        header = ["method", "training queries", "training seconds", "pays after (queries)", "pays after (seconds)"]
        against = report["break_even_against"]
        parts += ["## What training cost", _table(header, lines)]
        if against is not None:
            parts.append(f"Pays after: explanations until training and explaining cost no more than {against}.")
    for (protocol, metric), (header, lines) in matrix_lines(report).items():
        parts += [f"## Removal of training × of evaluation: {protocol} {metric.replace('_', ' ')}"]
        parts.append(_table(header, lines))
    return "\n\n".join(parts) + "\n"
