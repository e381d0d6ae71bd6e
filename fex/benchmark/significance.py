"""Which differences between methods are more than chance, and whether the removal grid itself is biased."""

from collections.abc import Sequence
from typing import Any

from fex.benchmark.evaluation import Evaluation, compare, shared
from fex.metrics.functional.bootstrap import paired_difference
from fex.report.tables import DIRECTIONS

__all__ = ["FEWEST", "against_best", "differences", "grid_bias"]

FEWEST_99 = 8  # 2 / 2^8 < 1 %: the same for the interval of `grid_bias`
FEWEST = 6  # of five that all go one way, a sign test says p = 0.06: a bootstrap of so few would call that a difference


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
        differs (the interval excludes 0; None where the two share fewer than 6 instances). The best itself, which is
        sought among the rows of the most instances, differs by 0 from itself; rows without instances and metrics
        without a direction are left out.
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
        # Of those with the most instances: a method that has a value for a few easy ones is not the best of all.
        most = max(row["n"] for row in rows)
        best = choose((row for row in rows if row["n"] == most), key=lambda row: row["value"])["method"]
        for row in rows:
            entry = {"best": best, "to_best": 0.0, "to_best_ci95": [0.0, 0.0], "differs": False}
            if row["method"] != best:
                pair = by_name[row["method"]], by_name[best]
                interval = compare(*pair, protocol, metric, resamples=resamples, seed=seed)
                entry["to_best"], entry["to_best_ci95"] = interval.value, [interval.low, interval.high]
                few = len(shared(*pair, protocol, metric)[0]) < FEWEST
                entry["differs"] = None if few else interval.low > 0 or interval.high < 0
            found[row["method"], protocol, metric] = entry
    return found


def differences(
    first: Evaluation, others: Sequence[Evaluation], *, resamples: int = 10_000, seed: int = 0
) -> list[dict[str, Any]]:
    """The first method minus each of the others, paired over instances: a, b, protocol, metric, difference, ci95, n."""
    own = {(row["protocol"], row["metric"]) for row in first.rows if _usable(row)}
    found = []
    for other in others:
        for row in other.rows:
            if (row["protocol"], row["metric"]) not in own or not _usable(row):
                continue
            interval = compare(first, other, row["protocol"], row["metric"], resamples=resamples, seed=seed)
            found.append(
                {
                    "a": first.method,
                    "b": other.method,
                    "protocol": row["protocol"],
                    "metric": row["metric"],
                    "difference": interval.value,
                    "ci95": [interval.low, interval.high],
                    "n": len(shared(first, other, row["protocol"], row["metric"])[0]),
                }
            )
    return found


def grid_bias(random: Evaluation, *, resamples: int = 10_000, seed: int = 0) -> list[str]:
    """Warnings where a method that looks at nothing has another positive than negative AUC.

    A map without information has no direction: removing from its top or from its bottom is the same. Where the two
    areas differ (their paired 99 % interval excludes 0, of 8 instances at least), the grid of shares, the ties or the
    order of the features favour one direction, and the table's positive and negative columns cannot be trusted.

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
        index, components = scores.instances()
        if len(index) < FEWEST_99:
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
