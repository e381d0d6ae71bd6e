"""The refined explainer as users meet it: pictures or texts in, explanations with fidelity and standard errors out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from fex import refine
from fex.explainers.any_method import Attribute, Found, explain_by
from fex.explanations.image import Explanation
from fex.explanations.several import Explanations
from fex.explanations.text import TextExplanation
from fex.images.files import Picture
from fex.refine import Refinement
from fex.texts.tokenized import Text

__all__ = ["Refined"]

Input = Picture | Text | Sequence[Picture] | Sequence[Text] | Tensor
Told = Callable[["Refined", Refinement], Found]


class Refined(refine.Refined):
    """An explainer's map, refined and measured by a few queries of this very input; see `fex.refine.Refined`.

    Example:
        ``fex.Refined(fex.load_explainer("fex_vit_cifar10"), "vit_cifar10").explain("ship.png")[0].fidelity``
    """

    def explain(
        self,
        image: Input,
        target: str | int | None = None,
        top_k: int = 1,
        *,
        sources: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> Explanations[Explanation] | Explanations[TextExplanation]:
        """Explanations refined by queries, each with its fidelity and standard errors.

        Args:
            image: a picture, its path, or a list of these, or inputs of the black box (B, 3, H, W); of a box that
                takes texts a text, a pair (a tuple), or a list of texts.
            target: class by name or index; by default those that the box predicts.
            top_k: how many of the predicted classes, the likeliest first; without `target`. They share the queries.
            sources: names of the inputs in the results.
            batch_size: inputs at a time.

        Returns:
            One explanation an input and class: input by input, class by class. `queries` are those of its input.

        Raises:
            ValueError: unknown class, `target` along with `top_k`, what cannot be read.
        """
        return self._explained(_refined, image, target, top_k, sources, batch_size)

    def check(self, image: Input, target: str | int | None = None, top_k: int = 1, **options: Any) -> Any:
        """The explainer's own maps, unchanged, each with its fidelity, measured by the queries; else as `explain`."""
        return self._explained(_checked, image, target, top_k, **options)

    def _explained(
        self, told: Told, image: Input, target: Any, top_k: int, sources: Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> Any:  # fmt: skip
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        several = isinstance(image, list) or (isinstance(image, Tensor) and image.ndim == 4)
        parts: list[Any] = [image]
        if several and len(image) > batch_size:  # type: ignore[arg-type]
            parts = [image[first : first + batch_size] for first in range(0, len(image), batch_size)]  # type: ignore[arg-type, index]
        attribute, found, first = self._attribute(told), Explanations[Any](), 0
        for part in parts:
            own = None if sources is None else sources[first : first + batch_size]
            found += explain_by(self, self.black_box, part, target, top_k, sources=own, attribute=attribute)
            first += batch_size
        return found

    def _attribute(self, told: Told) -> Attribute:
        def attribute(inputs: Tensor, classes: Tensor) -> Iterator[Found]:
            for found in self.refine_classes(inputs, classes):
                yield told(self, found)

        return attribute


def _refined(explainer: Refined, found: Refinement) -> Found:
    named = [
        {
            "method": f"{explainer.method} + {fidelity.queries} queries" if fidelity.queries else explainer.method,
            "queries": fidelity.queries + 1,
            "fidelity": fidelity if fidelity.queries else None,
            "std": found.std[row] if fidelity.queries else None,
        }
        for row, fidelity in enumerate(found.fidelity)
    ]
    return Found(found.attribution, named)


def _checked(explainer: Refined, found: Refinement) -> Found:
    span = getattr(getattr(explainer.explainer, "net", None), "span", None)
    named = [
        {
            "method": explainer.method,
            "queries": fidelity.queries + 1,
            "fidelity": fidelity if fidelity.queries else None,
            "span": span,
        }
        for fidelity in found.own_fidelity
    ]
    return Found(found.own, named)
