"""Protocol `class_discrimination`: do the maps of the two likeliest classes differ?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fex.black_box.base import BlackBox
from fex.metrics.functional.correlation import class_correlation
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value

__all__ = ["ClassDiscrimination"]


@dataclass(frozen=True)
class ClassDiscrimination(Protocol):
    """Rank correlation of the attributions of the box's first two classes; 1 ignores the class, lower is better."""

    modality: ClassVar[str | None] = "image"
    components: ClassVar[Mapping[str, int]] = {"correlation": 1}  # type: ignore[misc]
    summaries: ClassVar[Mapping[str, Summary]] = {  # type: ignore[misc]
        "class_correlation": Summary("correlation", mean_value)
    }

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:  # noqa: ARG002
        """Correlation (B,), NaN where one of the maps is constant; asks the explainer once an instance."""
        self.check_features(data.features)
        if data.clean.shape[1] < 2:
            raise ValueError(f"Protocol {self.name!r} compares two classes; the black box has one.")
        second = data.clean.topk(2, dim=1).indices
        # A tie for the first place: the other one of the two.
        second = second[:, 1].where(second[:, 1] != data.clean.argmax(1), second[:, 0])
        scores, _ = data.explainer_for(self.name)(data.inputs, second)
        return {"correlation": class_correlation(data.scores, scores)}
