"""Scores of one explainer: rows of a table, and the instances behind them for pairing."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fex.metrics.functional.bootstrap import Interval, paired_difference
from fex.metrics.protocol_scores import ProtocolScores
from fex.modality import Features

__all__ = ["Cost", "Evaluation", "compare", "make_rows", "shared"]


@dataclass
class Cost:
    """What the explanations of a method took.

    Attributes:
        instances: explained.
        queries: of the black box, all instances together.
        seconds: of the batches that were explained by a method which had been used before.
        timed: instances of those batches.
        cold_seconds: of the others: first batches, which pay for what is made at first use.
        evaluation: queries that each protocol spent besides.
        peak_mb: largest memory allocated while one instance is explained, 10^6 bytes; None where not measured.
        flat: instances whose maps have hardly any contrast.
    """

    instances: int = 0
    queries: int = 0
    seconds: float = 0.0
    timed: int = 0
    cold_seconds: float = 0.0
    evaluation: dict[str, int] = field(default_factory=dict)
    peak_mb: float | None = None
    flat: int = 0

    @property
    def seconds_an_instance(self) -> float:
        """Without first batches, where there are others."""
        return self.seconds / self.timed if self.timed else self.cold_seconds / self.instances


@dataclass(frozen=True)
class Evaluation:
    """Scores of one explainer.

    Attributes:
        method: its name.
        rows: plain data, one a metric: method, protocol, metric, value, ci95 [low, high], n, queries (an instance,
            by the explainer), seconds (an instance, in `attribute` alone), peak_mb, evaluation_queries (an instance,
            by this protocol and the clean prediction), removal, unit.
        scores: the instances behind the rows, by protocol.
        errors: what went wrong: by protocol, or under "" where the method itself failed.
        maps: of the first instances, (b, H, W) or, of texts, (b, L) with zeros after short ones, float32; or None.
        clean: the box's probabilities of the same instances (b, C), or None.
        flat: how many of the `instances` that were explained have a map with hardly any contrast.
    """

    method: str
    rows: list[dict[str, Any]]
    scores: dict[str, ProtocolScores]
    errors: dict[str, Exception] = field(default_factory=dict)
    maps: Tensor | None = None
    clean: Tensor | None = None
    flat: int = 0
    instances: int = 0


def make_rows(
    method: str, scores: dict[str, ProtocolScores], cost: Cost, features: Features, *, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Rows as of `Evaluation`."""
    rows = []
    for name, values in scores.items():
        for metric, (interval, count) in values.intervals(resamples=resamples, seed=seed).items():
            rows.append(
                {
                    "method": method,
                    "protocol": name,
                    "metric": metric,
                    "value": interval.value,
                    "ci95": [interval.low, interval.high],
                    "n": count,
                    "queries": cost.queries / cost.instances,
                    "seconds": cost.seconds_an_instance,
                    "peak_mb": cost.peak_mb,
                    "evaluation_queries": 1 + cost.evaluation.get(name, 0) / cost.instances,
                    **values.protocol.describe(features),
                }
            )
    return rows


def shared(a: Evaluation, b: Evaluation, protocol: str, metric: str) -> tuple[Tensor, Tensor]:
    """The components of one metric of the instances that have a value for both, (n,) or (n, D) each.

    Raises:
        ValueError: no such protocol or metric in both, or other instances.
    """
    for evaluation in (a, b):
        known = {name: list(scores.protocol.summaries) for name, scores in evaluation.scores.items()}
        if metric not in known.get(protocol, []):
            raise ValueError(f"{evaluation.method} has no {metric!r} of protocol {protocol!r}; it has {known}.")
    summary = a.scores[protocol].protocol.summaries[metric]
    (index_a, left), (index_b, right) = a.scores[protocol].instances(), b.scores[protocol].instances()
    if not torch.equal(index_a, index_b):
        raise ValueError(
            f"{a.method} was scored on {len(index_a)} instances and {b.method} on {len(index_b)}, and they are not the "
            "same: evaluate both on the same data."
        )
    x, y = left[summary.component], right[summary.component]
    both = ~torch.cat([x.view(len(x), -1), y.view(len(y), -1)], 1).isnan().any(1)
    return x[both], y[both]


def compare(
    a: Evaluation, b: Evaluation, protocol: str, metric: str, *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """`a` minus `b` in one metric, over the same instances, with its paired bootstrap 95 % interval.

    Instances that have no such value for one of the two are left out; without any, all three numbers are NaN.

    Raises:
        ValueError: no such protocol or metric in both, or other instances.
    """
    x, y = shared(a, b, protocol, metric)
    if not len(x):
        return Interval(torch.nan, torch.nan, torch.nan)
    statistic = a.scores[protocol].protocol.summaries[metric].statistic
    return paired_difference(x, y, statistic=statistic, resamples=resamples, seed=seed)
