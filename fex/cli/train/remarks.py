"""What `fex-train --init` says beside what it writes: comments in the config, and what to check."""

import math
from typing import Any

from fex.black_box import BlackBox, HttpBlackBox, PromptBlackBox
from fex.black_box.classes import are_named
from fex.black_box.graph import GraphBlackBox
from fex.black_box.text import TextInputs
from fex.cli.train.recipe import Plan
from fex.explainers.encoder_choice import EncoderChoice

__all__ = ["doubts_of", "remarks_of", "size_of", "span"]


def remarks_of(
    box: BlackBox, choice: EncoderChoice, plan: Plan, spec: dict[str, Any], data_spec: dict[str, Any], said: list[str]
) -> dict[str, str]:
    """Comments by their place in the config."""
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
    if isinstance(box, PromptBlackBox):
        remarks[f"{own}.black_box.init_args.template"] = "the word of a class is the next token"
        remarks[f"{own}.black_box.init_args.labels"] = "a word a class, of one token each"
        remarks[f"{own}.black_box.init_args.tokenizer"] = "its tokens are the features, its network the explainer's"
        remarks[f"{own}.removal"] = "or fex.texts.DropToken: the token leaves, and the text is shorter"
    if "log_mel" in data_spec["init_args"]:
        remarks[f"{own}.removal"] = "the quietest level"
        if "preprocess" in spec["init_args"]:
            remarks[f"{own}.black_box.init_args.preprocess"] = "CHECK: bands x frames that the box takes (--size)"
        remarks["data.init_args.log_mel"] = "CHECK: as in the training of the box"
        remarks["data.init_args.seconds"] = "each clip is cut to it, or continued by silence"
    return remarks


def span(low: float, high: float) -> str:
    """Such as "3 to 5 minutes"."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")):
        if high >= 2 * size or size == 1:
            first, last = max(1, round(low / size)), max(2, math.ceil(high / size))
            return f"{first} to {last} {unit}"
    raise AssertionError


def size_of(box: BlackBox, data_spec: dict[str, Any]) -> str:
    """What the box's inputs are cut to."""
    if isinstance(box, TextInputs):
        return f"at most {box.preprocess.max_length} tokens"
    height, width = box.preprocess.size
    if "log_mel" in data_spec["init_args"]:
        return f"spectrograms of {height} bands and {width} frames"
    return f"pictures of {height} x {width} pixels"


def doubts_of(box: BlackBox, spec: dict[str, Any], data_spec: dict[str, Any]) -> list[str]:
    """What neither box nor flags have said."""
    doubts, sounds = [], data_spec["init_args"].get("log_mel")
    if not are_named(box.class_names):
        doubts.append("the classes have no names, results show numbers: --classes cat,dog or a file of names")
    if sounds is not None:
        doubts.append(
            f"spectrograms are made as {', '.join(f'{key} {value}' for key, value in sounds.items())}: change log_mel "
            "in the config to what the box was trained with"
        )
    elif "preprocess" in spec["init_args"] or isinstance(box, HttpBlackBox):
        height, width = box.preprocess.size
        doubts.append(f"pictures go in at {height} x {width} pixels: --size where the box takes others")
    if isinstance(box, GraphBlackBox):
        kind = "spectrograms" if sounds is not None else "pictures"
        doubts.append(f"{kind} are normalised as ImageNet's; if the graph does so itself, set normalise: false")
    return doubts
