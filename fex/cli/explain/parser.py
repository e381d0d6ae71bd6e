"""The command line of `fex-explain`: its flags and their help; imports nothing that takes time."""

import argparse
import math
from pathlib import Path

from fex.cli.program import new_parser

__all__ = ["build_parser"]

_EPILOG = """
For each image NAME.jpg, results are NAME.jpg.png (picture, map, overlay), NAME.jpg.npz and NAME.jpg.json, in the
sub-folders of the input; with --top-k 2, NAME.jpg.top1.png and so on. explanations.csv lists all; gallery.html shows
all (in pages of 500); skipped.csv lists pictures without results, and why. No black box is asked, but by --method
and --black-box: without them the class is the explainer's own guess, and the summary says how often that is the box's.
--formats parquet writes tables instead, explanations-00000.parquet and so on, one row an input and class, and no file
for each input; --resume goes on after the last whole one, and torchrun shares them among several GPUs.
Pictures in parquet files (--column), WebDataset tars, folders of these, and data sets (a folder of save_to_disk, or
hf://datasets/ID:SPLIT) are explained into such tables; they are named FILE#ROW, counted from 0, and FILE.tar#MEMBER.
"seconds" is the time of a batch divided by its images; the first batches include the library's warm-up.

Explainers of texts take strings, and files of any size: .csv, .tsv, .parquet and data sets (--column), .jsonl, .txt (a
text a line). Words
are coloured in the terminal; explanations.jsonl has words, scores and character spans, explanations.csv a line a text,
gallery.html the coloured texts. Texts that are too long are cut off, and counted, or explained in windows (--window).

On Linux memory is kept for the next pass instead of given back after each; FEX_MALLOC=system leaves it to the system.

exit codes: 0 all inputs explained; 1 some were skipped; 2 nothing was done, or the run was broken off (unknown class,
no such checkpoint, no input that can be read, output that cannot be written); 130 interrupted. Under torchrun, which
stops all processes when one does not end with 0, skipped inputs are told by the tables and the summary alone.

examples:
  fex-explain fex_efficientnet_lite0 dog.jpg
  fex-explain runs/quickstart/checkpoints/last.ckpt photos/ --output explained --top-k 2
  fex-explain fex_efficientnet_lite0 photos/ --target tabby --formats npz --device cuda --batch-size 256
  fex-explain fex_efficientnet_lite0 photos/ --formats parquet --scores uint8 --output maps
  fex-explain fex_efficientnet_lite0 pictures.parquet train-000.tar hf://datasets/uoft-cs/cifar10:test --output maps
  fex-explain fex_minilm_sst2 "a gripping, funny film" reviews.csv --column text --output explained
  fex-explain fex_vit_cifar10 photos/ --black-box vit_cifar10 --refine 64
  fex-explain --method dax --black-box efficientnet_lite0 dog.jpg --budget 6000
  fex-explain --method iassa --black-box my_classifier.yaml dog.jpg --backbone resnet18.a1_in1k=resnet18.safetensors

my_classifier.yaml (any class of fex.black_box; or a config of fex-train or fex-bench):
  class_path: fex.black_box.TimmBlackBox
  init_args: {model: resnet50, weights: mine.pth, class_names: [cat, dog]}
"""


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {number}, expected at least 1")
    return number


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(
            "got no name, expected a folder, such as explanations; . is the working folder"
        )
    return Path(text)


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number between 0 and 1")
    return number


def _overlap(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected a number of tokens: put --window after the inputs, or write --window 64"
        ) from None


