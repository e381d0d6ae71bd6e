"""What the benchmark itself costs, beside the methods that it runs."""

import tempfile
from pathlib import Path
from statistics import median

from torch import Tensor

from fex.baselines import RISE
from fex.benchmark.runner import Candidate, Store, evaluate_explainers
from fex.benchmark.speed.images import Figure, ratio, time_in_turn
from fex.benchmark.store import ResultStore
from fex.black_box.base import BlackBox
from fex.explainers.trained import AmortizedExplainer
from fex.types import Explainer

__all__ = ["harness_overhead"]


def harness_overhead(
    explainer: AmortizedExplainer,
    black_box: BlackBox,
    inputs: Tensor,
    folder: Path,
    *,
    repeats: int,
    batch_size: int = 64,
    queries: int = 100,
    target: float = 1.05,
) -> list[Figure]:
    """Time of a benchmark without protocols, over that of the same explanations asked for directly.

    Counted as the harness's own: the fingerprints, the record of each batch on disk, the random generators, the
    warm-up of each method. Not counted: the protocols, which are what one runs a benchmark for, the box's clean
    predictions, which a direct call needs too, and the memory profile of one explanation a method, whatever the
    number of instances.

    Args:
        explainer: one pass an explanation; the other method is RISE.
        black_box: what is explained.
        inputs: (B, 3, H, W).
        folder: of temporary records.
        repeats: measurements.
        batch_size: instances of a batch.
        queries: masks of RISE.
        target: bound of the ratio.

    Returns:
        The ratio, nearly all of whose time is RISE's; and what the explainer alone has to bear, in ms an explanation.
    """
    inputs = inputs.to(explainer.device)
    rise = RISE(black_box, explainer.features, num_masks=queries)
    both = _times({"explainer": explainer, "rise": rise}, explainer, black_box, inputs, folder, repeats, batch_size)
    alone = _times({"explainer": explainer}, explainer, black_box, inputs, folder, repeats, batch_size)
    shapes = {"inputs": list(inputs.shape), "batch": batch_size}
    each = {name: 1e3 * median(seconds) / len(inputs) for name, seconds in alone.items()}
    return [
        ratio(
            "harness_overhead",
            both["harness"],
            {"direct": (1, both["direct"])},
            target=target,
            label="harness",
            shapes={**shapes, "queries": queries},
        ),
        Figure(
            "harness_one_pass",
            each["harness"] - each["direct"],
            unit="ms",
            parts={f"{name}_ms": value for name, value in each.items()},
            shapes=shapes,
        ),
    ]


def _times(
    methods: dict[str, Explainer],
    explainer: AmortizedExplainer,
    black_box: BlackBox,
    inputs: Tensor,
    folder: Path,
    repeats: int,
    batch_size: int,
) -> dict[str, list[float]]:
    """Seconds through the harness, and of direct calls, in turn."""
    parts = inputs.split(batch_size)
    candidates = [Candidate(name, method, key=name) for name, method in methods.items()]

    def harness() -> None:
        store = Store(ResultStore(tempfile.mkdtemp(dir=folder)), "box")
        batches = ({"inputs": part} for part in parts)
        evaluate_explainers(candidates, batches, black_box, explainer.features, [], store=store)  # type: ignore[arg-type]

    def direct() -> None:
        for part in parts:
            target_class = black_box(part).argmax(1)
            for method in methods.values():
                method.attribute(part, target_class)

    return time_in_turn({"harness": harness, "direct": direct}, repeats, device=explainer.device, warm_up=1)
