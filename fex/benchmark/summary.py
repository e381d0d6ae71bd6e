"""The report of a benchmark as plain data: what report.json holds, and what every other form of it is made from."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fex.benchmark.cost import break_even
from fex.benchmark.evaluation import Evaluation
from fex.benchmark.significance import against_best, differences, grid_bias

__all__ = ["finite", "summarise"]


def summarise(
    evaluations: Sequence[Evaluation],
    *,
    failed: Mapping[str, str],
    training: Mapping[str, Mapping[str, float]],
    removals: Mapping[str, str | None],
    reference: str | None,
    random: Sequence[str],
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Rows, curves, paired differences, matrix of removals and warnings.

    Args:
        evaluations: in the order of the table.
        failed: why a method could not even be built, by name.
        training: queries and seconds of each method that was trained.
        removals: the fill that a method itself was trained or run with, where it says so.
        reference: the method whose cost training is weighed against (RISE), or None.
        random: methods that look at nothing, for the check of the grid.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        Plain data without NaN: rows ("error" in those of what failed), differences, curves, removal_matrix,
        flat_maps (how many of each method's maps have hardly any contrast), warnings.
    """
    options = {"resamples": resamples, "seed": seed}
    usable = [evaluation for evaluation in evaluations if evaluation.rows]
    best = against_best(usable, **options)
    costs = {evaluation.method: evaluation.rows[0] for evaluation in usable}
    rows: list[dict[str, Any]] = []
    for evaluation in evaluations:
        for row in evaluation.rows:
            key = (row["method"], row["protocol"], row["metric"])
            rows.append({**row, **best.get(key, {}), **_cost(row, training, costs.get(reference or ""))})
            rows[-1]["explainer_removal"] = removals.get(row["method"])
        rows += [_failure(evaluation.method, name, error) for name, error in evaluation.errors.items()]
    rows += [_failure(name, "", reason) for name, reason in failed.items()]
    warnings = [
        text for evaluation in usable if evaluation.method in random for text in grid_bias(evaluation, **options)
    ]
    return finite(
        {
            "rows": rows,
            "differences": differences(usable[0], usable[1:], **options) if usable else [],
            "curves": _curves(usable),
            "removal_matrix": _matrix(rows),
            "break_even_against": reference if reference in costs else None,
            "flat_maps": {e.method: {"flat": e.flat, "instances": e.instances} for e in usable},
            "warnings": [*warnings, *_flat_warnings(usable)],
        }
    )


def _flat_warnings(evaluations: Sequence[Evaluation]) -> list[str]:
    """A method whose maps say nothing is ranked all the same, by how ties are broken."""
    return [
        f"{e.method}: {e.flat:,} of {e.instances:,} maps are nearly flat: their values hardly differ, so the order of "
        "their features, and what is scored by it, says little."
        for e in evaluations
        if e.flat
    ]


def _failure(method: str, protocol: str, error: Exception | str) -> dict[str, Any]:
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return {"method": method, "protocol": protocol or None, "metric": None, "value": None, "n": 0, "error": reason}


def _cost(
    row: Mapping[str, Any], training: Mapping[str, Mapping[str, float]], reference: Mapping[str, Any] | None
) -> dict[str, Any]:
    spent = training.get(row["method"])
    if spent is None:
        return {"training": None, "break_even": None}
    count = None
    if reference is not None:
        count = {what: break_even(spent[what], row[what], reference[what]) for what in spent}
    return {"training": dict(spent), "break_even": count}


def _curves(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """The figures of protocols that have them."""
    return [
        {
            "method": evaluation.method,
            "protocol": protocol,
            "curve": name,
            "x_name": curve.x_name,
            "y_name": curve.y_name,
            "x": curve.x,
            "mean": curve.y,
        }
        for evaluation in evaluations
        for protocol, scores in evaluation.scores.items()
        for name, curve in scores.curves().items()
    ]


def _matrix(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Fill of the explainer x fill of the evaluation: the rows of protocols that were run with several fills."""
    fills: dict[str, set[str]] = {}
    for row in rows:
        if row["value"] is not None:
            fills.setdefault(row["protocol"].partition("/")[0], set()).add(row["removal"])
    return [
        {
            "protocol": base,
            "metric": row["metric"],
            "method": row["method"],
            "explainer_removal": row["explainer_removal"],
            "evaluation_removal": row["removal"],
            "value": row["value"],
            "ci95": row["ci95"],
        }
        for row in rows
        if row["value"] is not None and len(fills[base := row["protocol"].partition("/")[0]]) > 1
    ]


def finite(value: Any) -> Any:
    """Plain data in which NaN and infinities are None: JSON has no word for them."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