def _formats(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(
            "got no format, expected some of png, jpg, webp, npz, json, html, jsonl, csv, or parquet"
        )
    return names


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    about = "Explain pictures or texts with a trained explainer: one forward pass each, inputs of any number."
    parser = new_parser("fex-explain", about, _EPILOG)
    _add_inputs(parser)
    _add_queries(parser)
    _add_results(parser)
    _add_computing(parser)
    _add_texts(parser)
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """What is explained, and by what."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="shipped name, .ckpt, .safetensors, or a run's folder; with --method the first picture or folder",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        help="pictures, folders, tables, tars and data sets of them; or texts, files and tables of them",
    )
    parser.add_argument(
        "--method", choices=("dax", "iassa"), help="explain each picture by queries, without a checkpoint"
    )
    parser.add_argument(
        "--budget",
        type=_positive,
        metavar="QUERIES",
        help="with --method: queries a picture, and one more for its prediction (default: dax 6000; iassa asks until "
        "its map no longer changes); a few dozen say little. With --until-fidelity: the most queries an input",
    )


def _add_queries(parser: argparse.ArgumentParser) -> None:
    """What the black box is asked."""
    asked = parser.add_argument_group("check and refine: queries of --black-box about each input")
    how = asked.add_mutually_exclusive_group()
    how.add_argument(
        "--refine",
        type=_positive,
        metavar="QUERIES",
        help="ask so many queries an input, and combine their answers with the explainer's map; tells the fidelity of "
        "the result: how well it foresees answers that it was not fitted to",
    )
    how.add_argument(
        "--check",
        type=_positive,
        metavar="QUERIES",
        help="measure the fidelity of the explainer's map by so many queries an input, and change nothing",
    )
    asked.add_argument(
        "--until-fidelity",
        type=_share,
        metavar="F",
        help="with --refine: go on, as many queries more at a time, until the lower end of the fidelity is at least F",
    )
    asked.add_argument(
        "--refine-total",
        type=_positive,
        metavar="QUERIES",
        help="with --refine: of all inputs together, spent on those whose maps miss most, as the explainer foresees "
        "at no query; the others keep its own map and class. Reads the inputs twice",
    )
    asked.add_argument(
        "--worst",
        type=_positive,
        metavar="N",
        help="with --check or --refine: also a page of the N least faithful inputs (100 at most), worst.html",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """Which classes, and what is written."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--target", metavar="NAME_OR_INDEX", help="class to explain (default: the predicted one)")
    which.add_argument("--top-k", type=_positive, default=1, help="explain the K likeliest classes (default: 1)")
    parser.add_argument("--output", type=_folder, help="folder (default: explanations; strings are shown alone)")
    parser.add_argument(
        "--formats",
        type=_formats,
        metavar="LIST",
        help="of png, jpg, webp, npz, json, html (default: png,npz,json); texts: html, jsonl, csv (default: all); or "
        "parquet alone: all inputs in tables, no file each",
    )
    parser.add_argument("--no-gallery", action="store_true", help="write no gallery")
    shards = parser.add_argument_group("parquet")
    shards.add_argument(
        "--shard-size", type=_positive, default=10_000, metavar="N", help="inputs a table (default: 10000)"
    )
    shards.add_argument(
        "--scores", choices=("float16", "uint8"), default="float16",
        help="type of the scores; uint8 with the low and high of each map (default: float16)",
    )  # fmt: skip
    parser.add_argument(
        "--resume", action="store_true",
        help="go on with the run of this output folder that was stopped; its settings and inputs must be the same",
    )  # fmt: skip


def _add_computing(parser: argparse.ArgumentParser) -> None:
    """How and where it is computed."""
    parser.add_argument("--batch-size", type=_positive, default=32, help="inputs a pass (default: 32)")
    parser.add_argument("--num-workers", type=_positive, help="threads for files of pictures (default: the cores)")
    parser.add_argument(
        "--precision", choices=("auto", "bf16", "fp32"), default="fp32",
        help="in which the explainer computes; auto: bf16 where the processor has instructions for it (default: fp32)",
    )  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: cuda where there is one)")
    parser.add_argument(
        "--black-box",
        metavar="NAME",
        help="ask this black box too, once an input: for its own classes and probability; with --method the one that "
        "is explained. A shipped name, a timm name, a weights or ONNX file, or a folder or hub id of transformers; "
        "or a YAML file of any black box (an address, a function), or of a run or benchmark that has one",
    )
    parser.add_argument(
        "--backbone",
        metavar="FILE|MODEL[=WEIGHTS]",
        help="local file of the weights that an explainer stands on whose own file leaves them out (default: timm's "
        "hub). With --method iassa: timm network whose features say which places are alike, with a local file of its "
        "weights or else those of the hub; `none` does without (default: tf_efficientnet_lite0=efficientnet_lite0)",
    )


def _add_texts(parser: argparse.ArgumentParser) -> None:
    """How texts and tables are read."""
    texts = parser.add_argument_group("texts")
    texts.add_argument(
        "--column",
        metavar="NAME",
        help="column of the texts (default: text, sentence ... or the only), or of the pictures of a table (default: "
        "the only one that has such); quotes in a .tsv are part of the text",
    )
    texts.add_argument("--pair-column", metavar="NAME", help="column of the second texts of pairs")
    texts.add_argument(
        "--window", metavar="OVERLAP", type=_overlap, nargs="?", const=64,
        help="explain long texts whole, in windows that overlap by so many tokens (64); after the inputs",
    )  # fmt: skip
