"""Protocol `model_randomisation`: does the map change when the black box's weights are destroyed?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.shuffled import shuffled_box
from fex.metrics.functional.correlation import class_correlation
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value

__all__ = ["ModelRandomisation"]


@dataclass(frozen=True)
class ModelRandomisation(Protocol):
    """Rank correlation with the map of a box whose weights are shuffled (Adebayo et al. 2018); far from 0 is bad.

    The same method is built anew around the shuffled box and explains the same class. A method that does not look at
    the box while explaining (an amortized explainer, Random) has no score: it would have to be trained anew.

    Attributes:
        shuffle_seed: of the weights.
    """

    modality: ClassVar[str | None] = "image"
    shuffle_seed: int = 0

    components: ClassVar[Mapping[str, int]] = {"correlation": 1}  # type: ignore[misc]
    summaries: ClassVar[Mapping[str, Summary]] = {  # type: ignore[misc]
        "shuffled_weights_correlation": Summary("correlation", mean_value)
    }

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """Correlation (B,), NaN where there is none; asks the explainer of the shuffled box once an instance.

        Raises:
            TypeError: a box that can only be queried has no weights to shuffle.
        """
        self.check_features(data.features)
        if data.explain_box is None:
            return {"correlation": torch.full((len(data.inputs),), torch.nan)}
        shuffled = shuffled_box(black_box, self.shuffle_seed)
        before = shuffled.queries
        scores, _ = data.explain_box(shuffled)(data.inputs, data.explained)
        black_box.queries += shuffled.queries - before  # they cost as much
        return {"correlation": class_correlation(data.scores, scores)}
