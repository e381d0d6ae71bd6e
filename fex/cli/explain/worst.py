"""`fex-explain --worst N`: a page of the least faithful explanations, the least faithful first."""

import argparse
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fex.cli.explain.inputs import Inputs
from fex.cli.explain.notes import run_note
from fex.cli.explain.summary import PictureSummary, TextSummary
from fex.report.fidelity import least_fidelity
from fex.report.html import Card, make_card, write_cards
from fex.report.shards import shards_of
from fex.report.text import text_card
from fex.storage.names import on_one_line, printable

__all__ = ["PAGE", "write_worst"]

PAGE = "worst.html"


def write_worst(inputs: Inputs, summary: PictureSummary | TextSummary, arguments: argparse.Namespace) -> None:
    """Writes the page where --worst asks for it: these inputs are explained once more, by the same queries.

    Of tables that several processes write, whoever finds them all there does it.

    Args:
        inputs: of the run.
        summary: of the run, which is over; is told where the page is.
        arguments: of the command line.

    Raises:
        OSError: it cannot be written.
    """
    if arguments.worst is None or arguments.output is None:
        return
    tables = arguments.formats == ["parquet"]
    names = _of_tables(arguments, inputs) if tables else [name for name, _ in summary.measured.least]
    if names is None:
        return
    wanted, found = {on_one_line(name) for name in names[: arguments.worst]}, []
    for _, explained in inputs.explain(inputs.explainer, (each for each in inputs.found() if _name(each) in wanted)):
        least = None if isinstance(explained, str) else least_fidelity(explained)
        if isinstance(least, list):
            found.append((least[0], explained))
    found = sorted(found, key=lambda each: each[0])[: arguments.worst]
    if not found:
        return
    card = text_card if inputs.unit == "texts" else make_card
    cards: list[Card] = [card(explained) for _, explained in found]
    kind, title = ("texts" if inputs.unit == "texts" else "images"), f"The {len(cards):,} least faithful explanations"
    write_cards(arguments.output / PAGE, kind, title, run_note(inputs.explainer, arguments, ""), cards)  # type: ignore[arg-type]
    summary.worst = arguments.output / PAGE


def _name(found: Any) -> str:
    """By which results name an input."""
    return on_one_line(printable(found.name))


def _of_tables(arguments: argparse.Namespace, inputs: Inputs) -> list[str] | None:
    """Names of the least faithful inputs of all tables; None where some are not there yet."""
    total = inputs.total if inputs.total is not None else sum(1 for _ in inputs.found())
    there = shards_of(arguments.output)
    if len(there) * arguments.shard_size < total:
        return None
    least: list[tuple[float, str]] = []
    for path in there.values():
        least = sorted([*least, *((value, name) for name, value in _measured(path).items())])[: arguments.worst]
    return [name for _, name in least]


def _measured(path: Path) -> dict[str, float]:
    """The least fidelity of each input of a table, where it is known."""
    found: dict[str, float] = {}
    if "fidelity" in pq.read_schema(path).names:
        table = pq.read_table(path, columns=["file", "fidelity"])
        for name, value in zip(table["file"].to_pylist(), table["fidelity"].to_pylist(), strict=True):
            if value is not None and not math.isnan(value):
                found[name] = min(value, found.get(name, value))
    return found
