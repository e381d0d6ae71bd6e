"""The tables of a benchmark's report beside that of the scores, as lines of texts, for Markdown and the page alike."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fex.report.tables import DIRECTIONS, FEW, LEGEND, with_interval

__all__ = ["Lines", "failures", "headline", "legend", "tables"]


_FEW = f"{FEW} too few instances to tell"


class Lines(NamedTuple):
    """A table.

    Attributes:
        title: over it.
        header: of its columns.
        lines: texts, one a column.
        note: under it, or "".
    """

    title: str
    header: list[str]
    lines: list[list[str]]
    note: str = ""


def headline(report: Mapping[str, Any]) -> str:
    """Data, seed, machine and versions."""
    machine = f"device {report['device']}, " if "device" in report else ""
    machine += f"{report['threads']} threads, " if report.get("device") == "cpu" else ""
    machine += f"black box compiled by {report['compiler']}, " if report.get("compiler") else ""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return f"Data: {report['data']}; seed {report['seed']}; {machine}{versions}."


def legend(report: Mapping[str, Any]) -> str:
    """What the signs in the table of the scores mean."""
    peaks = [row.get("peak_mb") for row in _scored(report)]
    unknown = any(peak is None for peak in peaks) and any(peak is not None for peak in peaks)
    slow = " Peak MB –: not measured, as an explanation takes more than five seconds on the CPU." if unknown else ""
    return f"Value [95 % interval]; {LEGEND}.{slow}"


def failures(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What has no scores, and why: (method, or method and protocol; reason)."""
    return [
        (row["method"] if row["protocol"] is None else f"{row['method']}, protocol {row['protocol']}", row["error"])
        for row in report["rows"]
        if row.get("error") is not None
    ]


def tables(report: Mapping[str, Any]) -> list[Lines]:
    """All that have lines, in their order.

    Args:
        report: as of `fex.benchmark.summary.summarise`.
    """
    found = [_protocols(report), _to_best(report), _differences(report), _costs(report), *_matrices(report)]
    return [each for each in found if each.lines]


def _metric(entry: Mapping[str, Any]) -> str:
    return f"{entry['protocol']} {entry['metric'].replace('_', ' ')}"


def _interval(value: float | None, ci95: Sequence[float | None]) -> str:
    if value is None or None in ci95:
        return "–"
    return with_interval(value, ci95, sign="+")  # type: ignore[arg-type]


def _mark(difference: Mapping[str, Any]) -> str:
    return f" {FEW}" if difference.get("differs", False) is None else ""


def _scored(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in report["rows"] if row["metric"] is not None]


def _protocols(report: Mapping[str, Any]) -> Lines:
    """What each protocol puts in the place of what it removes, and what it costs."""
    found: dict[str, list[str]] = {}
    for row in _scored(report):
        spent = row.get("evaluation_queries")
        found[row["protocol"]] = [
            row["protocol"],
            row.get("removal", "-").replace("-", "–"),
            row.get("unit", "-").replace("-", "–"),
            "–" if spent is None else f"{spent:,.0f}",
        ]
    header = ["protocol", "removal", "unit", "its own queries / input"]
    return Lines("What was scored", header, list(found.values()))


def _to_best(report: Mapping[str, Any]) -> Lines:
    """Each method's difference to the best of each column."""
    rows = [row for row in _scored(report) if row.get("best") is not None and "to_best_ci95" in row]
    columns = list(dict.fromkeys((row["protocol"], row["metric"]) for row in rows))
    cells = {
        (row["method"], row["protocol"], row["metric"]): "best"
        if row["best"] == row["method"]
        else _interval(row["to_best"], row["to_best_ci95"]) + _mark(row)
        for row in rows
    }
    header = [
        "method",
        *(f"{_metric({'protocol': p, 'metric': m})} {DIRECTIONS.get(m, '')}".strip() for p, m in columns),
    ]
    lines = [
        [method, *(cells.get((method, *column), "") for column in columns)]
        for method in dict.fromkeys(row["method"] for row in rows)
    ]
    note = (
        f"Value minus the best's [95 % interval of the paired difference]: different only where it excludes 0; {_FEW}."
    )
    return Lines("Difference to the best", header, lines, note)


def _differences(report: Mapping[str, Any]) -> Lines:
    """The first method against each other one."""
    lines = [
        [f"{d['a']} − {d['b']}", _metric(d), _interval(d["difference"], d["ci95"]) + _mark(d), f"{d['n']:,}"]
        for d in report["differences"]
    ]
    header = ["paired difference", "metric", "value [95 % interval]", "n"]
    return Lines("Paired differences", header, lines, f"{_FEW}." if any(FEW in line[2] for line in lines) else "")


def _costs(report: Mapping[str, Any]) -> Lines:
    """Training, and when it has paid for itself."""
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
    header = ["method", "training queries", "training seconds", "pays after (queries)", "pays after (seconds)"]
    against = report["break_even_against"]
    note = (
        "Pays after: unknown, as no RISE was scored; name another method by --reference."
        if against is None
        else f"Pays after: explanations until training and explaining cost no more than {against}."
    )
    return Lines("What training cost", header, list(lines.values()), note)


def _matrices(report: Mapping[str, Any]) -> list[Lines]:
    """Explainers by their own fill × fill of the evaluation, for each protocol and metric."""
    found = []
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
        header = ["method", "its own removal", *(f"evaluated with {fill}" for fill in fills)]
        found.append(Lines(f"Removal of training × of evaluation: {_metric(entries[0])}", header, lines))
    return found
