"""`fex-train --init my.yaml --black-box BOX --data FOLDER`: looks at both and writes a config that trains."""

import argparse
import logging
from pathlib import Path
from typing import Any

from fex.black_box import BlackBox
from fex.black_box.graph import GraphBlackBox
from fex.black_box.steadiness import check_steadiness
from fex.black_box.text import TextInputs
from fex.cli.train.box_spec import asked_box, is_graph, named_box, spec_of, start_of
from fex.cli.train.data_spec import built_data, data_spec_of, holds_sounds, holds_texts, spectrogram_size
from fex.cli.train.recipe import MASKS, TIMED, built, content_of, cost_of, dumped, plan_of, workers
from fex.cli.train.remarks import doubts_of, remarks_of, size_of, span
from fex.explainers.encoder_choice import choose_encoder
from fex.images import Preprocess
from fex.storage.atomic import replacing
from fex.texts import load_tokenizer

__all__ = ["asks_init", "run"]

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


def asks_init(argv: list[str]) -> bool:
    """Whether a command line of `fex-train` asks for a config to be written."""
    return any(word == "--init" or word.startswith("--init=") for word in argv)


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
        description=__doc__,
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


def _loaded(asked: argparse.Namespace) -> tuple[BlackBox, dict[str, Any], dict[str, Any], Any, list[str]]:
    """The box, how a config names it, how one names the data, the data itself, and what was found."""
    path = Path(asked.data)
    found, sounds = named_box(asked, texts=holds_texts(path)), holds_sounds(path)
    texts = isinstance(found, TextInputs) or (isinstance(found, dict) and "Text" in found["class_path"])
    if isinstance(found, BlackBox):
        preprocess: Any = found.preprocess
    elif texts:
        preprocess = load_tokenizer(asked.tokenizer)
    else:
        own = _graph_size(found)
        usual = spectrogram_size(path) if sounds else {"height": 224, "width": 224}
        given = found["init_args"].get("preprocess") or own or usual
        if own is None:
            found["init_args"]["preprocess"] = given
        preprocess = Preprocess(**given)
    data_spec = data_spec_of(asked.data, texts=texts, size=None if texts else preprocess.size)
    data = built_data(data_spec, preprocess)
    data.needs_labels = False  # an explainer learns from the box's answers
    data.setup("fit")
    if isinstance(found, BlackBox):
        return found, spec_of(found, asked), data_spec, data, []
    sample = data.sample(TIMED, ("train",))
    if sample is None:
        raise ValueError(f"{asked.data!r} holds nothing to train on.")
    box, spec, said = asked_box(found, sample[1]["inputs"])
    return box, spec, data_spec, data, said


def _graph_size(spec: dict[str, Any]) -> dict[str, int] | None:
    """The size that a graph fixes; None where it fixes none, or there is no graph."""
    if not is_graph(spec):
        return None
    given = {key: spec["init_args"][key] for key in ("path", "trust") if key in spec["init_args"]}
    try:
        box = built({**spec, "init_args": given})
    except ValueError as error:
        if "set num_classes" not in str(error):
            raise
        box = built({**spec, "init_args": {**given, "num_classes": 2}})
    size = box.fixed_size
    return None if size is None else {"height": size[0], "width": size[1]}


def run(argv: list[str]) -> Path | None:
    """Writes the config; returns its path, None where only help is asked for.

    Raises:
        FileExistsError: there is one already.
        ValueError, OSError, ImportError: a box or data that cannot be used.
    """
    if {"-h", "--help"} & set(argv):  # also where --init still lacks its file
        _parser().print_help()
        return None
    asked = _parser().parse_args(argv)
    path = Path(asked.init)
    if path.exists():
        raise FileExistsError(f"{path} exists and is kept: give another name, or remove it.")
    box, spec, data_spec, data, said = _loaded(asked)
    count = len(data.datasets.get("train", ()))
    logging.getLogger("transformers").setLevel(logging.ERROR)
    choice = choose_encoder(box, start_of(box, spec), count)
    flags = {"grid": asked.grid, "epochs": asked.epochs, "batch_size": asked.batch_size}
    plan = plan_of(box, choice, asked.name or path.stem, data, **flags)
    inputs = data.sample(TIMED, ("train",))[1]["inputs"]  # type: ignore[index]
    unsteady = check_steadiness(box, inputs)
    seconds = cost_of(box, choice, plan, inputs)
    if isinstance(box, GraphBlackBox):
        spec["init_args"].setdefault("normalise", True)
    data_spec["init_args"] |= {"batch_size": plan.batch_size, "num_workers": workers()}
    if isinstance(box, TextInputs):
        del data_spec["init_args"]["num_workers"]
    elif "log_mel" not in data_spec["init_args"]:  # a sound that is turned round in time is another one
        data_spec["init_args"]["augment"] = {"class_path": "datamodules.HorizontalFlip"}
    content = content_of(box, spec, data_spec, choice, plan)
    cost = f"{plan.queries:,} queries, about {span(*seconds)} on this machine"
    head = f"# FEX for {box.name}, {cost}.\n# fex-train --config {path}\n"
    with replacing(path) as part:
        part.write_text(
            head + dumped(content, remarks_of(box, choice, plan, spec, data_spec, said)) + "\n", encoding="utf-8"
        )
    used = box.queries + (TIMED if said else 0)
    taken = "; ".join([f"{box.num_classes} classes", size_of(box, data_spec), *said])
    print(f"black box  {box.name}: {taken}")
    print(f"data       {plan.instances:,} instances to train on")
    print(f"encoder    {choice.class_path}: {choice.why}")
    print(f"training   {plan.steps:,} steps of {plan.batch_size} x {MASKS} masks, {cost} (timed by {used} queries)")
    for line in [*filter(None, [unsteady]), *doubts_of(box, spec, data_spec)]:
        print(f"check      {line}")
    print(f"written    {path}; now: fex-train --config {path}")
    return path
