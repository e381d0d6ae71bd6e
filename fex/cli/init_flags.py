"""The flags of `fex-train --init`, read before torch is imported, which takes seconds."""

import argparse
from pathlib import Path

__all__ = ["asks_init", "init_flags"]

EXAMPLES = """
examples:
  fex-train --init my.yaml --black-box resnet50 --weights mine.pth --data photos/
  fex-train --init my.yaml --black-box model_folder/ --data reviews.csv
  fex-train --init my.yaml --black-box model.onnx --data photos/ --classes cat,dog
  fex-train --init my.yaml --black-box http://localhost:8000/classify --data photos/ --size 224
  fex-train --init my.yaml --black-box mine.models:classify --data photos/ --size 224 --grid 7
  fex-train --init my.yaml --black-box sounds.safetensors --data clips/
  fex-train --init my.yaml --black-box http://localhost:8000/v1/completions --model my-model --labels no,yes
            --template "Review: {text} Is it good? Answer yes or no:" --data reviews.csv
then: fex-train --config my.yaml
"""


def _sides(word: str) -> tuple[int, int]:
    """Such as 7 or 7x10, height first."""
    sides = word.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"got {word!r}, expected 7 or 7x10, height first")
    return int(sides[0]), int(sides[-1])


def _classes(word: str) -> int | list[str]:
    """A number, names with commas between them, or a file with one name a line."""
    return int(word) if word.isdecimal() else _names(word)


def _names(word: str) -> list[str]:
    """Names with commas between them, or a file with one a line."""
    if Path(word).is_file():
        return [line.strip() for line in Path(word).read_text(encoding="utf-8").splitlines() if line.strip()]
    return [name.strip() for name in word.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fex-train --init",
        description="Look at a black box and data of one's own, and write a commented config that trains an explainer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--init", required=True, metavar="FILE.yaml", help="config to write; an existing one is kept")
    add("--black-box", required=True, help="shipped or timm name, weights, folder, .onnx, .xml, URL, module:function")
    add("--data", required=True, help="folder of pictures or sounds, or file or folder of texts")
    add("--weights", help="of a timm name: a local file (.pth, .safetensors)")
    add("--classes", type=_classes, help="names (cat,dog), a file with one a line, or their number")
    add("--prompts", type=_names, help="of a CLIP or SigLIP: one a class, with commas or in a file with one a line")
    add("--trust", action="store_true", help="a .pt2 file is read, which may run code that is in it")
    size = "pixels of the box's inputs, 224 or 192x256 (of sounds, bands x frames), where the box does not say it"
    add("--size", type=_sides, help=size)
    add("--outputs", choices=("probabilities", "logits"), help="what a file of a graph, a URL or a function returns")
    add("--multi-label", action="store_true", help="classes are not exclusive")
    tokenizer = "of a function of texts or a language model: name or folder; default %(default)s"
    add("--tokenizer", default="minilm", help=tokenizer)
    add("--model", help="of an address of a language model: its name there")
    add("--template", help=r"of the same: the prompt with {text} in it, \n for a new line; or a file that holds it")
    add("--labels", type=_names, help="of the same: a word of one token for each class (no,yes)")
    add("--token-env", help="of the same: the environment variable that holds its token of access")
    add("--grid", type=_sides, help="places of the map, 7 or 7x10")
    add("--epochs", type=int, help="passes over the data")
    add("--batch-size", type=int, help="instances a step")
    add("--name", help="of the run, runs/NAME; by default that of the file")
    return parser


def asks_init(argv: list[str]) -> bool:
    """Whether a command line of `fex-train` asks for a config to be written."""
    return any(word == "--init" or word.startswith("--init=") for word in argv)


def init_flags(argv: list[str]) -> argparse.Namespace:
    """What the words say; ends the program where only help is asked for, or a word cannot be understood."""
    if {"-h", "--help"} & set(argv):  # also where --init still lacks its file
        _parser().print_help()
        raise SystemExit(0)
    return _parser().parse_args(argv)
