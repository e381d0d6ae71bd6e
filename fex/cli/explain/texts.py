"""`fex-explain` on texts: strings, and files of texts of any size."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fex.cli.explain.arguments import tell_earlier_results
from fex.cli.explain.found_texts import as_record, find_texts, found_key, is_text_file, read_texts
from fex.cli.explain.journal import Journal
from fex.cli.explain.measured import Measured
from fex.cli.explain.notes import own_class_note, resume_settings, text_key
from fex.cli.explain.summary import TextSummary
from fex.storage.atomic import claimed
from fex.storage.names import printable

if TYPE_CHECKING:
    from fex.explainers.texts import AmortizedTextExplainer
    from fex.report.text_folder import TextResultFolder

__all__ = ["run_texts"]

SHOWN = 20  # texts in the terminal


def _replay(journal: Journal, summary: TextSummary, results: "TextResultFolder") -> None:
    """Adds what a stopped run had finished."""
    from fex.report.text_folder import WrittenText

    for entry in journal.replay():
        name, reason = entry["key"][0], entry.get("skip")
        summary.count(name, reason, entry.get("cut", 0), entry.get("flat", 0))
        if reason is not None:
            results.skip(name, reason)
            continue
        results.add_written(WrittenText.of(entry))
        summary.measured.add(name, entry.get("fidelity"))


def _tell(
    stream: Iterable[Any],
    summary: TextSummary,
    results: "TextResultFolder | None" = None,
    journal: Journal | None = None,
) -> None:
    """Counts, shows and stores what comes."""
    from rich.console import Console

    from fex.report.fidelity import least_fidelity
    from fex.report.text import terminal_text

    console = Console()
    for record, found in stream:
        if isinstance(found, str):
            summary.count(record.name, found)
            if results is not None and journal is not None:
                results.skip(record.name, found)
                journal.append(text_key(record), skip=found)
            continue
        summary.count(record.name, None, found[0].cut, sum(each.flat for each in found))
        fidelity = least_fidelity(found)
        summary.measured.add(record.name, fidelity)
        if results is not None and journal is not None:
            written = results.add(found)
            journal.append(text_key(record), cut=found[0].cut, fidelity=fidelity, **written.to_dict())
        if summary.explained <= SHOWN:
            for explanation in found:
                console.print(terminal_text(explanation))
        elif summary.explained == SHOWN + 1:
            print("... (the others are in the results alone)", file=sys.stderr)


def run_texts(
    explainer: "AmortizedTextExplainer", box: Any, arguments: argparse.Namespace, checkpoint: Any
) -> TextSummary:
    """Explains the strings and files of a command line.

    Args:
        explainer: trained.
        box: asked too, where there is one.
        arguments: of the command line.
        checkpoint: what the explainer was built of, for `--resume`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such column or format; nothing that can be explained.
        OSError: results that cannot be written.
    """
    from fex.cli.explain.shares import check_processes
    from fex.report.text_folder import TEXT_FORMATS, check_formats

    check_processes(arguments)
    files = any(map(is_text_file, arguments.inputs))
    tables = arguments.formats == ["parquet"]
    # Strings alone are shown, not stored.
    output = arguments.output or (Path("explanations") if files or tables else None)
    if tables:
        return _run_tables(explainer, box, arguments, checkpoint, output)
    formats = arguments.formats or list(TEXT_FORMATS)
    if arguments.no_gallery:
        formats = [name for name in formats if name != "html"]
    check_formats(formats)
    if arguments.resume and output is None:
        raise ValueError("--resume goes on in a folder of results, and strings alone are shown: give --output.")
    with nullcontext() if output is None else claimed(output):
        return _run_texts(explainer, box, arguments, checkpoint, output, formats)


def _check_columns(arguments: argparse.Namespace) -> None:
    """A wrong column of the last file stops the run before the first."""
    for given in filter(is_text_file, arguments.inputs):
        next(find_texts(argparse.Namespace(**{**vars(arguments), "inputs": [given]})), None)


def _run_tables(
    explainer: "AmortizedTextExplainer", box: Any, arguments: argparse.Namespace, checkpoint: Any, output: Path
) -> TextSummary:
    """`--formats parquet`."""
    from fex.cli.explain.shares import Inputs, run_shards
    from fex.explainers.text_stream import explain_records

    def explain(found: Iterable[Any]) -> Iterator[tuple[str, Any]]:
        stream = explain_records(
            explainer, map(as_record, found), target=arguments.target, top_k=arguments.top_k,
            batch_size=arguments.batch_size, window=arguments.window, black_box=box,
        )  # fmt: skip
        return ((printable(record.name), explained) for record, explained in stream)

    arguments.output = output
    _check_columns(arguments)
    summary = TextSummary(output=output, note=own_class_note(explainer, box, arguments), kept_in="the tables")
    settings = resume_settings(arguments, checkpoint, box)
    run_shards(
        explainer, Inputs("texts", partial(find_texts, arguments), found_key, explain), summary, arguments, settings
    )
    return summary


def _run_texts(
    explainer: "AmortizedTextExplainer",
    box: Any,
    arguments: argparse.Namespace,
    checkpoint: Any,
    output: Path | None,
    formats: Sequence[str],
) -> TextSummary:
    """What is left to do of a run whose output folder is this process's alone."""
    from fex.explainers.text_stream import explain_records
    from fex.report.text_folder import TextResultFolder

    note = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    summary = TextSummary(output=output, note=own_class_note(explainer, box, arguments))
    note += f" · {summary.note}" if summary.note else ""
    journal = None
    if output is not None:
        journal = Journal(output, resume_settings(arguments, checkpoint, box), resume=arguments.resume)
        summary.done = journal.check(map(text_key, read_texts(arguments)))
        if journal.counts is not None:
            return replace(summary, **{**journal.counts, "measured": Measured.of(journal.counts.get("measured"))})
    _check_columns(arguments)
    start = time.perf_counter()
    stream = explain_records(
        explainer,
        islice(read_texts(arguments), summary.done, None),
        target=arguments.target,
        top_k=arguments.top_k,
        batch_size=arguments.batch_size,
        window=arguments.window,
        black_box=box,
    )
    first = list(islice(stream, 1))  # what is wrong is told before the results of an earlier run are written over
    if output is None or journal is None:
        _tell(chain(first, stream), summary)
    else:
        if not arguments.resume:
            tell_earlier_results(output)
        with TextResultFolder(output, formats=formats, note=note) as results, closing(journal):
            _replay(journal, summary, results)
            _tell(chain(first, stream), summary, results, journal)
        keys = ("explained", "skipped", "truncated", "tokens_cut", "named", "flat")
        every = summary.explained + summary.skipped
        counts = {key: getattr(summary, key) for key in keys}
        journal.close({**counts, "done": every, "measured": summary.measured.to_dict()})
    summary.seconds = time.perf_counter() - start
    return summary
