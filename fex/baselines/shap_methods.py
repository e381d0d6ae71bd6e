"""Query methods that shap and shapiq compute, one input at a time: PartitionSHAP and ProxySPEX."""

import warnings
from abc import abstractmethod
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fex.baselines.base import FeatureExplainer
from fex.baselines.queried import target_classes
from fex.black_box.base import BlackBox
from fex.class_names import Target
from fex.masking.masker import masked_probabilities, masker_for
from fex.modality import Features, Removal

__all__ = ["PartitionSHAP", "ProxySPEX"]

Scores = Callable[[NDArray[Any]], NDArray[np.float64]]


class OneByOne(FeatureExplainer):
    """Hands a library the scores of masked copies of one input after the other.

    Args:
        black_box: any black box.
        features: patches or tokens.
        removal: fill of what a mask removes; by default the mean colour, or the mask token.
        num_masks: K, most queries an instance.
        seed: seed of the masks.

    Raises:
        ValueError: fewer masks than the method can do with.
        ImportError: the library is not there.
    """

    fewest: ClassVar[int] = 4
    libraries: ClassVar[tuple[str, ...]]

    def __init__(
        self, black_box: BlackBox, features: Features, removal: Removal | None = None, *, num_masks: int = 1000,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(features)
        missing = [name for name in self.libraries if find_spec(name) is None]
        if missing:
            needs = " and ".join(missing)
            raise ImportError(f'{type(self).__name__} needs {needs}: pip install "fex-explain[interop]".')
        if num_masks < self.fewest:
            raise ValueError(f"{type(self).__name__} needs num_masks >= {self.fewest}, got {num_masks}.")
        self.black_box, self.masker = black_box, masker_for(black_box, features, removal)
        self.removal, self.num_masks, self.seed = self.masker.removal, num_masks, seed

    @abstractmethod
    def _values(self, scores: Scores, grid: tuple[int, int]) -> NDArray[Any]:
        """Values (n,) of the n = h w >= 2 features in `grid` (h, w); `scores` takes masks (K, n), 1 = kept, to (K,)."""

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Scores (B, N), float32, signed, in units of probability; 0 where there is no feature.

        Spends at most `num_masks` queries, and one more an instance without a target.
        """
        classes, valid = target_classes(self.black_box, inputs, target), self.features.valid(inputs)
        count = self.features.num_features if valid is None else valid.shape[1]
        found = torch.zeros(len(inputs), count, device=inputs.device)
        for row, target_class in enumerate(classes):
            places = torch.arange(count) if valid is None else valid[row].nonzero().squeeze(1).cpu()
            whole, target_class = inputs[row : row + 1], target_class.unsqueeze(0)  # noqa: PLW2901

            def scores(
                masks: NDArray[Any], whole: Tensor = whole, places: Tensor = places, named: Tensor = target_class
            ) -> NDArray[np.float64]:
                each = torch.zeros(1, len(masks), count)
                each[..., places] = torch.from_numpy(np.asarray(masks, dtype=np.float32))
                with torch.autocast(inputs.device.type, enabled=False):
                    answers = masked_probabilities(self.black_box, self.masker, whole, each.to(whole.device), named)
                return answers[0].double().cpu().numpy()

            if len(places) == 1:
                blank, clean = scores(np.array([[0.0], [1.0]]))
                found[row, places] = float(clean - blank)
            elif len(places) > 1:
                grid = self.features.grid if valid is None and self.features.grid is not None else (1, len(places))
                found[row, places] = torch.from_numpy(self._values(scores, grid)).to(found)
        return found


class PartitionSHAP(OneByOne):
    """Owen values by shap's `PartitionExplainer`: the features are halved again and again, the largest effects first.

    Halves of a grid are cut across its longer side, those of a text in their order. A part that the queries did not
    reach shares its value equally among its features. Values add up to the difference of the whole input's score and
    the blank one's. (K is rounded down to an even number.)
    """

    libraries: ClassVar[tuple[str, ...]] = ("shap",)

    def _values(self, scores: Scores, grid: tuple[int, int]) -> NDArray[Any]:
        explainer = import_module("shap").PartitionExplainer(scores, _Halves(grid))
        budget = self.num_masks - self.num_masks % 2
        return explainer(np.ones((1, grid[0] * grid[1])), max_evals=budget, silent=True).values[0]


class _Halves:
    """A masker of shap whose inputs are masks, with a tree of halves as its clustering."""

    def __init__(self, grid: tuple[int, int]) -> None:
        count = grid[0] * grid[1]
        rows: list[list[float]] = []

        def join(part: NDArray[Any]) -> tuple[int, int]:
            """Number and size of a part, in the form of `scipy.cluster.hierarchy.linkage`."""
            if part.size == 1:
                return int(part.flat[0]), 1
            (left, few), (right, more) = map(join, np.array_split(part, 2, axis=int(part.shape[1] > part.shape[0])))
            rows.append([left, right, few + more, few + more])
            return count + len(rows) - 1, few + more

        join(np.arange(count).reshape(grid))
        self.clustering, self.shape = np.array(rows, dtype=float), (1, count)

    def __call__(self, mask: NDArray[Any], _: NDArray[Any]) -> NDArray[Any]:
        return mask[None].astype(np.float32)


class ProxySPEX(OneByOne):
    """Shapley values of a sparse sum of interactions, found by boosted trees (Butler et al. 2025), by shapiq.

    The trees are fitted to the scores of masks that keep each feature with probability 1/2, and refined by a ridge
    regression. Where the budget holds all 2^N subsets, these are taken instead and the values are exact. Where the
    trees find nothing to split, all values are 0, with a warning. Takes seconds of the processor an instance, whatever
    the box costs.

    Args:
        index: which values of the fitted sum: "SV", Shapley's, or another of shapiq's, "FBII" (Banzhaf) for instance.
    """

    fewest: ClassVar[int] = 10  # two for each of five folds
    libraries: ClassVar[tuple[str, ...]] = ("shapiq", "lightgbm")

    def __init__(
        self, black_box: BlackBox, features: Features, removal: Removal | None = None, *, num_masks: int = 1000,
        index: str = "SV", seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(black_box, features, removal, num_masks=num_masks, seed=seed)
        self.index = index

    def _values(self, scores: Scores, grid: tuple[int, int]) -> NDArray[Any]:
        shapiq, count = import_module("shapiq"), grid[0] * grid[1]
        if count < self.num_masks.bit_length() and 2**count <= self.num_masks:
            return shapiq.ExactComputer(n_players=count, game=scores)(self.index, 1).get_n_order_values(1)
        method = shapiq.ProxySPEX(n=count, index=self.index, max_order=1, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "invalid value encountered in divide")
            try:
                return method.approximate(self.num_masks, scores).get_n_order_values(1)
            except IndexError:  # of a sum without terms
                pass
        warnings.warn(
            f"ProxySPEX's trees found nothing to split in {self.num_masks} answers: its map is 0 everywhere. Give it "
            "more num_masks.", stacklevel=2,
        )  # fmt: skip
        return np.zeros(count)
