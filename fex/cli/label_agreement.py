"""How often a black box agrees with the labels of the data, told before anything is spent.

A box that sees pictures in another size, normalisation or order of classes than it was trained with answers all the
same, and all that is computed from its answers is wrong in silence. The labels, where there are any, show it.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from fex.benchmark.fingerprint import fingerprint
from fex.benchmark.settings import plain_settings
from fex.black_box import BlackBox
from fex.black_box.classes import misplaced
from fex.black_box.steadiness import STEADY_INPUTS, check_steadiness
from fex.storage.atomic import replacing
from fex.types import Batch

__all__ = ["SAMPLE", "LabelAgreement", "label_agreement", "tell_agreement"]

SAMPLE = 64  # instances that are asked about
KEPT = "label_agreement.json"
_FEW = 10  # labels, of which as few may be wrong by chance
_POOR = 0.05  # agreement below it is as bad as chance, however many classes there are


def label_agreement(
    black_box: BlackBox, batch: Batch, stage: str, class_names: list[str] | None = None
) -> tuple[str, list[str]]:
    """One sentence, and warnings.

    Args:
        black_box: asked once an instance, and about a few again: see `fex.black_box.steadiness`.
        batch: a sample of the data, with labels; rows whose `valid` is False are left out.
        stage: which part of the data it is.
        class_names: names of the labels, where the data has them.
    """
    rows = batch["valid"] if "valid" in batch else batch["labels"] >= 0
    labels = batch["labels"]
    own = rows & (labels >= 0) & (labels < black_box.num_classes)
    warnings = []
    if bool((rows & ~own).any()):
        strange = sorted(set(labels[rows & ~own].tolist()))[:5]
        warnings.append(
            f"Labels such as {', '.join(map(str, strange))} are none of the {black_box.num_classes} classes of black "
            f"box {black_box.name!r}: is it the box of this data?"
        )
    count = int(own.sum())
    if count == 0:
        return f"No label of the {stage} data can be compared with the black box's answers.", warnings
    before, inputs = black_box.queries, batch["inputs"][own]
    scores, truth = black_box(inputs), labels[own].cpu()
    if unsteady := check_steadiness(black_box, inputs, scores):
        warnings.append(unsteady)
    answers = scores.argmax(1).cpu()
    right = int((answers == truth).sum())
    line = (
        f"The black box agrees with {right} of {count} labels of the {stage} data ({right / count:.0%}; a sample, "
        f"{black_box.queries - before} queries)."
    )
    warnings += _names_apart(black_box.class_names, class_names, answers.tolist(), truth.tolist(), right)
    chance = 1 / black_box.num_classes
    spread = 2 * math.sqrt(count * chance * (1 - chance))
    if count >= _FEW and right <= max(count * chance + spread, count * _POOR):
        warnings.append(
            f"The black box agrees with {right} of {count} labels, near chance ({chance:.2g}): are its `preprocess` "
            "(size and crop), `mean` and `std`, or its tokenizer, those of its training, and do the labels count "
            "the classes in the order of its outputs?"
        )
    return line, warnings


def _names_apart(
    own: list[str], names: list[str] | None, answers: list[int], truth: list[int], right: int
) -> list[str]:
    """A warning where box and data have a class in different places; says which numbering the answers speak for."""
    name = misplaced(own, names) if names is not None else None
    if names is None or name is None:
        return []
    places = {each.casefold(): place for place, each in enumerate(own)}
    moved = [places.get(names[label].casefold(), -1) if label < len(names) else -1 for label in truth]
    by_name = sum(a == b for a, b in zip(answers, moved, strict=True))
    verdict = (
        "labels are compared by number: give the data's classes the box's order"
        if by_name > right
        else "the box's `class_names` are not in the order of its outputs, so results would carry wrong names: give "
        "the data's order"
    )
    return [
        f"Class {name!r} is number {own.index(name)} to the black box and another one in the data, whose order is "
        f"{', '.join(names[:8])}{', ...' * (len(names) > 8)}. Counted by name, {by_name} of {len(truth)} labels agree, "
        f"by number {right}: it seems that {verdict}."
    ]


def tell_agreement(
    black_box: BlackBox, data: Any, stages: tuple[str, ...], folder: str | Path | None = None
) -> list[str]:
    """Prints the sentence to standard error and returns the warnings; nothing where the data has no labels.

    Args:
        black_box: what is explained.
        data: a datamodule that is set up; one that is not of this package has no `sample`. Without labels only the
            steadiness of the box is looked at, and where nothing is kept.
        stages: of its parts, the first that is there is looked at.
        folder: of the run's results, where what was found is kept: a run that goes on does not ask again.
    """
    sample = None
    for count in (1, SAMPLE):  # one is read to see whether there are labels at all
        sample = data.sample(count, stages) if hasattr(data, "sample") else None
        if sample is None:
            return []
        if "labels" not in sample[1]:
            few = None if folder is not None else data.sample(4 * STEADY_INPUTS, stages)
            return [each for each in [check_steadiness(black_box, few[1]["inputs"]) if few else ""] if each]
    assert sample is not None
    names = getattr(data, "class_names", None)
    key = _key(black_box, *sample, names) if folder is not None else ""
    found = _kept(Path(folder) / KEPT, key) if folder is not None else None
    if found is not None:
        print(f"{found['line']} (Asked by an earlier run.)", file=sys.stderr, flush=True)
        return found["warnings"]
    line, warnings = label_agreement(black_box, sample[1], sample[0], names)
    if folder is not None:
        with replacing(Path(folder) / KEPT) as part:
            part.write_text(json.dumps({"key": key, "line": line, "warnings": warnings}, indent=1))
    print(line, file=sys.stderr, flush=True)
    return warnings


def _key(black_box: BlackBox, stage: str, batch: Batch, names: list[str] | None) -> str:
    """What the answers and the sentence depend on; of a box that can only be queried, as far as this side knows."""
    try:
        weights: Any = dict(black_box.module.state_dict())
    except TypeError:
        weights = None
    rows = [batch[key] for key in ("inputs", "labels", "valid") if key in batch]  # type: ignore[literal-required]
    return fingerprint([plain_settings(black_box), weights, stage, rows, names])


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    """What an earlier run found under the same key; None where there is nothing that can be read."""
    try:
        found = json.loads(path.read_text())
        whole = found["key"] == key and isinstance(found["line"], str)
        return found if whole and all(isinstance(each, str) for each in found["warnings"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


class LabelAgreement(pl.Callback):
    """Tells it before a run begins; a resumed training was told before."""

    def _tell(self, trainer: pl.Trainer, module: Any, stages: tuple[str, ...], folder: str | None = None) -> None:
        box = getattr(module, "black_box", None)
        if not isinstance(box, BlackBox) or not trainer.is_global_zero:
            return
        for warning in tell_agreement(box, getattr(trainer, "datamodule", None), stages, folder):
            print(f"warning: {warning}", file=sys.stderr, flush=True)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the validation data, or else the training data."""
        if trainer.ckpt_path is None:
            self._tell(trainer, pl_module, ("val", "train"))

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of the test data."""
        self._tell(trainer, pl_module, ("test",))

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of runs that explain the instances one by one."""
        if getattr(pl_module, "per_instance", False):
            self._tell(trainer, pl_module, ("predict", "test"), pl_module.output)
