"""The recommended run for a black box, as the content of a config and with the reasons for what stands in it."""

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import yaml
from torch import Tensor

from fex.black_box import BlackBox
from fex.black_box.text import TextInputs
from fex.explainers.encoder_choice import EncoderChoice, grid_of
from fex.images import PatchGrid
from fex.nets import ExplainerNet
from fex.sounds import LogMel

__all__ = ["Plan", "built", "content_of", "cost_of", "dumped", "plan_of"]

MASKS = 5  # an instance and step, the paper's T
ENOUGH = 20_000  # instances seen in training, repeated or not
MOST_EPOCHS = 50
TIMED = 8  # queries at a time
PATIENCE = 2.0  # seconds of timing
BANDS, MOST_HALVES = 4, 28  # of a spectrogram's grid: stripes of bands; places in time
MOST_TIMED = 200  # queries, where they are so quick that more would tell nothing


@dataclass(frozen=True)
class Plan:
    """What is decided before a config is written.

    Attributes:
        name: of the run, below runs/.
        instances: that are trained on.
        batch_size: instances a step.
        epochs: passes over the data.
        grid: (height, width); None for texts.
        validates: whether some instances are held back.
        removal: class path of what stands in for a removed feature; None for the usual of pictures.
    """

    name: str
    instances: int
    batch_size: int
    epochs: int
    grid: tuple[int, int] | None
    validates: bool
    removal: str | None = None

    @property
    def steps(self) -> int:
        """Of training."""
        return self.epochs * (self.instances // self.batch_size)

    @property
    def queries(self) -> int:
        """Of training: an answer to each instance and to each of its masks."""
        return self.steps * self.batch_size * (MASKS + 1)


def plan_of(
    box: BlackBox, choice: EncoderChoice, name: str, data: Any, *, grid: tuple[int, int] | None,
    epochs: int | None, batch_size: int | None,
) -> Plan:  # fmt: skip
    """A plan for a box and data that are set up to fit; what is given wins.

    Raises:
        ValueError: nothing to train on, or less than a batch.
    """
    count = len(data.datasets["train"]) if "train" in data.datasets else 0
    size = batch_size or max(1, min(32 if isinstance(box, TextInputs) else 64, count))
    if not 1 <= size <= count:
        raise ValueError(f"There are {count} instances to train on, less than a batch of {size}: set a smaller one.")
    removal = None
    if isinstance(box, TextInputs):
        grid, removal = None, f"fex.texts.{'MaskToken' if box.preprocess.mask is not None else 'DropToken'}"
    elif hasattr(data, "log_mel"):
        grid, removal = grid or _time_grid(box.preprocess.size, data.log_mel), "fex.sounds.Silence"
    elif grid is None:
        grid = grid_of(box, choice.encoder, count)
    seen = count // size * size
    epochs = epochs or min(MOST_EPOCHS, max(1, math.ceil(ENOUGH / seen)))
    return Plan(name, count, size, epochs, grid, "val" in data.datasets, removal)


def _time_grid(size: tuple[int, int], log_mel: LogMel) -> tuple[int, int]:
    """Height and width of the grid of a spectrogram: four stripes of bands, half a second each, some at least."""
    halves = round(2 * size[1] * log_mel.hop / log_mel.sample_rate)
    return min(BANDS, size[0]), min(size[1], max(BANDS, min(MOST_HALVES, halves)))


def _module(box: BlackBox, box_spec: Any, choice: EncoderChoice, plan: Plan) -> dict[str, Any]:
    grid = None if plan.grid is None else {"height": plan.grid[0], "width": plan.grid[1]}
    explainer = {"encoder": {"class_path": choice.class_path, "init_args": choice.init_args}, "value_degree": 3}
    removal = {} if plan.removal is None else {"removal": {"class_path": plan.removal}}
    return {
        "black_box": box_spec,
        "features": grid,
        "explainer": {"class_path": "fex.nets.ExplainerNet", "init_args": explainer},
        **removal,
        "reward": {"class_path": "fex.policy.Retained"},
        "num_masks": MASKS,
        "noise": {"class_path": "fex.policy.Antithetic"},
        "exploration": {"class_path": "fex.policy.TwoSidedBudget", "init_args": {"low": -3.0, "high": 3.0}},
        "control": {"class_path": "fex.policy.CompatibleControl"},
        "entropy_weight": 0.02,
        "kl_weight": 0.02,
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": choice.lr, "weight_decay": 0.05}},
        "warmup": 0.05,
        "decay": "cosine",
    }


def _trainer(plan: Plan) -> dict[str, Any]:
    callbacks = "lightning_modules.callbacks."
    saving = {"save_last": True, "enable_version_counter": False, "every_n_train_steps": min(200, max(1, plan.steps))}
    shown: list[dict[str, Any]] = [
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": saving},
        {"class_path": f"{callbacks}HealthSigns"},
    ]
    if plan.validates and plan.grid is not None:
        shown.append({"class_path": f"{callbacks}HeatMaps"})
    half = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return {
        "max_epochs": plan.epochs,
        "precision": "bf16-mixed" if half else "32-true",
        "log_every_n_steps": max(1, min(20, plan.instances // plan.batch_size)),
        "num_sanity_val_steps": 0,
        "check_val_every_n_epoch": max(1, plan.epochs // 5),
        **({} if plan.validates else {"limit_val_batches": 0}),
        "logger": {
            "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
            "init_args": {"save_dir": "runs", "name": plan.name, "version": ""},
        },
        "callbacks": shown,
    }


def content_of(box: BlackBox, box_spec: Any, data_spec: Any, choice: EncoderChoice, plan: Plan) -> dict[str, Any]:
    """The config: plain data where `box_spec` and `data_spec` are."""
    return {
        "seed_everything": 0,
        "model": {"class_path": "lightning_modules.FEXModule", "init_args": _module(box, box_spec, choice, plan)},
        "data": data_spec,
        "trainer": _trainer(plan),
    }


def workers() -> int:
    """Loader processes that leave the cores to the networks."""
    return 0 if (cores := os.cpu_count() or 1) <= 2 else min(8, cores // 2)


def built(spec: Any) -> Any:
    """What class paths of a config of this project's own making name, built; anything else is as it is.

    The classes are named by strings, as in a YAML file, since those of Lightning stand above this package.
    """
    if isinstance(spec, list):
        return [built(each) for each in spec]
    if not isinstance(spec, Mapping):
        return spec
    if "class_path" not in spec:
        return {key: built(value) for key, value in spec.items()}
    module, _, name = spec["class_path"].rpartition(".")
    return getattr(import_module(module), name)(**{key: built(each) for key, each in spec.get("init_args", {}).items()})


def cost_of(box: BlackBox, choice: EncoderChoice, plan: Plan, inputs: Tensor) -> tuple[float, float]:
    """Between how many seconds the training will probably take on this machine; spends queries for some seconds.

    The middle half of the batches is what counts: a machine is never still. The end of the range has a third more, for
    what is not timed here: reading, validation, checkpoints.

    Args:
        box: the box.
        choice: the encoder.
        plan: the plan.
        inputs: some instances, as the box takes them.
    """
    rows = inputs[torch.arange(TIMED) % len(inputs)]
    features = box.features if plan.grid is None else PatchGrid(*plan.grid)
    net = ExplainerNet(choice.encoder, value_degree=3).build(box.num_classes, features, multi_label=box.multi_label)

    def update() -> None:
        logits, classes = net(inputs[:2])
        (logits.sum() + classes.sum()).backward()

    query = _middle_half(lambda: box(rows), MOST_TIMED // TIMED)
    learning = _middle_half(update, 5)
    instances = plan.steps * plan.batch_size
    low, high = (
        instances * ((MASKS + 1) * one / TIMED + 1.5 * other / len(inputs[:2]))
        for one, other in zip(query, learning, strict=True)
    )
    return low, high * 4 / 3


def _middle_half(work: Callable[[], Any], most: int) -> tuple[float, float]:
    """First and third quartile of the seconds that `work` takes, after a warm-up: three times at least."""
    work()
    taken: list[float] = []
    # By the median: a pause of the machine must not end the timing, of which it would be the most.
    while len(taken) < 3 or (len(taken) < most and len(taken) * statistics.median(taken) < PATIENCE):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    low, _, high = statistics.quantiles(taken, n=4, method="inclusive")
    return low, high


def _inline(value: Any) -> str:
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, sort_keys=False).strip()[1:-1]


def dumped(content: dict[str, Any], remarks: Mapping[str, str], place: str = "", indent: int = 0) -> str:
    """A config as YAML, with remarks by place ("trainer.max_epochs")."""
    lines = []
    for key, value in content.items():
        own = f"{place}.{key}".strip(".")
        remark = f" # {remarks[own]}" if own in remarks else ""
        pad = " " * indent
        flat = not isinstance(value, dict) or not any(isinstance(each, dict | list) for each in value.values())
        text = _inline(value)
        deep = isinstance(value, list) and any(isinstance(each, dict) for each in value)
        if flat and not deep and (len(text) <= 90 or not isinstance(value, dict)):
            lines.append(f"{pad}{key}: {text}{remark}")
        elif isinstance(value, list):
            lines.append(f"{pad}{key}:{remark}")
            lines += [f"{pad}  - {_inline(each)}" for each in value]
        else:
            lines.append(f"{pad}{key}:{remark}")
            lines.append(dumped(value, remarks, own, indent + 2))
    return "\n".join(lines)
