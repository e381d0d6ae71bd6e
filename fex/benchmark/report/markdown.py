"""A benchmark's report as Markdown: tables with intervals, differences, costs, what failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from fex.benchmark.report.lines import failures, headline, legend, tables
from fex.report.tables import markdown_table

__all__ = ["markdown_report"]


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in (header, align, *lines))


def markdown_report(report: Mapping[str, Any]) -> str:
    """The whole report, as of `fex.benchmark.summary.summarise` with `black_box`, `data`, `seed`, `versions`."""
    parts = [f"# {report['black_box']}", headline(report)]
    parts += [f"**Warning.** {warning}" for warning in report["warnings"]]
    if report["rows"]:
        parts += [markdown_table(report["rows"]), legend(report)]
    if errors := failures(report):
        parts += ["## Without scores", "\n".join(f"- {name}: {' '.join(why.split())}" for name, why in errors)]
    for title, header, lines, note in tables(report):
        parts += [f"## {title}", _table(header, lines), *filter(None, [note])]
    return "\n\n".join(parts) + "\n"
