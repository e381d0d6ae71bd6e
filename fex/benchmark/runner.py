"""Any explainer through any protocols: rows of a table, and every instance for pairing."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox, resolve_target
from fex.features import Features
from fex.metrics.functional.bootstrap import Interval, paired_difference
from fex.metrics.protocol_scores import ProtocolScores
from fex.metrics.protocols import Attributed, Protocol, get_protocol
from fex.types import Batch, Explainer

__all__ = ["Evaluation", "attributions", "compare", "evaluate_explainer"]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one explainer.

    Attributes:
        method: its name.
        rows: plain data, one a metric: method, protocol, metric, value, ci95 [low, high], n, queries (an instance,
            by the explainer), seconds (an instance, in `attribute` alone), evaluation_queries (an instance, by this
            protocol and the clean prediction), removal, unit.
        scores: the instances behind the rows, by protocol.
    """

    method: str
    rows: list[dict[str, Any]]
    scores: dict[str, ProtocolScores]


def attributions(
    explainer: Explainer, inputs: Tensor, target: Tensor | int | None, features: Features
) -> tuple[Tensor, Tensor]:
    """Scores (B, N) of `features` and maps (B, H, W), by one run of the explainer.

    An explainer that scores features of its own (`attribute_features`) is taken at its word: its scores where the
    grids agree, pooled from its patches where not; its map is bilinear. One of pixels gives its map; its scores are
    means over patches.

    Raises:
        ValueError: a result of another shape.
    """
    own = getattr(explainer, "features", None)
    if own is not None and hasattr(explainer, "attribute_features"):
        values = explainer.attribute_features(inputs, target).detach().float()
        scores = values if own == features else features.pool(own.on_inputs(values, inputs))
        return scores, own.maps(values, inputs)
    maps = explainer.attribute(inputs, target).detach().float()
    size = inputs.shape[1:] if features.modality == "text" else inputs.shape[-2:]
    if maps.shape != (len(inputs), *size):
        raise ValueError(
            f"{type(explainer).__name__}.attribute returned shape {tuple(maps.shape)}, expected "
            f"{(len(inputs), *size)}: one value a {'token' if features.modality == 'text' else 'pixel'}."
        )
    return features.pool(maps), maps


@dataclass
class _Spent:
    """Sums over a run: black-box queries and seconds of the explainer, queries of the evaluation."""

    instances: int = 0
    queries: int = 0
    seconds: float = 0.0
    clean: int = 0


def evaluate_explainer(
    explainer: Explainer,
    batches: Iterable[Batch],
    black_box: BlackBox,
    features: Features,
    protocols: Sequence[Protocol | str],
    *,
    method: str | None = None,
    device: torch.device | str | None = None,
    limit: int | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Evaluation:
    """Explains the class that the box predicts for each instance and scores it, batch by batch, in constant memory.

    The first instance is explained once before the clock and the counter start.

    Args:
        explainer: answers `attribute`, or `attribute_features` with `features`.
        batches: rows whose `valid` is False are left out; `index` is counted where the data has none.
        black_box: what is explained and asked; the one the explainer holds, for its queries to be counted.
        features: grid of the protocols that remove features.
        protocols: protocols or their names.
        method: name in the rows; by default the explainer's class.
        device: where the inputs go; by default the black box's.
        limit: stop after so many instances.
        resamples: bootstrap samples.
        seed: of ties and bootstrap.

    Returns:
        Rows and instances.

    Raises:
        ValueError: no instances; an unknown protocol; data without what a protocol needs.
    """
    chosen = [get_protocol(p) if isinstance(p, str) else p for p in protocols]
    scores = {protocol.name: ProtocolScores(protocol) for protocol in chosen}
    evaluation = dict.fromkeys(scores, 0)
    spent, seen = _Spent(), 0
    for batch in batches:
        rows = _valid_rows(batch, seen, device or black_box.device)
        seen += len(batch["inputs"])
        if limit is not None:
            rows = {key: value[: limit - spent.instances] for key, value in rows.items()}
        if len(rows["inputs"]):
            data = _explain(explainer, black_box, features, rows, spent)
            for protocol in chosen:
                before = black_box.queries
                components = protocol.evaluate(black_box, data, seed=seed)
                evaluation[protocol.name] += black_box.queries - before
                scores[protocol.name].update({k: v.cpu() for k, v in components.items()}, rows["index"].cpu())
        if limit is not None and spent.instances >= limit:
            break
    if spent.instances == 0:
        raise ValueError("evaluate_explainer got no valid instances: the loader is empty, or limit is below 1.")

    name, table = method or type(explainer).__name__, []
    for protocol in chosen:
        for metric, (interval, count) in scores[protocol.name].intervals(resamples=resamples, seed=seed).items():
            table.append(
                {
                    "method": name,
                    "protocol": protocol.name,
                    "metric": metric,
                    "value": interval.value,
                    "ci95": [interval.low, interval.high],
                    "n": count,
                    "queries": spent.queries / spent.instances,
                    "seconds": spent.seconds / spent.instances,
                    "evaluation_queries": (evaluation[protocol.name] + spent.clean) / spent.instances,
                    **protocol.describe(features),
                }
            )
    return Evaluation(name, table, scores)


def compare(a: Evaluation, b: Evaluation, protocol: str, metric: str, *, resamples: int = 10_000) -> Interval:
    """`a` minus `b` in one metric, over the same instances, with its paired bootstrap 95 % interval.

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
    return paired_difference(x[both], y[both], statistic=summary.statistic, resamples=resamples)


def _valid_rows(batch: Batch, seen: int, device: torch.device | str) -> dict[str, Tensor]:
    count = len(batch["inputs"])
    keep = batch.get("valid", torch.ones(count, dtype=torch.bool)).cpu()
    rows: dict[str, Tensor] = {"index": torch.arange(seen, seen + count)}
    rows.update({key: batch[key] for key in ("inputs", "labels", "masks", "words", "index") if key in batch})  # type: ignore[literal-required]
    return {key: value[keep.to(value.device)].to(device) for key, value in rows.items()}


def _explain(
    explainer: Explainer, black_box: BlackBox, features: Features, rows: dict[str, Tensor], spent: _Spent
) -> Attributed:
    inputs = rows["inputs"]
    before = black_box.queries
    clean = black_box(inputs)
    spent.clean += black_box.queries - before
    # The class is named, so that no explainer spends a query on it.
    target = resolve_target(None, clean)
    if spent.instances == 0:
        attributions(explainer, inputs[:1], target[:1], features)
    _wait(inputs.device)
    before, start = black_box.queries, time.perf_counter()
    scores, maps = attributions(explainer, inputs, target, features)
    _wait(inputs.device)
    spent.seconds += time.perf_counter() - start
    spent.queries += black_box.queries - before
    spent.instances += len(inputs)
    return Attributed(inputs, scores, maps, features, clean, *(rows.get(key) for key in ("labels", "masks", "words")))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
