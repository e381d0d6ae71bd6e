"""`fex-explain --refine` and `--check`: a refined explainer behind the interface of a trained one."""

from collections.abc import Sequence
from typing import Any

from fex.black_box import BlackBox
from fex.explainers import Refined

__all__ = ["RefinedMethod"]


class RefinedMethod:
    """What the streams of `fex.explainers` ask of an explainer.

    Args:
        refined: asks the box.
        changes: what gives the explanations, `Refined.explain` or `Refined.check`.
        told: what the run is called.
    """

    def __init__(self, refined: Refined, explain: Any, told: str) -> None:
        self.refined, self._explain = refined, explain
        self.method, self.removal, self.black_box = told, refined.removal.name, refined.black_box.name

    @property
    def preprocess(self) -> Any:
        """Geometry of the inputs, or their tokenizer."""
        return self.refined.black_box.preprocess

    @property
    def queries(self) -> int:
        """What the black box was asked so far."""
        return self.refined.black_box.queries

    def explain(
        self,
        inputs: Any,
        target: str | int | None = None,
        top_k: int = 1,
        *,
        black_box: BlackBox | None = None,  # noqa: ARG002 it holds its own
        sources: Sequence[str] | None = None,
        window: int | None = None,  # noqa: ARG002 refused before
        batch_size: int = 32,
    ) -> list[Any]:
        """Explanations input by input, class by class."""
        return self._explain(inputs, target, top_k, sources=sources, batch_size=batch_size)
