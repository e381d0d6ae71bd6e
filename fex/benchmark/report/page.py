"""A benchmark's report as one self-contained page: sortable table, curves, every method on the same inputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from fex.benchmark.report.lines import failures, headline, legend, tables
from fex.benchmark.report.picture_grid import picture_rows
from fex.benchmark.report.text_grid import TextRow, text_blocks
from fex.report.page import render
from fex.report.svg import line_chart, pen
from fex.report.tables import Cell, cells
from fex.storage.atomic import replacing

__all__ = ["benchmark_page", "write_benchmark_page"]

TILE = 112  # pixels a side of a picture
ORDERS = {"positive_curve": "most important first", "negative_curve": "least important first"}


def _plain(lines: Sequence[Sequence[str]]) -> list[list[Cell]]:
    return [[Cell(text, _number(text)) for text in line] for line in lines]


def _number(text: str) -> float | None:
    """What a cell is sorted by: the number, or that before an interval; the best differs by 0 from itself."""
    try:
        return 0.0 if text == "best" else float(text.partition(" [")[0].replace(",", ""))
    except ValueError:
        return None


def _charts(curves: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[str]:
    charts = []
    for protocol, curve in dict.fromkeys((entry["protocol"], entry["curve"]) for entry in curves):
        own = {e["method"]: e for e in curves if (e["protocol"], e["curve"]) == (protocol, curve)}
        first = next(iter(own.values()))
        empty = [None] * len(first["x"])
        series = {name: own[name]["mean"] if name in own else empty for name in methods}  # same colours in all charts
        title = f"{protocol}: {ORDERS.get(curve, curve.replace('_', ' '))}"
        charts.append(line_chart(series, first["x"], title=title, x_label=first["x_name"], y_label=first["y_name"]))
    return charts


def benchmark_page(
    report: Mapping[str, Any],
    *,
    images: Sequence[ArrayLike] = (),
    titles: Sequence[str] = (),
    maps: Mapping[str, Sequence[ArrayLike]] | None = None,
    texts: Sequence[TextRow] = (),
) -> str:
    """HTML of a whole report.

    Args:
        report: as of `fex.benchmark.summary.summarise`, with `black_box`, `data`, `seed`, `versions`.
        images: the first inputs (3, H, W), RGB in [0, 1].
        titles: one an image.
        maps: by method, one map (h, w) an image.
        texts: the first inputs where they are texts, each with its explanation by every method.

    Raises:
        ValueError: numbers of images, titles and maps that do not agree.
    """
    maps = maps or {}
    if len(images) != len(titles) or any(len(values) != len(images) for values in maps.values()):
        counts = {name: len(values) for name, values in maps.items()}
        raise ValueError(f"Got {len(images)} images, {len(titles)} titles and maps {counts}, expected as many of each.")
    methods = list(dict.fromkeys(row["method"] for row in report["rows"] if row["value"] is not None))
    return render(
        "benchmark/report/templates/report.html", title=f"Explainers of {report['black_box']}", report=report,
        headline=headline(report), scores=cells(report["rows"]) if report["rows"] else None, legend=legend(report),
        failures=failures(report), tables=[(each, _plain(each.lines)) for each in tables(report)],
        charts=_charts(report["curves"], methods), pens=[(name, *pen(index)) for index, name in enumerate(methods)],
        titles=titles, pictures=picture_rows(images, maps, TILE) if len(images) else (), texts=text_blocks(texts),
    )  # fmt: skip


def write_benchmark_page(path: str | Path, report: Mapping[str, Any], **inputs: Any) -> None:
    """Writes `benchmark_page`; the file appears whole or not at all."""
    page = benchmark_page(report, **inputs)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
