"""`fex-explain CHECKPOINT INPUT...`: explains pictures or texts in one forward pass each.

With `--method dax` or `--method iassa` there is no checkpoint: each picture is explained by queries of `--black-box`.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fex.cli.explain_arguments import build_parser, parse_arguments, refuse_text_flags, tell_earlier_results
from fex.errors import BlackBoxError

if TYPE_CHECKING:  # torch and timm take seconds to import: `--help` and a mistyped flag do not wait for them
    from fex.cli.explain_text import TextSummary
    from fex.explainer import AmortizedExplainer
    from fex.explanation import Explanation
    from fex.report.folder import ResultFolder, Written
    from fex.streaming import ImageFile

__all__ = ["Summary", "build_parser", "main", "run"]


@dataclass
class Summary:
    """What a run did.

    Attributes:
        explained: images with results.
        skipped: images that could not be read, or whose results could not be drawn.
        named: the first few of them, with reasons.
        seconds: wall time after loading.
        output: folder of the results.
    """

    explained: int = 0
    skipped: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    output: Path = Path()

    def __str__(self) -> str:
        rate = (self.explained + self.skipped) / self.seconds if self.seconds else 0.0
        unit = "image" if self.explained == 1 else "images"
        text = f"explained {self.explained:,} {unit}"
        if self.explained:
            text += f" in {self.seconds:.1f} s ({rate:.1f} images/s)"
        if self.skipped:
            text += f", skipped {self.skipped:,} (all in {self.output / 'skipped.csv'}):"
            text += "".join(f"\n  {name}: {reason}" for name, reason in self.named)
        return f"{text}\nresults: {self.output}" + (
            f"\ngallery: {self.output / 'gallery.html'}" if self.explained else ""
        )


def _find(inputs: Sequence[Path], output: Path) -> Iterator["ImageFile"]:
    """Pictures of all arguments with the names of their results, which are all different."""
    from fex.image_files import walk_images
    from fex.streaming import ImageFile

    taken: set[str] = set()
    for path in inputs:
        # One folder is mirrored as it is; among several arguments each keeps a folder of its name.
        if path.is_dir() and len(inputs) == 1:
            prefix = PurePath()
        else:
            prefix = PurePath(_unused(path.resolve().name or "root", taken))
        if path.is_dir():
            for name in walk_images(path, without=output):
                yield ImageFile(path / name, prefix / name)
        else:
            yield ImageFile(path, prefix)


def _unused(name: str, taken: set[str]) -> str:
    """The name, or the first of 2-name, 3-name, ... that is not taken; takes it."""
    chosen, number = name, 1
    while chosen.lower() in taken:  # some file systems do not tell a from A
        number += 1
        chosen = f"{number}-{name}"
    taken.add(chosen.lower())
    return chosen


def _load(checkpoint: tuple[Any, Any], arguments: argparse.Namespace) -> tuple["AmortizedExplainer", Any]:
    import torch

    from fex.explainer import build_explainer

    name = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    explainer = build_explainer(*checkpoint, source=arguments.checkpoint)
    if arguments.target is not None:
        explainer.target_index(arguments.target)  # an unknown class is told before anything is read or written
    elif arguments.top_k > len(explainer.class_names):
        raise ValueError(f"--top-k is {arguments.top_k}, the explainer has {len(explainer.class_names)} classes.")
    try:
        explainer.to(name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"Device {name!r} cannot be used ({reason}): give cpu, cuda, cuda:1, mps ...") from error
    box = None
    if arguments.black_box:
        from fex.cli.black_box_argument import chosen_black_box

        box = chosen_black_box(arguments.black_box).to(name)
    return explainer, box


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
        from fex.checkpoint import read_checkpoint

        checkpoint = read_checkpoint(arguments.checkpoint)
        if checkpoint[1].get("modality", "image") == "text":
            from fex.cli.explain_text import check_texts, run_texts

            check_texts(arguments)
            explainer, box = _load(checkpoint, arguments)
            return run_texts(explainer, box, arguments)  # type: ignore[arg-type]
        refuse_text_flags(arguments)
    arguments.inputs = [Path(given) for given in arguments.inputs]
    arguments.output = arguments.output or Path("explanations")
    missing = [str(path) for path in arguments.inputs if not path.exists()]
    if missing:
        raise FileNotFoundError(f"Found no picture or folder at {', '.join(missing)}.")
    if any(path.is_dir() and path.resolve() == arguments.output.resolve() for path in arguments.inputs):
        raise ValueError(f"{arguments.output} is both input and output: give another --output.")
    total = sum(1 for _ in _find(arguments.inputs, arguments.output))
    if total == 0:
        raise ValueError(f"Found no images in {', '.join(map(str, arguments.inputs))}: give a folder of pictures.")
    if checkpoint is None:
        from fex.cli.explain_instances import load_method

        explainer, box = load_method(arguments), None  # type: ignore[assignment]  # it has what is asked of one
    else:
        explainer, box = _load(checkpoint, arguments)

    from fex.atomic import claimed
    from fex.report.folder import ResultFolder

    summary = Summary(output=arguments.output)
    note = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    tell_earlier_results(arguments.output, "files of images that this run does not explain stay")
    formats = arguments.formats or ["png", "npz", "json"]
    with claimed(arguments.output), ResultFolder(arguments.output, formats=formats, note=note) as results:
        start = time.perf_counter()
        try:
            _explain(explainer, box, arguments, results, summary, total)
        finally:
            summary.seconds = time.perf_counter() - start
    return summary


def _explain(
    explainer: "AmortizedExplainer",
    box: Any,
    arguments: argparse.Namespace,
    results: "ResultFolder",
    summary: Summary,
    total: int,
) -> None:
    """Reads, explains and writes at the same time; results are added in order."""
    from fex.cli.progress import progress
    from fex.explanation import on_one_line, printable
    from fex.streaming import ImageFile, explain_files, ordered_map

    workers = arguments.num_workers or min(8, os.cpu_count() or 1)

    def write(item: tuple[ImageFile, list["Explanation"] | str]) -> "tuple[PurePath, Written | str]":
        file, found = item
        if isinstance(found, str):
            return file.name, found
        try:
            return file.name, results.write(file.name, found)
        except OSError:  # a full disk: the next picture would fail like this one
            raise
        except Exception as error:  # one picture that cannot be drawn does not cost the others
            return file.name, f"its results could not be made ({type(error).__name__}: {error})"

    stream = explain_files(
        explainer,
        _find(arguments.inputs, arguments.output),
        target=arguments.target,
        top_k=arguments.top_k,
        batch_size=arguments.batch_size,
        num_workers=workers,
        black_box=box,
    )
    # A method of queries takes a minute and more an image.
    note = partial(_asked, explainer) if arguments.method else None
    with progress(total, "images", note=note) as advance, ThreadPoolExecutor(workers, "write") as pool:
        for name, written in ordered_map(pool, write, stream, 2 * workers):
            if isinstance(written, str):
                summary.skipped += 1
                results.skip(printable(name), written)
                if len(summary.named) < 3:
                    summary.named.append((on_one_line(printable(name)), written))
            else:
                summary.explained += 1
                results.add(written)
            advance()


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
        print("fex-explain: interrupted; what was done so far is in the output folder.", file=sys.stderr)
        return 130
    print(summary)
    if not summary.explained:
        print("fex-explain: error: none of the inputs could be explained.", file=sys.stderr)
        return 2
    return 1 if summary.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
