"""At no query: how far a map will miss the black box's answers, foreseen from signs of the explainer's own pass.

What can be foreseen is the size of the misses, in units of probability; hardly the fidelity, which is relative to how
much the answers differ.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fex.metrics.functional.correlation import average_ranks, class_correlation
from fex.nets import ClassMapNet

__all__ = ["SMALL", "Foresight", "ridge", "signs", "worst_tenth"]

SMALL = 7  # signs beside the pooled features
PENALTIES = (1.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10_000.0)
LEAST = 1e-6  # squared probability, added before the logarithm: smaller misses are alike
FEWEST = 20  # inputs; of fewer nothing is learnt but their mean
SURE = 2.0  # standard errors by which signs must be better than none
BOUND = 100.0  # of logarithms that a checkpoint may hold


@torch.no_grad()
def signs(net: ClassMapNet, inputs: Tensor, classes: Tensor | None = None) -> Tensor:
    """What may tell how good a map is, from one pass.

    Args:
        net: of the explainer.
        inputs: (B, ...).
        classes: whose maps are meant (B,), int64; by default the explainer's own.

    Returns:
        (B, 7 + D'), float64: probability of the class, its logarithm, entropy, lead of the first class over the second,
        mean, spread and log-spread of the class's scores over the features; then the pooled features.
    """
    encoded = net.encode(inputs)
    logits = net.class_logits(encoded)
    classes = logits.argmax(1) if classes is None else classes.to(logits.device)
    rates = net.probabilities(logits).double()
    own = rates.gather(1, classes.unsqueeze(1)).squeeze(1)
    first = rates.topk(min(2, rates.shape[1]), 1).values
    scores = net.target_scores(encoded, classes).double()
    valid = torch.ones_like(scores) if encoded.valid is None else encoded.valid.to(scores)
    count = valid.sum(1).clamp_min(1)
    mean = (scores * valid).sum(1) / count
    spread = (((scores - mean.unsqueeze(1)) * valid).square().sum(1) / count).sqrt()
    entropy = -(rates * rates.clamp_min(1e-9).log()).sum(1)
    logs = own.clamp_min(1e-6).log(), spread.clamp_min(1e-6).log()
    small = torch.stack([own, logs[0], entropy, first[:, 0] - first[:, -1], mean, spread, logs[1]], 1)
    return torch.cat([small, encoded.trunk.double()], 1)


def ridge(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Ridge regression with a free intercept.

    Args:
        x: (n, F), float64, each column of mean 0.
        y: (n,), float64.
        penalty: of the sum of squared weights.

    Returns:
        Weights (F,), and each y as the others foretell it (n,): leave one out, in closed form.
    """
    left, values, right = torch.linalg.svd(x, full_matrices=False)
    rest = y - y.mean()
    weights = right.mT @ (values / (values.square() + penalty) * (left.mT @ rest))
    lever = left.square() @ (values.square() / (values.square() + penalty)) + 1 / len(y)
    return weights, y - (rest - x @ weights) / (1 - lever)


def worst_tenth(told: Tensor, found: Tensor) -> float:
    """AUROC with which `told` (n,) names the tenth of the largest `found` (n,): 0.5 by chance, 1 without a mistake."""
    count = max(1, len(found) // 10)
    ranks = average_ranks(told.unsqueeze(0))[0][found.argsort(descending=True, stable=True)[:count]]
    return float((ranks.sum() - count * (count + 1) / 2) / (count * (len(found) - count)))


@dataclass(frozen=True)
class Foresight:
    """Log-linear in the signs: exp(bias + slopes . signs) is the mean squared miss to be expected.

    Attributes:
        slopes: (F,), float64; all 0 where the signs told nothing that their mean does not.
        bias: logarithm of a squared probability.
        low, high: the logarithms that were seen: nothing beyond them is foreseen.
        rank_correlation, auroc: how well inputs were foreseen that it was not learnt from: Spearman's correlation with
            the measured misses, and the AUROC of finding the worst tenth; 0 and 0.5 where nothing is foreseen.
        inputs: that it was learnt from.
    """

    slopes: Tensor
    bias: float
    low: float
    high: float
    rank_correlation: float
    auroc: float
    inputs: int

    def __post_init__(self) -> None:
        if self.slopes.ndim != 1 or not 1 <= len(self.slopes) <= 2**16 or not bool(self.slopes.isfinite().all()):
            raise ValueError(f"Foresight got slopes {tuple(self.slopes.shape)}, expected 1 to 65536 finite numbers.")
        if not -BOUND <= self.low <= self.high <= BOUND or not math.isfinite(self.bias):
            raise ValueError(
                f"Foresight got bias {self.bias}, low {self.low} and high {self.high}, expected low <= high."
            )
        if not (-1 <= self.rank_correlation <= 1 and 0 <= self.auroc <= 1 and self.inputs >= 1):
            raise ValueError(
                f"Foresight got {self.rank_correlation}, {self.auroc} and {self.inputs} inputs as its worth."
            )

    @classmethod
    def learnt(cls, signs: Tensor, misses: Tensor) -> "Foresight":
        """From inputs that the box was asked about; the penalty is the one that foretells each from the others best.

        Args:
            signs: (n, F).
            misses: mean squared miss of each input's answers by its map (n,), in squared units of probability.

        Raises:
            ValueError: shapes that do not fit, no inputs, or numbers that are not finite.
        """
        x, misses = signs.double(), misses.double()
        if x.ndim != 2 or misses.shape != x.shape[:1] or not x.numel():
            raise ValueError(f"Got signs {tuple(signs.shape)}, misses {tuple(misses.shape)}; expected (n, F) and (n,).")
        if not bool(x.isfinite().all() & misses.isfinite().all() & (misses >= 0).all()):
            raise ValueError("Signs and misses must be finite, and misses at least 0.")
        y = (misses + LEAST).log()
        centre, scale = x.mean(0), x.std(0, correction=0)
        moves = scale > 1e-4 * x.abs().amax(0)  # what hardly differs here could differ widely elsewhere
        scale = torch.where(moves, scale, torch.inf)
        slopes, told = torch.zeros_like(scale), y.mean().expand(len(y))
        if len(y) >= FEWEST:
            fits = [ridge((x - centre) / scale, y, penalty) for penalty in PENALTIES]
            found = min(fits, key=lambda fit: float((fit[1] - y).square().mean()))
            blind = (y - y.mean()) * len(y) / (len(y) - 1)
            gained = blind.square() - (found[1] - y).square()
            if float(gained.mean()) > SURE * float(gained.std()) / len(y) ** 0.5:
                slopes, told = found[0] / scale, found[1]
        worth = (0.0, 0.5)
        if bool(slopes.any()):
            worth = float(class_correlation(told[None], y[None])), worst_tenth(told, misses)
        # The mean of logarithms is below the logarithm of the mean: misses foreseen add up to those measured.
        told = told.clamp(y.min(), y.max())
        up = float(((misses + LEAST).sum() / told.exp().sum()).log())
        bias = float(y.mean() - centre @ slopes) + up
        return cls(slopes, bias, float(y.min()) + up, float(y.max()) + up, *worth, len(y))

    @classmethod
    def of(cls, data: Any) -> "Foresight | None":
        """From plain data of a checkpoint; None where it has none.

        Raises:
            ValueError: no such data.
        """
        if data is None:
            return None
        try:
            numbers = [float(data[name]) for name in ("bias", "low", "high", "rank_correlation", "auroc")]
            return cls(torch.tensor(data["slopes"], dtype=torch.float64), *numbers, int(data["inputs"]))
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise ValueError(
                f"The foresight that a checkpoint holds is damaged ({type(error).__name__}: {error}): take the "
                "checkpoint from where it came once more."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        worth = {"rank_correlation": round(self.rank_correlation, 3), "auroc": round(self.auroc, 3)}
        numbers = {"bias": self.bias, "low": self.low, "high": self.high}
        return {"slopes": self.slopes.tolist(), **numbers, **worth, "inputs": self.inputs}

    @property
    def blind(self) -> bool:
        """Whether it foresees the same of every input."""
        return not bool(self.slopes.any())

    def __call__(self, signs: Tensor) -> Tensor:
        """Signs (B, F) -> root mean squared miss to be expected (B,), float32, in units of probability.

        Raises:
            ValueError: another number of signs than it was learnt from.
        """
        if signs.ndim != 2 or signs.shape[1] != len(self.slopes):
            raise ValueError(
                f"Got signs of shape {tuple(signs.shape)}, this foresight was learnt from (n, {len(self.slopes)}): it "
                "is of another explainer."
            )
        told = self.bias + signs.double() @ self.slopes.to(signs.device)
        return told.clamp(self.low, self.high).div(2).exp().float()
