"""Tables of results: plain text for the terminal, Markdown for files; every score with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = [
    "DIRECTIONS",
    "LEGEND",
    "Cell",
    "cells",
    "markdown_table",
    "pivot",
    "print_table",
    "text_table",
    "with_interval",
]

# Which way a score is better; the others are counts or have no direction.
DIRECTIONS = {
    "f1": "↑",
    "micro_f1": "↑",
    "macro_f1": "↑",
    "comprehensiveness": "↑",
    "sufficiency": "↓",
    "positive_auc": "↓",
    "negative_auc": "↑",
    "deletion": "↓",
    "insertion": "↑",
    "deletion_auc": "↓",
    "insertion_auc": "↑",
    "iou": "↑",
    "incorrect_iou": "↓",
    **{f"{name}_per_pixel": "↑" for name in ("insertion", "f1", "iou", "pointing_game")},
    "deletion_per_pixel": "↓",
    "pixel_accuracy": "↑",
    "mean_iou": "↑",
    "average_precision": "↑",
    "two_class_average_precision": "↑",
    "pointing_game": "↑",
    "precision": "↑",
    "recall": "↑",
    "saco": "↑",
    "infidelity": "↓",
    "sensitivity_max": "↓",
    "class_correlation": "↓",
}
COSTS = {"queries": "queries / input", "seconds": "seconds / input", "peak_mb": "peak MB"}
BEST, LEVEL, FEW = "★", "≈", "?"
LEGEND = f"{BEST} best of its column, {LEVEL} not different from it (paired bootstrap, 95 %), {FEW} too few to tell"
REQUIRED = ("method", "protocol", "metric", "value")


def with_interval(value: float, interval: Sequence[float] | None = None, *, sign: str = "") -> str:
    """A value and its interval to three decimals; by powers of ten where those would all be 0.

    Example:
        >>> with_interval(0.25, (0.2, 0.3)), with_interval(2.5e-5, (2e-5, 3e-5))
        ('0.250 [0.200, 0.300]', '2.50e-05 [2.00e-05, 3.00e-05]')
    """
    numbers = [float(number) for number in (value, *(interval or ()))]
    form = f"{sign}.2e" if 0 < max(map(abs, numbers)) < 1e-3 else f"{sign}.3f"
    first, *ends = (f"{number:{form}}" for number in numbers)
    return f"{first} [{', '.join(ends)}]" if ends else first


def _score(row: Mapping[str, Any]) -> str:
    value = row["value"]
    if value is None or math.isnan(value):
        return "–"
    text = with_interval(value, row.get("ci95"))
    if row.get("best") is None:
        return text
    if row["best"] == row["method"]:
        return f"{text} {BEST}"
    return {True: text, False: f"{text} {LEVEL}", None: f"{text} {FEW}"}[row["differs"]]


def _seconds(value: float) -> str:
    """Three digits, in ms below a second."""
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def _count(value: float) -> str:
    """Whole where it is whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _common(rows: Sequence[Mapping[str, Any]], key: str) -> set[Any]:
    return {row[key] for row in rows if row.get(key) is not None}


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number behind it, by which a table is sorted."""

    text: str
    number: float | None = None


def _cost(key: str, value: float) -> str:
    return {"seconds": _seconds, "peak_mb": lambda v: f"{v:,.3g}"}.get(key, _count)(value)


def _checked(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], dict[tuple[str, str, str], Mapping[str, Any]]]:
    """Rows with scores, and the same by method, protocol and metric."""
    if not rows:
        raise ValueError("A table needs at least one row of results, got none.")
    for row in rows:
        missing = [key for key in REQUIRED if key not in row]
        if missing:
            raise ValueError(f"A row of results has {sorted(row)} and lacks {missing}; expected at least {REQUIRED}.")
    scored = [row for row in rows if row.get("error") is None]
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in scored:
        key = (row["method"], row["protocol"], row["metric"])
        if key in found:
            raise ValueError(f"Got two results of {key[0]!r} for {key[2]!r} of protocol {key[1]!r}: give one.")
        found[key] = row
    return scored, found


def cells(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Cell]]]:
    """Rows of results -> header and lines: one line a method, one column a metric, in the order they come in.

    Args:
        rows: dicts with method, protocol, metric, value and, where known, ci95 (low, high), n, queries (an image),
            seconds (an image), peak_mb, best, differs. The protocol is named in the column, with n, or the least and
            the most n where its rows differ. A row with "error" says in its line why the method, or one protocol, has
            no scores.

    Raises:
        ValueError: no rows, a row without a needed key, or two rows for one cell.
    """
    scored, found = _checked(rows)
    metrics = list(dict.fromkeys((row["protocol"], row["metric"]) for row in scored))
    header = ["method"] if metrics else ["method", "result"]
    for protocol, metric in metrics:
        counts = _common([row for key, row in found.items() if key[1:] == (protocol, metric)], "n")
        size = f" (n = {'–'.join(f'{n:,}' for n in sorted({min(counts), max(counts)}))})" if counts else ""
        header.append(" ".join(filter(None, (protocol, metric.replace("_", " "), DIRECTIONS.get(metric)))) + size)
    costs = [key for key in COSTS if _common(scored, key)]
    header += [COSTS[key] for key in costs]
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in scored if row["method"] == method]
        line = [Cell(method)]
        for metric in metrics:
            row = found.get((method, *metric))
            line.append(Cell("") if row is None else Cell(_score(row), row["value"]))
        for key in costs:
            # Protocols score the same explanations, so a method has one cost; were they run apart, the largest is told.
            values = _common(own, key)
            line.append(Cell(_cost(key, max(values)), float(max(values))) if values else Cell("–" if own else ""))
        failed = [row for row in rows if row["method"] == method and row.get("error") is not None]
        if failed and not own:
            line[1:2] = [Cell(f"failed: {_short(failed[0]['error'])}")]
        lines.append(line)
    return header, lines


def _short(reason: str, longest: int = 100) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def pivot(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The texts of `cells`."""
    header, lines = cells(rows)
    return header, [[cell.text for cell in line] for line in lines]


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as of `pivot` -> a GitHub table, without a final line break."""
    header, lines = pivot(rows)
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in (header, align, *lines))


def text_table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Table:
    """Rows as of `pivot` -> a table that `rich` prints; intervals are 95 %."""
    header, lines = pivot(rows)
    table = Table(title=title, title_justify="left", caption=f"value [95 % interval]; {LEGEND}", caption_justify="left")
    for index, name in enumerate(header):
        table.add_column(escape(name), justify="right" if index else "left")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def print_table(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> None:
    """Prints `text_table` to standard output: as wide as the terminal, or as the table where it goes to a file."""
    console = Console()
    table = text_table(rows, title)
    if not console.is_terminal:
        console = Console(width=max(80, console.measure(table, options=console.options.update(width=1000)).maximum))
    console.print(table)
