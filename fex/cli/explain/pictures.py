"""`fex-explain CHECKPOINT INPUT...`: explains pictures or texts in one forward pass each.

With `--method dax` or `--method iassa` there is no checkpoint: each picture is explained by queries of `--black-box`.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fex.cli.explain.arguments import build_parser, parse_arguments, tell_earlier_results
from fex.cli.explain.journal import Journal
from fex.cli.explain.measured import Measured
from fex.cli.explain.summary import Summary
from fex.errors import BlackBoxError

if TYPE_CHECKING:  # torch and timm take seconds to import: `--help` and a mistyped flag do not wait for them
    from fex.cli.explain.summary import TextSummary
    from fex.explainers.image_stream import ImageFile
    from fex.explainers.images import AmortizedExplainer
    from fex.explanations.image import Explanation
    from fex.report.folder import ResultFolder, Written

__all__ = ["Summary", "build_parser", "main", "run"]


def _load(checkpoint: tuple[Any, Any], arguments: argparse.Namespace) -> tuple["AmortizedExplainer", Any]:
    from fex.cli.explain.shares import default_device
    from fex.explainers.loading import build_explainer

    name = arguments.device or default_device()
    explainer = build_explainer(*checkpoint, source=arguments.checkpoint, backbone=arguments.backbone)
    if arguments.target is not None:
        explainer.target_index(arguments.target)  # an unknown class is told before anything is read or written
    elif arguments.top_k > len(explainer.class_names):
        raise ValueError(f"--top-k is {arguments.top_k}, the explainer has {len(explainer.class_names)} classes.")
    try:
        explainer.to(name, precision=arguments.precision)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"Device {name!r} cannot be used ({reason}): give cpu, cuda, cuda:1, mps ...") from error
    arguments.precision = explainer.precision  # what `auto` means here, for the results' settings
    box = None
    if arguments.black_box:
        from fex.cli.explain.black_box_argument import chosen_black_box

        box = chosen_black_box(arguments.black_box).to(name)
    from fex.cli.explain.refined import asks, refined_method

    return (refined_method(explainer, box, arguments) if asks(arguments) else explainer), box  # type: ignore[return-value]


def run(argv: Sequence[str]) -> "Summary | TextSummary":
    """Does what the command line says.

    Raises:
        SystemExit: a command line that cannot be understood.
        FileNotFoundError: no such checkpoint, picture or folder.
        ValueError: unknown class, unfit checkpoint, no images.
        OSError: results that cannot be written.
    """
    arguments, checkpoint = parse_arguments(argv), None
    if not arguments.method:
        from fex.explainers.loading import read_explainer

        checkpoint = read_explainer(arguments.checkpoint)
        modality = checkpoint[1].get("modality", "image")
        if modality not in ("image", "text"):
            raise ValueError(
                f"{arguments.checkpoint} explains inputs of the modality {modality!r}; fex-explain reads pictures and "
                "texts: use fex.load_explainer in Python."
            )
        if modality == "text":
            from fex.cli.explain.checks import check_texts
            from fex.cli.explain.texts import run_texts

            check_texts(arguments)
            explainer, box = _load(checkpoint, arguments)
            return run_texts(explainer, box, arguments, checkpoint)  # type: ignore[arg-type]
    arguments.output = arguments.output or Path("explanations")
    from fex.cli.explain.checks import check_pictures

    total = check_pictures(arguments)
    if checkpoint is None:
        from fex.cli.explain.instances import load_method

        explainer, box = load_method(arguments), None  # type: ignore[assignment]  # it has what is asked of one
    else:
        explainer, box = _load(checkpoint, arguments)
    if arguments.formats == ["parquet"]:
        return _run_tables(explainer, box, arguments, checkpoint, total)
    from fex.storage.atomic import claimed

    with claimed(arguments.output):
        return _run(explainer, box, arguments, checkpoint, total)


def _run_tables(explainer: Any, box: Any, arguments: argparse.Namespace, checkpoint: Any, total: int) -> Summary:
    """`--formats parquet`."""
    from fex.cli.explain.notes import own_class_note, resume_settings
    from fex.cli.explain.shares import Inputs, run_shards
    from fex.cli.found_pictures import as_file, find_pictures, picture_key, picture_pixels
    from fex.explainers.image_stream import explain_files
    from fex.storage.names import printable

    def explain(found: Iterable[Any]) -> Iterator[tuple[str, Any]]:
        stream = explain_files(
            explainer, map(as_file, found), target=arguments.target, top_k=arguments.top_k, black_box=box,
            batch_size=arguments.batch_size, num_workers=arguments.num_workers or min(8, os.cpu_count() or 1),
            reader=picture_pixels,
        )  # fmt: skip
        return ((printable(file.name), explained) for file, explained in stream)

    pictures = partial(find_pictures, arguments.inputs, arguments.output, arguments.column)
    summary = Summary(output=arguments.output, note=own_class_note(explainer, box, arguments), kept_in="the tables")
    settings = resume_settings(arguments, checkpoint, getattr(explainer, "box", box))
    run_shards(explainer, Inputs("images", pictures, picture_key, explain, total), summary, arguments, settings)
    return summary


def _run(
    explainer: "AmortizedExplainer", box: Any, arguments: argparse.Namespace, checkpoint: Any, total: int
) -> Summary:
    """What is left to do of a run whose output folder is this process's alone."""
    from fex.cli.explain.notes import own_class_note, resume_settings
    from fex.cli.found_pictures import find_pictures, picture_key
    from fex.report.folder import ResultFolder

    settings = resume_settings(arguments, checkpoint, getattr(explainer, "box", box))
    summary = Summary(output=arguments.output, note=own_class_note(explainer, box, arguments))
    if arguments.refine_total is not None:
        settings["choice of --refine-total"] = _choose(explainer, arguments, total)
        summary.note = " · ".join(filter(None, [explainer.told, summary.note]))  # type: ignore[attr-defined]
    journal = Journal(arguments.output, settings, resume=arguments.resume)
    summary.done = journal.check(picture_key(file) for file in find_pictures(arguments.inputs, arguments.output))
    if journal.counts is not None:
        return replace(summary, **{**journal.counts, "measured": Measured.of(journal.counts.get("measured"))})
    if arguments.refine_total is not None:
        explainer.start(summary.done)  # type: ignore[attr-defined]
    note = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    note += f" · {summary.note}" if summary.note else ""
    if not arguments.resume:
        tell_earlier_results(arguments.output, "files of images that this run does not explain stay")
    formats = arguments.formats or ["png", "npz", "json"]
    options = {"formats": formats, "note": note, "gallery": not arguments.no_gallery}
    with ResultFolder(arguments.output, **options) as results, closing(journal):
        start = time.perf_counter()
        try:
            _explain(explainer, box, arguments, results, summary, total, journal)
        finally:
            summary.seconds = time.perf_counter() - start
    every = summary.explained + summary.skipped
    journal.close({"explained": summary.explained, "skipped": summary.skipped, "named": summary.named,
                   "flat": summary.flat, "done": every, "measured": summary.measured.to_dict()})  # fmt: skip
    return summary


