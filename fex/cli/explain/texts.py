"""`fex-explain` on texts: strings, and files of texts of any size."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rich.console import Console

from fex.cli.explain.foreseen import choose_refined
from fex.cli.explain.found_texts import as_record, find_texts, found_key, is_text_file, read_texts
from fex.cli.explain.inputs import Inputs
from fex.cli.explain.journal import Journal
from fex.cli.explain.notes import own_class_note, resume_settings, run_note, tell_earlier_results, text_key
from fex.cli.explain.processes import check_processes
from fex.cli.explain.shares import run_shards
from fex.cli.explain.spent import SpentMethod
from fex.cli.explain.summary import TextSummary
from fex.cli.explain.worst import write_worst
from fex.explainers.text_stream import explain_records
from fex.explanations.text import TextExplanation
from fex.report.fidelity import least_fidelity
from fex.report.text import terminal_text
from fex.report.text_folder import TEXT_FORMATS, TextResultFolder, WrittenText, check_formats
from fex.storage.atomic import claimed
from fex.storage.names import printable
from fex.texts.files import TextRecord

__all__ = ["run_texts"]

SHOWN = 20  # texts in the terminal


def run_texts(explainer: Any, box: Any, arguments: argparse.Namespace, checkpoint: Any) -> TextSummary:
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
    check_processes(arguments)
    files, tables = any(map(is_text_file, arguments.inputs)), arguments.formats == ["parquet"]
    # Strings alone are shown, not stored.
    output = arguments.output = arguments.output or (Path("explanations") if files or tables else None)
    summary = TextSummary(output=output, note=own_class_note(explainer, box, arguments))
    settings = partial(resume_settings, arguments, checkpoint, box)
    explain = partial(_explained, box, arguments)
    inputs = Inputs("texts", partial(find_texts, arguments), found_key, explain, explainer)
    if tables:
        _check_columns(arguments)
        summary.kept_in = "the tables"
        run_shards(inputs, summary, arguments, settings())
        write_worst(inputs, summary, arguments)
        return summary
    formats = arguments.formats or list(TEXT_FORMATS)
    if arguments.no_gallery:
        formats = [name for name in formats if name != "html"]
    check_formats(formats)
    if output is None:
        if arguments.resume:
            raise ValueError("--resume goes on in a folder of results, and strings alone are shown: give --output.")
        if arguments.refine_total is not None:
            choose_refined(inputs, summary, arguments, settings())
        return _shown(explainer, box, arguments, summary)
    with claimed(output):
        _check_columns(arguments)
        of_run = settings()
        choose_refined(inputs, summary, arguments, of_run)
        summary = _stored(explainer, box, arguments, of_run, summary, output, formats)
    write_worst(inputs, summary, arguments)
    return summary


def _check_columns(arguments: argparse.Namespace) -> None:
    """A wrong column of the last file stops the run before the first."""
    for given in filter(is_text_file, arguments.inputs):
        next(find_texts(argparse.Namespace(**{**vars(arguments), "inputs": [given]})), None)


def _stream(
    explainer: Any, box: Any, arguments: argparse.Namespace, records: Iterable[TextRecord]
) -> Iterator[tuple[TextRecord, list[TextExplanation] | str]]:
    return explain_records(
        explainer, records, target=arguments.target, top_k=arguments.top_k,
        batch_size=arguments.batch_size, window=arguments.window, black_box=box,
    )  # fmt: skip


def _explained(
    box: Any, arguments: argparse.Namespace, explainer: Any, found: Iterable[Any]
) -> Iterator[tuple[str, list[TextExplanation] | str]]:
    """Names of texts or rows, and their explanations or the reason why there are none."""
    for record, explained in _stream(explainer, box, arguments, map(as_record, found)):
        yield printable(record.name), explained


def _shown(explainer: Any, box: Any, arguments: argparse.Namespace, summary: TextSummary) -> TextSummary:
    """Explains strings in the terminal alone."""
    start = time.perf_counter()
    for _ in _told(_stream(explainer, box, arguments, read_texts(arguments)), summary):
        pass
    summary.seconds = time.perf_counter() - start
    return summary


def _stored(
    explainer: Any,
    box: Any,
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    summary: TextSummary,
    output: Path,
    formats: Sequence[str],
) -> TextSummary:
    """What is left to do of a run whose output folder is this process's alone."""
    journal = Journal(output, settings, resume=arguments.resume)
    summary.done = journal.check(map(text_key, read_texts(arguments)))
    if journal.counts is not None:
        return summary.ended(journal.counts)
    if isinstance(explainer, SpentMethod):
        explainer.start(summary.done)
    start = time.perf_counter()
    stream = _stream(explainer, box, arguments, islice(read_texts(arguments), summary.done, None))
    first = list(islice(stream, 1))  # what is wrong is told before the results of an earlier run are written over
    if not journal.resumed:
        kinds = {"html": "gallery.html"}
        tell_earlier_results(output, [kinds.get(name, f"explanations.{name}") for name in formats])
    note = run_note(explainer, arguments, summary.note)
    with TextResultFolder(output, formats=formats, note=note) as results, closing(journal):
        _replay(journal, summary, results)
        for record, found, fidelity in _told(chain(first, stream), summary):
            if isinstance(found, str):
                results.skip(record.name, found)
                journal.append(text_key(record), skip=found)
            else:
                written = results.add(found)
                journal.append(text_key(record), cut=found[0].cut, fidelity=fidelity, **written.to_dict())
    journal.close(summary.counts())
    summary.seconds = time.perf_counter() - start
    return summary


def _replay(journal: Journal, summary: TextSummary, results: TextResultFolder) -> None:
    """Adds what a stopped run had finished."""
    for entry in journal.replay():
        name, reason = entry["key"][0], entry.get("skip")
        summary.count(name, reason, entry.get("flat", 0), entry.get("cut", 0))
        if reason is not None:
            results.skip(name, reason)
            continue
        results.add_written(WrittenText.of(entry))
        summary.measured.add(name, entry.get("fidelity"))


def _told(
    stream: Iterable[tuple[TextRecord, list[TextExplanation] | str]], summary: TextSummary
) -> Iterator[tuple[TextRecord, list[TextExplanation] | str, list[float] | str | None]]:
    """Counts and shows what comes, and hands it on with its fidelity."""
    console = Console()
    for record, found in stream:
        if isinstance(found, str):
            summary.count(record.name, found)
            yield record, found, None
            continue
        summary.count(record.name, None, sum(each.flat for each in found), found[0].cut)
        fidelity = least_fidelity(found)
        summary.measured.add(record.name, fidelity)
        yield record, found, fidelity
        if summary.explained <= SHOWN:
            for explanation in found:
                console.print(terminal_text(explanation))
        elif summary.explained == SHOWN + 1:
            print("... (the others are in the results alone)", file=sys.stderr)
