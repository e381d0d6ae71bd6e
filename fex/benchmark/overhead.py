"""What the benchmark itself costs, beside the methods that it runs."""

import itertools
from pathlib import Path

from torch import Tensor

from fex.baselines import RISE
from fex.benchmark.runner import Candidate, Store, evaluate_explainers
from fex.benchmark.speed import Figure, ratio, time_in_turn
from fex.benchmark.store import ResultStore
from fex.black_box.base import BlackBox
from fex.explainer import AmortizedExplainer
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
) -> Figure:
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
    """
    inputs = inputs.to(explainer.device)
    parts = inputs.split(batch_size)
    methods: dict[str, Explainer] = {
        "explainer": explainer,
        "rise": RISE(black_box, explainer.features, num_masks=queries),
    }
    candidates = [Candidate(name, method, key=name) for name, method in methods.items()]
    places = itertools.count()

    def harness() -> None:
        store = Store(ResultStore(folder / str(next(places))), "box")
        batches = ({"inputs": part} for part in parts)
        evaluate_explainers(candidates, batches, black_box, explainer.features, [], store=store)  # type: ignore[arg-type]

    def direct() -> None:
        for part in parts:
            target_class = black_box(part).argmax(1)
            for method in methods.values():
                method.attribute(part, target_class)

    samples = time_in_turn({"harness": harness, "direct": direct}, repeats, device=explainer.device, warm_up=1)
    return ratio(
        "harness_overhead",
        samples["harness"],
        {"direct": (1, samples["direct"])},
        target=target,
        label="harness",
        shapes={"inputs": list(inputs.shape), "batch": batch_size, "queries": queries},
    )
