"""The first inputs of a benchmark, which its page shows with the maps of every method."""

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fex.benchmark.evaluation import Evaluation
from fex.benchmark.report.text_grid import TextRow
from fex.benchmark.setting import PICTURES
from fex.black_box.base import BlackBox, resolve_target
from fex.explanations.text import TextExplanation
from fex.texts.tokenized import Text
from fex.texts.tokenizer import TextPreprocess

__all__ = ["FirstInput", "explained_texts", "first_inputs"]

log = logging.getLogger(__name__)


class FirstInput(NamedTuple):
    """One input as the data gives it.

    Attributes:
        title: its place in the data, or its name.
        inputs: a picture (3, H, W), token ids (L,), or something else.
        text: the text itself, where it is one and the data hands it on.
    """

    title: str
    inputs: Tensor
    text: Text | None

    @property
    def is_picture(self) -> bool:
        """Whether it can be drawn."""
        return self.inputs.ndim == 3 and self.inputs.shape[0] == 3


def first_inputs(data: Any, limit: int | None) -> list[FirstInput]:
    """The first valid test instances, in the order in which they are scored.

    Args:
        data: a datamodule, set up for the test.
        limit: of the run.
    """

    def each() -> Iterator[FirstInput]:
        for batch in data.test_dataloader():
            inputs = batch["inputs"]
            if not isinstance(inputs, Tensor):
                return
            index = batch.get("index", torch.arange(len(inputs)))
            keep = batch.get("valid", torch.ones(len(inputs), dtype=torch.bool))
            texts = batch.get("texts", [None] * len(inputs))
            for row in keep.nonzero().flatten().tolist():
                title = batch["names"][row] if texts[row] is not None and "names" in batch else f"#{int(index[row])}"
                yield FirstInput(title, inputs[row], texts[row])

    return list(islice(each(), PICTURES if limit is None else min(PICTURES, limit)))


def explained_texts(
    first: Sequence[FirstInput], evaluations: Sequence[Evaluation], black_box: BlackBox, preprocess: Any
) -> list[TextRow]:
    """The texts among the first inputs, each explained by every method, for the class that the box predicts.

    Args:
        first: as of `first_inputs`.
        evaluations: of methods that have maps of all of them.
        black_box: what was explained.
        preprocess: what made token ids of the texts.
    """
    if not evaluations or not isinstance(preprocess, TextPreprocess):
        return []
    found = []
    for number, (title, inputs, text) in enumerate(first):
        if text is None:
            continue
        row = preprocess(text)
        if not torch.equal(row.ids, inputs[: len(row.ids)].cpu()):
            log.warning("%s is not shown in the report: its token ids are not those of the data's tokenizer.", title)
            continue
        lines: TextRow = {}
        own = torch.tensor(row.parts) >= 0
        for evaluation in evaluations:
            assert evaluation.maps is not None
            assert evaluation.clean is not None
            scores, clean = evaluation.maps[number, : len(own)], evaluation.clean[number]
            if not bool(scores[own].isfinite().all()):
                lines[evaluation.method] = None
                continue
            target = int(resolve_target(None, clean[None])[0])
            lines[evaluation.method] = TextExplanation.of_tokens(
                text,
                row,
                scores,
                target=target,
                target_name=black_box.class_names[target],
                probability=float(clean[target]),
                probability_of="black box",
                method=evaluation.method,
                removal="",
                black_box=black_box.name,
                source=title,
            )
        found.append(lines)
    return found
