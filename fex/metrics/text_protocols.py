"""Protocols of texts: tokens inserted one by one, ERASER's faithfulness pair, agreement with human rationales."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.masking.masker import masked_probabilities, masker_for
from fex.metrics.curve import Curve
from fex.metrics.functional.perturbation import rank_features
from fex.metrics.functional.text import (
    agreement_counts,
    macro_f1,
    mean_macro_f1,
    mean_set_f1,
    rationale_counts,
    share_masks,
    top_masks,
)
from fex.metrics.protocol import Attributed, Protocol, Summary
from fex.modality import Features, Removal
from fex.texts.removal import DropToken, MaskToken

__all__ = ["TEXT_PROTOCOLS", "Faithfulness", "Rationale", "TextInsertion"]

ERASER_SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
MOST_CLASSES = 64  # the counts of each instance have one entry for each class and step


def _ranks(data: Attributed, seed: int) -> tuple[Tensor, Tensor]:
    """Ranks (B, N) and which entries are tokens (B, N)."""
    valid = data.features.valid(data.inputs)
    if valid is None:
        raise ValueError(f"Got {data.features}, expected features that say which of them are tokens (`valid`).")
    return rank_features(data.scores, data.features.seeds(data.inputs, seed), valid), valid


@dataclass(frozen=True)
class TextInsertion(Protocol):
    """F1 of the box's prediction against its clean one, as the most important tokens come back (paper, Figure 3).

    All other tokens are removed. F1 is the mean over the classes that the clean texts have; the score is the mean over
    the steps. A text with fewer tokens than a step inserts is whole there.

    Attributes:
        counts: tokens inserted at each step.
        removal: fill.
    """

    modality: ClassVar[str | None] = "text"
    counts: tuple[int, ...]
    removal: Removal

    @property
    def components(self) -> Mapping[str, int]:
        """Hits, predictions and clean predictions of each class at each step; D depends on the classes."""
        return {"agreement": 0}

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Mean F1 over the steps: higher is better."""
        return {"f1": Summary("agreement", partial(mean_macro_f1, steps=len(self.counts)))}

    def curves(self, means: Mapping[str, Tensor]) -> dict[str, Curve]:
        """F1 over the number of tokens inserted: Figure 3 of the paper."""
        values = macro_f1(means["agreement"], len(self.counts))
        return {"f1": Curve("tokens inserted", "F1", list(self.counts), values.tolist())}

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Counts (B, S * 3 * C), one query an instance and step."""
        self.check_features(data.features)
        if black_box.num_classes > MOST_CLASSES:
            raise ValueError(f"Protocol {self.name!r} counts classes one by one: at most {MOST_CLASSES} are supported.")
        ranks, _ = _ranks(data, seed)
        masker = masker_for(black_box, data.features, self.removal)
        found = masked_probabilities(black_box, masker, data.inputs, top_masks(ranks, self.counts))
        return {"agreement": agreement_counts(found.argmax(2), data.clean.argmax(1), black_box.num_classes)}

    def describe(self, features: Features) -> dict[str, str]:
        """Fill and unit."""
        return {"removal": self.removal.name, "unit": features.describe()}


@dataclass(frozen=True)
class Faithfulness(Protocol):
    """ERASER's pair: what the box loses without the most important tokens, and what it lacks with them alone.

    comprehensiveness = f_y(x) - f_y(x without them), higher is better; sufficiency = f_y(x) - f_y(them alone), lower is
    better; y is the predicted class, and both are means over shares of the tokens (at least one token each).

    Attributes:
        shares: of the tokens.
        removal: fill.
    """

    modality: ClassVar[str | None] = "text"
    shares: tuple[float, ...]
    removal: Removal

    @property
    def components(self) -> Mapping[str, int]:
        """Both, at each share."""
        return {"comprehensiveness": len(self.shares), "sufficiency": len(self.shares)}

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Means over the shares."""
        return {name: Summary(name, _mean_last) for name in self.components}

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """Differences of probability (B, S), two queries an instance and share."""
        self.check_features(data.features)
        ranks, valid = _ranks(data, seed)
        masker, target = masker_for(black_box, data.features, self.removal), data.clean.argmax(1)
        clean = data.clean.gather(1, target.unsqueeze(1))
        top = share_masks(ranks, valid.sum(1), self.shares)
        asked = partial(masked_probabilities, black_box, masker, data.inputs, target=target)
        return {"comprehensiveness": clean - asked(~top), "sufficiency": clean - asked(top)}

    def describe(self, features: Features) -> dict[str, str]:
        """Fill and unit."""
        return {"removal": self.removal.name, "unit": features.describe()}


def _mean_last(means: Tensor) -> Tensor:
    return means.mean(-1)


@dataclass(frozen=True)
class Rationale(Protocol):
    """F1 of the k most important words against the words that a human marked (plausibility).

    A word has the score of its largest token. Only words that the box reads count: what is cut off is neither found
    nor missed. A text without a marked word has no such value.

    Attributes:
        counts: k, of each step.
    """

    modality: ClassVar[str | None] = "text"
    counts: tuple[int, ...]

    @property
    def components(self) -> Mapping[str, int]:
        """Sums for the micro mean and F1 of each instance, at each k."""
        return {"overlap": 3 * len(self.counts), "set_f1": len(self.counts)}

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """Micro F1 (of the sums over all texts) and macro F1 (mean over texts), means over k."""
        return {
            "micro_f1": Summary("overlap", partial(mean_set_f1, steps=len(self.counts))),
            "macro_f1": Summary("set_f1", _mean_last),
        }

    @property
    def needs(self) -> tuple[str, ...]:
        """The marked words, and which word each token is of."""
        return ("masks", "words")

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """Counts (B, S * 3) and F1 (B, S); no queries."""
        self.check_features(data.features)
        self.check_data(data.known)
        assert data.masks is not None
        assert data.words is not None
        ranks, valid = _ranks(data, seed)
        counts = rationale_counts(ranks, data.words.masked_fill(~valid, -1), data.masks, self.counts)
        hits, chosen, marked = counts.unflatten(1, (len(self.counts), 3)).unbind(2)
        return {"overlap": counts, "set_f1": 2 * hits / (chosen + marked)}

    def describe(self, features: Features) -> dict[str, str]:  # noqa: ARG002
        """Nothing is removed."""
        return {"removal": "-", "unit": "words"}


TEXT_PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # The FEX paper's for texts: tokens come back one by one into a text of mask tokens.
        TextInsertion("text-insertion", tuple(range(1, 21)), MaskToken()),
        # The same for long texts.
        TextInsertion("text-insertion-long", (1, 2, 5, *range(10, 81, 10)), MaskToken()),
        # ERASER (DeYoung et al. 2020): comprehensiveness and sufficiency over 1 ... 50 % of the tokens. There removed
        # tokens are left out (`-drop`); mask tokens keep the positions, as in training.
        Faithfulness("faithfulness", ERASER_SHARES, MaskToken()),
        Faithfulness("faithfulness-drop", ERASER_SHARES, DropToken()),
        # ERASER: agreement with human rationales.
        Rationale("eraser", (5, *range(10, 81, 10))),
    )
}
