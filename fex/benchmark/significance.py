"""Which differences between methods are more than chance, and whether the removal grid itself is biased."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fex.benchmark.evaluation import Evaluation, compare, shared
from fex.metrics.functional.bootstrap import Interval, paired_difference
from fex.report.tables import DIRECTIONS

__all__ = ["FEWEST", "against_best", "differences", "grid_bias"]

MOST = 0.9  # of the instances: what the best of a column must have been scored on
FEWEST_99 = 8  # 2 / 2^8 < 1 %: the same for the interval of `grid_bias`
FEWEST = 6  # unequal pairs: of five, all one way, a sign test says p = 0.06, a bootstrap calls them a difference


def _usable(row: dict[str, Any]) -> bool:
    return row["n"] > 0


def against_best(
    evaluations: Sequence[Evaluation], *, resamples: int = 10_000, seed: int = 0
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Each row's difference to the best method of its column, paired over instances.

    Args:
        evaluations: of the same instances.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        By (method, protocol, metric): best (its name), to_best (value minus the best's), to_best_ci95 [low, high],
        differs (the interval excludes 0; None where too few instances tell). The best itself, which is sought among
        the rows of at least nine tenths of the most instances, differs by 0 from itself; rows without instances and
        metrics without a direction are left out.
    """
    by_name = {evaluation.method: evaluation for evaluation in evaluations}
    columns: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        for row in filter(_usable, evaluation.rows):
            if row["metric"] in DIRECTIONS:
                columns.setdefault((row["protocol"], row["metric"]), []).append(row)
    found = {}
    for (protocol, metric), rows in columns.items():
        choose = min if DIRECTIONS[metric] == "↓" else max
        # Of those with nearly all instances: a method that has a value for a few easy ones is not the best of all.
        enough = MOST * max(row["n"] for row in rows)
        best = choose((row for row in rows if row["n"] >= enough), key=lambda row: row["value"])["method"]
        for row in rows:
            entry = {"best": best, "to_best": 0.0, "to_best_ci95": [0.0, 0.0], "differs": False}
            if row["method"] != best:
                pair = by_name[row["method"]], by_name[best]
                interval = compare(*pair, protocol, metric, resamples=resamples, seed=seed)
                entry["to_best"], entry["to_best_ci95"] = interval.value, [interval.low, interval.high]
                entry["differs"] = _differs(interval, *shared(*pair, protocol, metric))
            found[row["method"], protocol, metric] = entry
    return found


def _differs(interval: Interval, x: Tensor, y: Tensor) -> bool | None:
    """Whether a paired interval excludes 0; None where too few instances have it so.

    A bootstrap of many pairs of which four are unequal, all one way, excludes 0: those four are hardly ever all left
    out. A sign test of four says p = 0.12.
    """
    if len(x) < FEWEST:
        return None
    if interval.low <= 0 <= interval.high:
        return False
    return None if _unequal(x, y) < FEWEST else True


def _unequal(x: Tensor, y: Tensor) -> int:
    """Instances that the two do not share a value of."""
    return int((x != y).view(len(x), -1).any(1).sum())


def differences(
    first: Evaluation, others: Sequence[Evaluation], *, resamples: int = 10_000, seed: int = 0
) -> list[dict[str, Any]]:
    """The first method minus each of the others, paired over instances: a, b, protocol, metric, difference, ci95, n.

    And `differs`, as of `against_best`.
    """
    own = {(row["protocol"], row["metric"]) for row in first.rows if _usable(row)}
    found = []
    for other in others:
        for row in other.rows:
            if (row["protocol"], row["metric"]) not in own or not _usable(row):
                continue
            interval = compare(first, other, row["protocol"], row["metric"], resamples=resamples, seed=seed)
            pair = shared(first, other, row["protocol"], row["metric"])
            found.append(
                {
                    "a": first.method,
                    "b": other.method,
                    "protocol": row["protocol"],
                    "metric": row["metric"],
                    "difference": interval.value,
                    "ci95": [interval.low, interval.high],
                    "n": len(pair[0]),
                    "differs": _differs(interval, *pair),
                }
            )
    return found


def grid_bias(random: Evaluation, *, resamples: int = 10_000, seed: int = 0) -> list[str]:
    """Warnings where a method that looks at nothing has another positive than negative AUC.

    A map without information has no direction: removing from its top or from its bottom is the same. Where the two
    areas differ (their paired 99 % interval excludes 0, and at least 8 instances have unequal areas), the grid of
    shares, the ties or the order of the features favour one direction, and the table's positive and negative columns
    cannot be trusted.

    Args:
        random: scores of uniform random attributions.
        resamples: bootstrap samples.
        seed: of the bootstrap.
    """
    found = []
    for name, scores in random.scores.items():
        summaries = scores.protocol.summaries
        if not {"positive_auc", "negative_auc"} <= set(summaries):
            continue
        positive, negative = summaries["positive_auc"], summaries["negative_auc"]
        _, components = scores.instances()
        if _unequal(components[positive.component], components[negative.component]) < FEWEST_99:
            continue
        value, low, high = paired_difference(
            components[positive.component], components[negative.component],
            statistic=positive.statistic, level=0.99, resamples=resamples, seed=seed,
        )  # fmt: skip
        if low > 0 or high < 0:
            found.append(
                f"{random.method}'s positive and negative AUC of protocol {name!r} differ by {value:+.4f} "
                f"[{low:+.4f}, {high:+.4f}] (99 % interval) and should not: the protocol's grid favours one "
                "direction. Do not compare its two columns."
            )
    return found
