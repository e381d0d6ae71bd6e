"""A benchmark's report as one self-contained page: sortable table, curves, every method on the same inputs."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from PIL import Image

from fex.benchmark.report.lines import failures, headline, legend, tables
from fex.benchmark.report.picture_grid import picture_rows
from fex.benchmark.report.text_grid import TEXT_GRID_STYLE, TextRow, text_grid
from fex.report.page import PAGE_START, data_uri
from fex.report.svg import DASHES, PALETTE, line_chart
from fex.report.tables import Cell, cells
from fex.storage.atomic import replacing

__all__ = ["benchmark_page", "write_benchmark_page"]

TILE = 112  # pixels a side of a picture
ORDERS = {"positive_curve": "most important first", "negative_curve": "least important first"}

_HEAD = (
    PAGE_START
    + """h2 {{ font-size: 1.05rem; margin: 1.6rem 0 .4rem }}
p, li {{ color: var(--faint); margin: .3rem 0 }} .warning {{ color: #d55e00 }} .wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: var(--paper) }}
th {{ font-weight: 500; color: var(--faint); vertical-align: bottom }}
button {{ font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit }}
.charts {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)) }}
svg {{ width: 100%; background: var(--card); border-radius: .5rem }} svg text {{ font-size: 11px; fill: var(--faint) }}
svg .t {{ font-size: 13px; fill: var(--ink) }} svg .g {{ stroke: var(--line) }}
svg .l {{ fill: none; stroke-width: 2 }} svg .l:hover {{ stroke-width: 5 }}
.key {{ display: flex; flex-wrap: wrap; gap: .2rem 1rem }} .key svg {{ width: 2rem; height: .8rem; background: none }}
.grid td, .grid th {{ border: 0; padding: .15rem; text-align: center }}
.grid img {{ display: block; border-radius: .3rem }}
{texts}</style></head><body>
<h1>{title}</h1>
"""
)

_SCRIPT = """<script>
for (const table of document.querySelectorAll("table.sort")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th button").forEach((button, column) => button.onclick = () => {
    const down = button.dataset.down = button.dataset.down === "1" ? "" : "1", sign = down ? 1 : -1;
    const value = row => { const cell = row.cells[column];
      return column && cell.dataset.v !== undefined ? +cell.dataset.v : column ? null : cell.textContent; };
    body.append(...[...body.rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y); })); }); }
</script></body></html>
"""


def _table(header: Sequence[str], lines: Sequence[Sequence[Cell]]) -> str:
    heads = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in header)
    body = "".join(
        "<tr>"
        + "".join(
            (f'<td data-v="{cell.number!r}">' if cell.number is not None else "<td>") + f"{escape(cell.text)}</td>"
            for cell in line
        )
        + "</tr>\n"
        for line in lines
    )
    return f'<div class="wide"><table class="sort"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>\n'


def _plain(lines: Sequence[Sequence[str]]) -> list[list[Cell]]:
    return [[Cell(text, _number(text)) for text in line] for line in lines]


def _number(text: str) -> float | None:
    """What a cell is sorted by: the number, or that before an interval; the best differs by 0 from itself."""
    try:
        return 0.0 if text == "best" else float(text.partition(" [")[0].replace(",", ""))
    except ValueError:
        return None


def _charts(curves: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> str:
    if not curves:
        return ""
    keys = []
    for index, name in enumerate(methods):
        dash = DASHES[index // len(PALETTE) % len(DASHES)]
        line = f'<path d="M0 6H32" class="l" stroke="{PALETTE[index % len(PALETTE)]}" stroke-dasharray="{dash}"/>'
        keys.append(f'<span><svg viewBox="0 0 32 12">{line}</svg> {escape(name)}</span>')
    charts = []
    for protocol, curve in dict.fromkeys((entry["protocol"], entry["curve"]) for entry in curves):
        own = {e["method"]: e for e in curves if (e["protocol"], e["curve"]) == (protocol, curve)}
        first = next(iter(own.values()))
        empty = [None] * len(first["x"])
        series = {name: own[name]["mean"] if name in own else empty for name in methods}  # same colours in all charts
        name = ORDERS.get(curve, curve.replace("_", " "))
        charts.append(
            line_chart(
                series, first["x"], title=f"{protocol}: {name}", x_label=first["x_name"], y_label=first["y_name"]
            )
        )
    return f'<h2>Curves</h2><p class="key">{"".join(keys)}</p><div class="charts">{"".join(charts)}</div>\n'


def _pictures(images: Sequence[ArrayLike], titles: Sequence[str], maps: Mapping[str, Sequence[ArrayLike]]) -> str:
    if not len(images):
        return ""

    def row(name: str, tiles: Sequence[Image.Image]) -> str:
        tags = "".join(
            f'<td><img width="{TILE}" height="{TILE}" alt="{escape(name)} of {escape(title)}" '
            f'src="{data_uri(tile)}"></td>'
            for tile, title in zip(tiles, titles, strict=True)
        )
        return f'<tr><th scope="row">{escape(name)}</th>{tags}</tr>\n'

    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    rows = [row(name, tiles) for name, tiles in picture_rows(images, maps, TILE)]
    return (
        "<h2>Every method on the same inputs</h2><p>Each map from its own lowest to its own highest value.</p>"
        f'<div class="wide"><table class="grid"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>\n"
    )


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
    title = escape(f"Explainers of {report['black_box']}")
    parts = [_HEAD.format(title=title, texts=TEXT_GRID_STYLE if texts else "")]
    parts.append(f"<p>{escape(headline(report))}</p>\n")
    parts += [f'<p class="warning">{escape(warning)}</p>\n' for warning in report["warnings"]]
    if report["rows"]:
        parts += [_table(*cells(report["rows"])), f"<p>{escape(legend(report))} Click a heading to sort.</p>\n"]
    if errors := failures(report):
        items = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in errors)
        parts.append(f"<h2>Without scores</h2><ul>{items}</ul>\n")
    parts += [
        f"<h2>{escape(title)}</h2>{_table(header, _plain(lines))}<p>{escape(note)}</p>\n"
        for title, header, lines, note in tables(report)
    ]
    methods = list(dict.fromkeys(row["method"] for row in report["rows"] if row["value"] is not None))
    parts += [_charts(report["curves"], methods), _pictures(images, titles, maps), text_grid(texts), _SCRIPT]
    return "".join(parts)


def write_benchmark_page(path: str | Path, report: Mapping[str, Any], **inputs: Any) -> None:
    """Writes `benchmark_page`; the file appears whole or not at all."""
    page = benchmark_page(report, **inputs)
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
