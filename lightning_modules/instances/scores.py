"""Tables over the finished instances of a run."""

from collections.abc import Sequence
from typing import Any

import torch

from fex.images import PatchGrid
from fex.metrics.protocol_scores import ProtocolScores
from fex.metrics.protocols import Protocol
from lightning_modules.instances.store import InstanceStore

__all__ = ["score_tables"]


def score_tables(
    store: InstanceStore, protocols: Sequence[Protocol], method: str
) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Rows of the final maps, and of the maps at each step of the course, where that was scored.

    An instance whose course had ended by a step counts there with its last map.

    Args:
        store: with the components of every protocol beside each instance.
        protocols: what was scored.
        method: name in the rows.
    """
    steps = max((_course_length(arrays) for _, _, arrays in store), default=0)
    return _table(store, protocols, method, None), [_table(store, protocols, method, step) for step in range(steps)]


def _course_length(arrays: dict[str, Any]) -> int:
    return 1 + max((int(key.split("/")[1]) for key in arrays if key.startswith("course/")), default=-1)


def _table(store: InstanceStore, protocols: Sequence[Protocol], method: str, step: int | None) -> list[dict[str, Any]]:
    scores = {protocol.name: ProtocolScores(protocol) for protocol in protocols}
    queries, seconds, size = [], [], (1, 1)
    for number, (_, explanation, arrays) in enumerate(store):
        size = explanation.size
        queries.append(explanation.queries)
        seconds.append(explanation.seconds)
        at = "" if step is None else f"course/{min(step, _course_length(arrays) - 1)}/"
        for name, metric in scores.items():
            parts = metric.protocol.components
            components = {part: torch.from_numpy(arrays[f"{at}{name}/{part}"]) for part in parts}
            metric.update(components, torch.tensor([number]))
    common = {"method": method, "queries": sum(queries) / len(queries), "seconds": sum(seconds) / len(seconds)}
    return [
        {
            **common,
            "protocol": name,
            "metric": key,
            "value": interval.value,
            "ci95": [interval.low, interval.high],
            "n": count,
            **metric.protocol.describe(PatchGrid(*size)),  # each pixel is a feature
        }
        for name, metric in scores.items()
        for key, (interval, count) in metric.intervals().items()
    ]
