"""`fex-train --init my.yaml --black-box BOX --data FOLDER`: looks at both and writes a config that trains."""

import argparse
import logging
import math
from pathlib import Path
from typing import Any

from fex.black_box import BlackBox, HttpBlackBox
from fex.black_box.classes import are_named
from fex.black_box.graph import GraphBlackBox
from fex.black_box.steadiness import check_steadiness
from fex.black_box.text import TextInputs
from fex.cli.train.box_spec import asked_box, is_graph, named_box, spec_of, start_of
from fex.cli.train.data_spec import data_spec_of, holds_texts
from fex.cli.train.recipe import MASKS, TIMED, Plan, built, content_of, cost_of, dumped, plan_of, workers
from fex.explainers.encoder_choice import EncoderChoice, choose_encoder
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
    add("--data", required=True, help="folder of pictures, or file or folder of texts")
    add("--weights", help="of a timm name: a local file (.pth, .safetensors)")
    add("--classes", type=_classes, help="names (cat,dog), a file with one a line, or their number")
    add("--prompts", type=_names, help="of a CLIP or SigLIP: one a class, with commas or in a file with one a line")
    add("--trust", action="store_true", help="a .pt2 file is read, which may run code that is in it")
    add("--size", type=_sides, help="pixels of the box's inputs, 224 or 192x256, where the box does not say it")
    add("--outputs", choices=("probabilities", "logits"), help="what a file of a graph, a URL or a function returns")
    add("--multi-label", action="store_true", help="classes are not exclusive")
    add("--tokenizer", default="minilm", help="of a function of texts: name or folder; default %(default)s")
    add("--grid", type=_sides, help="places of the map, 7 or 7x10")
    add("--epochs", type=int, help="passes over the data")
    add("--batch-size", type=int, help="instances a step")
    add("--name", help="of the run, runs/NAME; by default that of the file")
    return parser


def _loaded(asked: argparse.Namespace) -> tuple[BlackBox, dict[str, Any], dict[str, Any], Any, list[str]]:
    """The box, how a config names it, how one names the data, the data itself, and what was found."""
    found = named_box(asked, texts=holds_texts(Path(asked.data)))
    texts = isinstance(found, TextInputs) or (isinstance(found, dict) and "Text" in found["class_path"])
    data_spec = data_spec_of(asked.data, texts=texts)
    if isinstance(found, BlackBox):
        preprocess: Any = found.preprocess
    elif texts:
        preprocess = load_tokenizer(asked.tokenizer)
    else:
        own = _graph_size(found)
        given = found["init_args"].get("preprocess") or own or {"height": 224, "width": 224}
        if own is None:
            found["init_args"]["preprocess"] = given
        preprocess = Preprocess(**given)
    data = built({**data_spec, "init_args": {**data_spec["init_args"], "preprocess": preprocess}})
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


def _remarks(box: BlackBox, choice: EncoderChoice, plan: Plan, spec: dict[str, Any], said: list[str]) -> dict[str, str]:
    own = "model.init_args"
    remarks = {
        f"{own}.black_box": "; ".join([*said, f"{box.num_classes} classes"]),
        f"{own}.features": "the tokens" if plan.grid is None else "places of the map; more are finer and learn slower",
        f"{own}.explainer": choice.why,
        f"{own}.explainer.init_args.value_degree": "the value follows the budget",
        f"{own}.reward": "the class's probability that a mask retains",
        f"{own}.num_masks": "T, queries an instance and step besides the instance itself",
        f"{own}.noise": "masks in pairs: less noise",
        f"{own}.exploration": "random shares are kept, from few to nearly all",
        f"{own}.control": "less noise, without bias",
        f"{own}.entropy_weight": "temperature, in units of probability",
        f"{own}.kl_weight": "the reward is a probability, the KL is in nats: 1 would drown it",
        "data": f"{plan.instances:,} instances to train on",
        "data.init_args.batch_size": "instances a step; less where the memory ends",
        "trainer.max_epochs": f"{plan.steps:,} steps; more help as long as the maps change",
        "trainer.logger": f"writes to runs/{plan.name}: tensorboard --logdir runs",
    }
    if not plan.validates:
        remarks["trainer.limit_val_batches"] = "too few instances to hold some back"
    if isinstance(box, GraphBlackBox):
        remarks[f"{own}.black_box.init_args.normalise"] = "CHECK: false if the graph takes pixels in [0, 1]"
    if "preprocess" in spec["init_args"]:
        remarks[f"{own}.black_box.init_args.preprocess"] = "CHECK: pixels that the box takes (--size)"
    return remarks


def _span(low: float, high: float) -> str:
    """Such as "3 to 5 minutes"."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")):
        if high >= 2 * size or size == 1:
            first, last = max(1, round(low / size)), max(2, math.ceil(high / size))
            return f"{first} to {last} {unit}"
    raise AssertionError


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
    plan = plan_of(
        box, choice, asked.name or path.stem, data, grid=asked.grid, epochs=asked.epochs, batch_size=asked.batch_size
    )
    sample = data.sample(TIMED, ("train",))
    inputs = sample[1]["inputs"]  # type: ignore[index]
    unsteady = check_steadiness(box, inputs)
    seconds = cost_of(box, choice, plan, inputs)
    if isinstance(box, GraphBlackBox):
        spec["init_args"].setdefault("normalise", True)
    data_spec["init_args"] |= {"batch_size": plan.batch_size, "num_workers": workers()}
    if isinstance(box, TextInputs):
        del data_spec["init_args"]["num_workers"]
    else:
        data_spec["init_args"]["augment"] = {"class_path": "datamodules.HorizontalFlip"}
    content = content_of(box, spec, data_spec, choice, plan)
    cost = f"{plan.queries:,} queries, about {_span(*seconds)} on this machine"
    head = f"# FEX for {box.name}, {cost}.\n# fex-train --config {path}\n"
    with replacing(path) as part:
        part.write_text(head + dumped(content, _remarks(box, choice, plan, spec, said)) + "\n", encoding="utf-8")
    used = box.queries + (TIMED if said else 0)
    taken = "; ".join([f"{box.num_classes} classes", *_size(box), *said])
    print(f"black box  {box.name}: {taken}")
    print(f"data       {plan.instances:,} instances to train on")
    print(f"encoder    {choice.class_path}: {choice.why}")
    print(f"training   {plan.steps:,} steps of {plan.batch_size} x {MASKS} masks, {cost} (timed by {used} queries)")
    for line in [*filter(None, [unsteady]), *_doubts(box, spec)]:
        print(f"check      {line}")
    print(f"written    {path}; now: fex-train --config {path}")
    return path


def _size(box: BlackBox) -> list[str]:
    """What its inputs are cut to."""
    if isinstance(box, TextInputs):
        return [f"at most {box.preprocess.max_length} tokens"]
    height, width = box.preprocess.size
    return [f"pictures of {height} x {width} pixels"]


def _doubts(box: BlackBox, spec: dict[str, Any]) -> list[str]:
    """What neither box nor flags have said."""
    doubts = []
    if not are_named(box.class_names):
        doubts.append("the classes have no names, results show numbers: --classes cat,dog or a file of names")
    if "preprocess" in spec["init_args"] or isinstance(box, HttpBlackBox):
        height, width = box.preprocess.size
        doubts.append(f"pictures go in at {height} x {width} pixels: --size where the box takes others")
    if isinstance(box, GraphBlackBox):
        doubts.append("pictures are normalised as ImageNet's; if the graph does so itself, set normalise: false")
    return doubts
