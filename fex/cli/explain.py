"""`fex-explain CHECKPOINT INPUT...`: explains pictures or texts in one forward pass each."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch and timm take seconds to import: `--help` and a mistyped flag do not wait for them
    from fex.cli.explain_text import TextSummary
    from fex.explainer import AmortizedExplainer
    from fex.explanation import Explanation
    from fex.report.folder import ResultFolder, Written
    from fex.streaming import ImageFile

__all__ = ["Summary", "build_parser", "main", "run"]

_EPILOG = """
For each image NAME.jpg, results are NAME.jpg.png (picture, map, overlay), NAME.jpg.npz and NAME.jpg.json, in the
sub-folders of the input; with --top-k 2, NAME.jpg.top1.png and so on. explanations.csv lists all; gallery.html shows
all (in pages of 500); skipped.csv lists pictures that could not be read. No black box is asked.

Explainers of texts take strings, and files of any size: .csv and .tsv (--column), .jsonl, .txt (a text a line). Words
are coloured in the terminal; explanations.jsonl has words, scores and character spans, explanations.csv a line a text,
gallery.html the coloured texts. Texts that are too long are cut off, and counted, or explained in windows (--window).

exit codes: 0 all explained; 1 some were skipped; 2 nothing was done, or the run was broken off (unknown class,
no such checkpoint, no inputs, output that cannot be written).

examples:
  fex-explain fex_efficientnet_lite0 dog.jpg
  fex-explain runs/quickstart/checkpoints/last.ckpt photos/ --output explained --top-k 2
  fex-explain fex_efficientnet_lite0 photos/ --target "tabby cat" --formats npz --device cuda --batch-size 256
  fex-explain fex_minilm_sst2 "a gripping, funny film" reviews.csv --column text --output explained
"""


@dataclass
class Summary:
    """What a run did.

    Attributes:
        explained: images with results.
        skipped: images that could not be read.
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
        text = f"explained {self.explained:,} {unit} in {self.seconds:.1f} s ({rate:.1f} images/s)"
        if self.skipped:
            text += f", skipped {self.skipped:,} that could not be read (all in {self.output / 'skipped.csv'}):"
            text += "".join(f"\n  {name}: {reason}" for name, reason in self.named)
        return f"{text}\nresults: {self.output}" + (
            f"\ngallery: {self.output / 'gallery.html'}" if self.explained else ""
        )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected at least 1")
    return number


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="fex-explain",
        description="Explain pictures or texts with a trained explainer: one forward pass each, inputs of any number.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="shipped name, .ckpt, .safetensors, or a run's folder")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="pictures, and folders of them; or texts, and files of them"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--target", metavar="NAME_OR_INDEX", help="class to explain (default: the predicted one)")
    which.add_argument("--top-k", type=_positive, default=1, help="explain the K likeliest classes (default: 1)")
    parser.add_argument("--output", type=Path, help="folder (default: explanations; strings are shown alone)")
    parser.add_argument(
        "--formats",
        metavar="LIST",
        help="of png, npz, json, html (default: png,npz,json); texts: html, jsonl, csv",
    )
    parser.add_argument("--batch-size", type=_positive, default=32, help="inputs a pass (default: 32)")
    parser.add_argument("--num-workers", type=_positive, help="threads that read and that write (default: the cores)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: cuda where there is one)")
    parser.add_argument(
        "--black-box", metavar="NAME", help="ask this black box too, once an input: for its own classes and probability"
    )
    texts = parser.add_argument_group("texts")
    texts.add_argument("--column", metavar="NAME", help="column of the texts (default: text, sentence ... or the only)")
    texts.add_argument("--pair-column", metavar="NAME", help="column of the second texts of pairs")
    texts.add_argument(
        "--window", metavar="OVERLAP", type=int, nargs="?", const=64,
        help="explain long texts whole, in windows that overlap by so many tokens (64)",
    )  # fmt: skip
    return parser


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


def _load(arguments: argparse.Namespace) -> tuple["AmortizedExplainer", Any]:
    import torch

    from fex.explainer import load_explainer

    name = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    explainer = load_explainer(arguments.checkpoint)
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
        from fex.black_box import load_black_box

        box = load_black_box(arguments.black_box).to(name)
    return explainer, box


def _explains_texts(checkpoint: str) -> bool:
    """Whether it is an explainer of texts; one that cannot be read is told of when it is loaded."""
    from fex.checkpoint import read_checkpoint

    try:
        return read_checkpoint(checkpoint)[1].get("modality", "image") == "text"
    except (OSError, ValueError):
        return False


def run(argv: Sequence[str]) -> "Summary | TextSummary":
    """Does what the command line says.

    Raises:
        SystemExit: a command line that cannot be understood.
        FileNotFoundError: no such checkpoint, picture or folder.
        ValueError: unknown class, unfit checkpoint, no images.
        OSError: results that cannot be written.
    """
    arguments = build_parser().parse_args(argv)
    if _explains_texts(arguments.checkpoint):
        from fex.cli.explain_text import run_texts

        explainer, box = _load(arguments)
        return run_texts(explainer, box, arguments)  # type: ignore[arg-type]
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
    explainer, box = _load(arguments)

    from fex.report.folder import ResultFolder

    summary = Summary(output=arguments.output)
    note = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    formats = [name.strip() for name in (arguments.formats or "png,npz,json").split(",") if name.strip()]
    with ResultFolder(arguments.output, formats=formats, note=note) as results:
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
    from fex.explanation import printable
    from fex.streaming import ImageFile, explain_files, ordered_map

    workers = arguments.num_workers or min(8, os.cpu_count() or 1)

    def write(item: tuple[ImageFile, list["Explanation"] | str]) -> "tuple[PurePath, Written | str]":
        file, found = item
        return file.name, (found if isinstance(found, str) else results.write(file.name, found))

    stream = explain_files(
        explainer,
        _find(arguments.inputs, arguments.output),
        target=arguments.target,
        top_k=arguments.top_k,
        batch_size=arguments.batch_size,
        num_workers=workers,
        black_box=box,
    )
    with progress(total, "images") as advance, ThreadPoolExecutor(workers, "write") as pool:
        for name, written in ordered_map(pool, write, stream, 2 * workers):
            if isinstance(written, str):
                summary.skipped += 1
                results.skip(printable(name), written)
                if len(summary.named) < 3:
                    summary.named.append((printable(name), written))
            else:
                summary.explained += 1
                results.add(written)
            advance()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fex-explain`; returns the exit code."""
    try:
        summary = run(sys.argv[1:] if argv is None else argv)
    except (ValueError, OSError, ImportError) as error:
        print(f"fex-explain: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fex-explain: interrupted; what was done so far is in the output folder.", file=sys.stderr)
        return 130
    print(summary)
    return 1 if summary.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