def _choose(explainer: Any, arguments: argparse.Namespace, total: int) -> str:
    """A first pass over all pictures, at no query; returns a hash of those that will be refined."""
    from fex.cli.found_pictures import find_pictures
    from fex.cli.progress import progress
    from fex.explainers.image_stream import read_files

    files = find_pictures(arguments.inputs, arguments.output)
    workers = arguments.num_workers or min(8, os.cpu_count() or 1)
    options = {"batch_size": arguments.batch_size, "num_workers": workers}
    with progress(total, "images foreseen") as advance:

        def counted() -> Iterator[Any]:
            for batch in read_files(files, explainer.preprocess, **options):
                yield batch
                advance(len(batch))

        return explainer.choose(counted(), arguments.target)


def _explain(
    explainer: "AmortizedExplainer",
    box: Any,
    arguments: argparse.Namespace,
    results: "ResultFolder",
    summary: Summary,
    total: int,
    journal: Journal,
) -> None:
    """Reads, explains and writes at the same time; results are added in order, those of a stopped run first."""
    from fex.cli.found_pictures import find_pictures, picture_key
    from fex.cli.progress import progress
    from fex.explainers.image_stream import ImageFile, explain_files, ordered_map
    from fex.storage.names import printable

    workers = arguments.num_workers or min(8, os.cpu_count() or 1)

    def write(item: tuple[ImageFile, list["Explanation"] | str]) -> "tuple[ImageFile, Written | str]":
        file, found = item
        if isinstance(found, str):
            return file, found
        try:
            return file, results.write(file.name, found)
        except OSError:  # a full disk: the next picture would fail like this one
            raise
        except Exception as error:  # one picture that cannot be drawn does not cost the others
            return file, f"its results could not be made ({type(error).__name__}: {error})"

    stream = explain_files(
        explainer,
        islice(find_pictures(arguments.inputs, arguments.output), summary.done, None),
        target=arguments.target,
        top_k=arguments.top_k,
        batch_size=arguments.batch_size,
        num_workers=workers,
        black_box=box,
    )
    # A method of queries takes a minute and more an image.
    note = partial(_asked, explainer) if hasattr(explainer, "queries") else None
    with progress(total, "images", note=note) as advance, ThreadPoolExecutor(workers, "write") as pool:
        for entry in journal.replay():
            _add(_restored(entry), printable(PurePath(entry["key"][0])), results, summary)
            advance(free=True)
        for file, written in ordered_map(pool, write, stream, 2 * workers):
            _add(written, printable(file.name), results, summary)
            journal.append(picture_key(file), **_plain(written))
            advance()


def _add(written: "Written | str", name: str, results: "ResultFolder", summary: Summary) -> None:
    """Adds what came of one picture, results or the reason why there are none."""
    from fex.storage.names import on_one_line

    if isinstance(written, str):
        summary.skipped += 1
        results.skip(name, written)
        if len(summary.named) < 3:
            summary.named.append((on_one_line(name), written))
    else:
        summary.explained += 1
        summary.flat += written.flat
        summary.measured.add(on_one_line(name), written.fidelity)
        results.add(written)


def _plain(written: "Written | str") -> dict[str, Any]:
    return {"skip": written} if isinstance(written, str) else written.to_dict()


def _restored(entry: dict[str, Any]) -> "Written | str":
    from fex.report.folder import Written

    return entry["skip"] if "skip" in entry else Written.of(entry)


def _asked(explainer: Any) -> str:
    return f"{explainer.queries:,} queries"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fex-explain`; returns the exit code."""
    try:
        summary = run(sys.argv[1:] if argv is None else argv)
    except (ValueError, OSError, ImportError, BlackBoxError) as error:
        print(f"fex-explain: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "fex-explain: interrupted; what is finished is in the output folder, and --resume goes on from there.",
            file=sys.stderr,
        )
        return 130
    print(summary)
    from fex.cli.explain.shares import processes

    if processes()[1] > 1:  # torchrun stops all when one ends with another code; some have no table
        return 0
    if not summary.explained:
        print("fex-explain: error: none of the inputs could be explained.", file=sys.stderr)
        return 2
    return 1 if summary.skipped else 0
