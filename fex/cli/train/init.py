"""`fex-train --init my.yaml --black-box BOX --data FOLDER`: looks at both and writes a config that trains."""

import argparse
import logging
from pathlib import Path
from typing import Any

from fex.black_box import BlackBox
from fex.black_box.graph import GraphBlackBox
from fex.black_box.steadiness import check_steadiness
from fex.black_box.text import TextInputs
from fex.cli.init_flags import init_flags
from fex.cli.train.box_spec import asked_box, is_graph, named_box, spec_of, start_of
from fex.cli.train.data_spec import built_data, data_spec_of, holds_sounds, holds_texts, spectrogram_size
from fex.cli.train.recipe import MASKS, TIMED, built, content_of, cost_of, dumped, plan_of, workers
from fex.cli.train.remarks import doubts_of, remarks_of, size_of, span
from fex.explainers.encoder_choice import choose_encoder
from fex.images import Preprocess
from fex.storage.atomic import replacing
from fex.texts import load_tokenizer

__all__ = ["run", "run_asked"]


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


def run(argv: list[str]) -> Path:
    """As `run_asked`, of the words of a command line."""
    return run_asked(init_flags(argv))


def run_asked(asked: argparse.Namespace) -> Path:
    """Writes the config; returns its path.

    Raises:
        FileExistsError: there is one already.
        ValueError, OSError, ImportError: a box or data that cannot be used.
    """
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
