"""What a protocol is: what it is given, what it gives back, what is reported of it.

A protocol turns attributions into **components**, tensors with one row an instance, and says which **summaries** are
reported: each a function of one component's mean over instances, so that a ratio over a whole data set (IoU) and a
mean of per-image values (average precision) are summed across processes and bootstrapped alike. A component's row is
NaN where an instance has no such value; it is left out of that summary and of its count.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.metrics.curve import Curve
from fex.modality import Features

__all__ = ["Attributed", "Explain", "Protocol", "Summary", "mean_value"]

Explain = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs (B, ...) and classes (B,) -> scores (B, N) and maps (B, H, W) of pixels, or (B, L) of tokens."""

_NEEDS = {
    "labels": "scores the true label",
    "masks": "compares maps with ground-truth masks",
    "words": "scores whole words",
}


@dataclass(frozen=True)
class Attributed:
    """Instances with their attributions; what every protocol evaluates.

    Attributes:
        inputs: (B, ...), as the black box takes them.
        scores: attributions (B, N) of the features.
        maps: attributions (B, H, W) of the pixels: bilinear, where the explainer scores features; of tokens (B, L).
        features: the N features.
        clean: the black box's probabilities (B, C) of the inputs.
        labels: true classes (B,), or None.
        masks: ground-truth foreground (B, H, W) or rationale (B, L), bool, or None.
        words: number of each token's word (B, L), int64, -1 where there is none, or None.
        explain: the explainer, for protocols that ask it about other inputs or classes, or None.
        explain_box: the same method built anew around another black box, for protocols that change the box; None
            where the method looks at no box, or cannot be built anew.
        target: explained classes (B,), or None: the predicted ones.
        ignored: pixels of which the ground truth says nothing (B, H, W), bool; None where it knows them all.
    """

    inputs: Tensor
    scores: Tensor
    maps: Tensor
    features: Features
    clean: Tensor
    labels: Tensor | None = None
    masks: Tensor | None = None
    words: Tensor | None = None
    explain: Explain | None = None
    explain_box: Callable[[BlackBox], Explain] | None = None
    target: Tensor | None = None
    ignored: Tensor | None = None

    @property
    def known(self) -> set[str]:
        """Which of labels, masks and words the data has."""
        return {name for name in _NEEDS if getattr(self, name) is not None}

    @property
    def explained(self) -> Tensor:
        """The explained classes (B,)."""
        return self.clean.argmax(1) if self.target is None else self.target

    def explainer_for(self, protocol: str) -> Explain:
        """`explain`, where there must be one.

        Raises:
            ValueError: there is none; names the protocol.
        """
        if self.explain is None:
            raise ValueError(
                f"Protocol {protocol!r} asks the explainer again, and these are attributions alone: run it by "
                "`fex-bench run` or `evaluate_explainer`."
            )
        return self.explain


class Summary(NamedTuple):
    """A reported number: `statistic` of the mean of `component` over instances; maps (..., D) or (...) to (...)."""

    component: str
    statistic: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Protocol(ABC):
    """Base of the protocols.

    Attributes:
        name: the word by which tables name it.
        modality: "image" or "text", of a class that cannot score others.
    """

    modality: ClassVar[str | None] = None
    name: str

    @property
    @abstractmethod
    def components(self) -> Mapping[str, int]:
        """Width D of each component; 1 stands for one value an instance, (B,)."""

    @property
    @abstractmethod
    def summaries(self) -> Mapping[str, Summary]:
        """What is reported, by metric name."""

    @property
    def needs(self) -> tuple[str, ...]:
        """What of "labels", "masks" and "words" it cannot do without."""
        return ()

    def check_features(self, features: Features) -> None:
        """For runs that spend queries before they score.

        Raises:
            ValueError: features of another modality.
        """
        if self.modality not in (None, features.modality):
            others = {"image": "fex, rise or dax", "text": "text-insertion, faithfulness or eraser"}
            raise ValueError(
                f"Protocol {self.name!r} is one of {self.modality}s: use {others.get(features.modality, 'another')}."
            )

    def check_data(self, known: Container[str]) -> None:
        """For runs that spend queries before they score.

        Args:
            known: what the data has of "labels", "masks" and "words"; a batch, for one.

        Raises:
            ValueError: something that the protocol needs is missing.
        """
        for name in self.needs:
            if name not in known and self.modality == "text":
                raise ValueError(
                    f"Protocol {self.name!r} compares words with human rationales; the data has no {name}."
                )
            if name not in known:
                raise ValueError(f"Protocol {self.name!r} {_NEEDS[name]}; the data has no {name}.")

    @abstractmethod
    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Components of `data`, float32, (B,) or (B, D).

        Raises:
            ValueError: `data` has no labels or masks where the protocol needs them.
        """

    def curves(self, means: Mapping[str, Tensor]) -> dict[str, Curve]:  # noqa: ARG002
        """Figures from the components' means over instances, by name; none where the protocol has no steps."""
        return {}

    def describe(self, features: Features) -> dict[str, str]:  # noqa: ARG002
        """Fill and unit, for the rows of a table."""
        return {"removal": "-", "unit": "-"}


def mean_value(mean: Tensor) -> Tensor:
    """The statistic of a component that is reported as it is."""
    return mean
