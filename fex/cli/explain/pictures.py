"""`fex-explain` on pictures: files and folders of them, and tables and tars of any size."""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

from fex.cli.explain.foreseen import choose_refined
from fex.cli.explain.found_pictures import as_file, find_pictures, picture_key, picture_pixels
from fex.cli.explain.inputs import Inputs
from fex.cli.explain.journal import Journal
from fex.cli.explain.notes import own_class_note, resume_settings, run_note, tell_earlier_results
from fex.cli.explain.shares import run_shards
from fex.cli.explain.spent import SpentMethod
from fex.cli.explain.summary import PictureSummary
from fex.cli.explain.worst import write_worst
from fex.cli.progress import progress
from fex.explainers.image_stream import ImageFile, explain_files, ordered_map
from fex.explanations.image import Explanation
from fex.report.folder import ResultFolder, Written
from fex.storage.atomic import claimed
from fex.storage.names import on_one_line, printable

__all__ = ["run_pictures"]


def run_pictures(
    explainer: Any, box: Any, arguments: argparse.Namespace, checkpoint: Any, total: int
) -> PictureSummary:
    """Explains the pictures of a command line.

    Args:
        explainer: trained, or a method of queries.
        box: asked too, where there is one.
        arguments: of the command line, checked.
        checkpoint: what the explainer was built of, for `--resume`; None for a method of queries.
        total: number of pictures.

    Raises:
        ValueError: unlike the run that is to go on, or a format that does not exist.
        OSError: results that cannot be written.
    """
    arguments.num_workers = arguments.num_workers or min(8, os.cpu_count() or 1)
    settings = resume_settings(arguments, checkpoint, getattr(explainer, "box", box))
    note = own_class_note(explainer, box, arguments)
    summary = PictureSummary(output=arguments.output, note=note, gallery=not arguments.no_gallery)
    pictures = partial(find_pictures, arguments.inputs, arguments.output, arguments.column)
    inputs = Inputs("images", pictures, picture_key, partial(_explained, box, arguments), explainer, total)
    if arguments.formats == ["parquet"]:
        summary.kept_in, summary.gallery = "the tables", False
        run_shards(inputs, summary, arguments, settings)
    else:
        with claimed(arguments.output):
            choose_refined(inputs, summary, arguments, settings)
            summary = _run(explainer, box, arguments, settings, summary, total)
    write_worst(inputs, summary, arguments)
    return summary


def _explained(
    box: Any, arguments: argparse.Namespace, explainer: Any, found: Iterable[Any]
) -> Iterator[tuple[str, list[Explanation] | str]]:
    """Names of pictures or rows, and their explanations or the reason why there are none."""
    files = map(as_file, found)
    for file, explained in _stream(explainer, box, arguments, files, reader=picture_pixels):
        yield printable(file.name), explained


def _stream(explainer: Any, box: Any, arguments: argparse.Namespace, files: Iterable[Any], **options: Any) -> Any:
    return explain_files(
        explainer, files, target=arguments.target, top_k=arguments.top_k, black_box=box,
        batch_size=arguments.batch_size, num_workers=arguments.num_workers, **options,
    )  # fmt: skip


def _run(
    explainer: Any,
    box: Any,
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    summary: PictureSummary,
    total: int,
) -> PictureSummary:
    """What is left to do of a run whose output folder is this process's alone."""
    journal = Journal(arguments.output, settings, resume=arguments.resume)
    summary.done = journal.check(picture_key(file) for file in find_pictures(arguments.inputs, arguments.output))
    if journal.counts is not None:
        return summary.ended(journal.counts)
    if isinstance(explainer, SpentMethod):
        explainer.start(summary.done)
    start = time.perf_counter()
    try:
        _explain(explainer, box, arguments, summary, total, journal)
    finally:
        summary.seconds = time.perf_counter() - start
    journal.close(summary.counts())
    return summary


def _explain(
    explainer: Any,
    box: Any,
    arguments: argparse.Namespace,
    summary: PictureSummary,
    total: int,
    journal: Journal,
) -> None:
    """Reads, explains and writes at the same time; results are added in order, those of a stopped run first."""
    files = islice(find_pictures(arguments.inputs, arguments.output), summary.done, None)
    stream, workers = _stream(explainer, box, arguments, files), arguments.num_workers
    # A method of queries takes a minute and more an image.
    note = (lambda: f"{explainer.queries:,} queries") if hasattr(explainer, "queries") else None
    with progress(total, "images", note=note) as advance:
        first = list(islice(stream, 1))  # what is wrong is told before the results of an earlier run are written over
        results = _results(explainer, arguments, summary, journal)
        with results, closing(journal), ThreadPoolExecutor(workers, "write") as pool:
            for entry in journal.replay():
                written = entry["skip"] if "skip" in entry else Written.of(entry)
                _add(written, printable(PurePath(entry["key"][0])), results, summary)
                advance(free=True)
            for file, written in ordered_map(pool, partial(_write, results), chain(first, stream), 2 * workers):
                _add(written, printable(file.name), results, summary)
                entry = {"skip": written} if isinstance(written, str) else written.to_dict()
                journal.append(picture_key(file), **entry)
                advance()


def _results(explainer: Any, arguments: argparse.Namespace, summary: PictureSummary, journal: Journal) -> ResultFolder:
    """The folder of results, begun; what there was of another run is told."""
    if not journal.resumed:
        written = ["explanations.csv", *(() if arguments.no_gallery else ("gallery.html",))]
        tell_earlier_results(arguments.output, written, pictures=True)
    return ResultFolder(
        arguments.output,
        formats=arguments.formats or ["png", "npz", "json"],
        note=run_note(explainer, arguments, summary.note),
        gallery=not arguments.no_gallery,
    )


def _write(results: ResultFolder, item: tuple[ImageFile, list[Explanation] | str]) -> tuple[ImageFile, Written | str]:
    """The files of one picture, or the reason why there are none; threads do it."""
    file, found = item
    if isinstance(found, str):
        return file, found
    try:
        return file, results.write(file.name, found)
    except OSError:  # a full disk: the next picture would fail like this one
        raise
    except Exception as error:  # one picture that cannot be drawn does not cost the others
        return file, f"its results could not be made ({type(error).__name__}: {error})"


def _add(written: Written | str, name: str, results: ResultFolder, summary: PictureSummary) -> None:
    """Adds what came of one picture, results or the reason why there are none."""
    if isinstance(written, str):
        summary.count(on_one_line(name), written)
        results.skip(name, written)
    else:
        summary.count(name, None, written.flat)
        summary.measured.add(on_one_line(name), written.fidelity)
        results.add(written)
