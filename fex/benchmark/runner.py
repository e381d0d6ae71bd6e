"""Any explainers through any protocols: every batch is loaded once and goes to all of them, one after the other."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from fex.benchmark.attribute import attributions
from fex.benchmark.evaluation import Evaluation, compare
from fex.benchmark.fingerprint import fingerprint, referenced_files
from fex.benchmark.method_run import MethodRun, Taken
from fex.benchmark.setting import Candidate, Instances, Setting, Store
from fex.black_box.base import BlackBox
from fex.masking.masker import masked_probabilities, masker_for
from fex.metrics.protocol import Protocol
from fex.metrics.protocols import get_protocol
from fex.modality import Features
from fex.types import Batch, Explainer

__all__ = [
    "Candidate", "Evaluation", "Progress", "Store", "attributions", "compare", "evaluate_explainer",
    "evaluate_explainers",
]  # fmt: skip

CHECKED = 4  # instances about which the box of kept results is asked again
TOLERANCE = 0.05  # of their probabilities: batches of other sizes round otherwise, most of all in bf16

Progress = Callable[[int, Taken], None]
"""Told of each method's batch: its instances, and whether they were explained, were there already or were left out."""


def evaluate_explainers(
    candidates: Sequence[Candidate],
    batches: Iterable[Batch],
    black_box: BlackBox,
    features: Features,
    protocols: Sequence[Protocol | str],
    *,
    store: Store | None = None,
    device: torch.device | str | None = None,
    limit: int | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    memory: bool = False,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Explains the class that the box predicts for each instance by every method and scores it, in constant memory.

    A method that raises is left out from there on, a protocol that raises for a method likewise; the others go on
    (`Evaluation.errors`). A protocol that lacks labels or masks is left out before anything is asked. Before each
    step, the global random generators are seeded by `seed` and the batch's content, so that no result depends on
    what ran before it.

    Args:
        candidates: methods, each with a name of its own.
        batches: rows whose `valid` is False are left out; `index` is counted where the data has none.
        black_box: what is explained and asked; the one the explainers hold, for their queries to be counted.
        features: those that protocols remove.
        protocols: protocols or their names.
        store: where results are kept as they come, and taken from where nothing has changed.
        device: where the inputs go; by default the black box's.
        limit: stop after so many instances.
        resamples: bootstrap samples.
        seed: of ties, bootstrap and the global generators.
        memory: measure the peak memory of explaining one instance, once a method.
        progress: told after each method's batch.

    Returns:
        One evaluation a candidate, in their order.

    Raises:
        ValueError: no instances; an unknown protocol; two candidates or two protocols of one name; a store and a
            candidate without a key; a box that answers otherwise than when the results in `store` were kept.
    """
    _check_candidates(candidates, store)
    keys = _by_key(protocols, seed)
    setting = Setting(black_box, features, keys, store, seed, memory)
    runs = [MethodRun(candidate, setting) for candidate in candidates]
    seen = done = 0
    for batch in batches:
        rows = _valid_rows(batch, seen, device or black_box.device)
        seen += len(batch["inputs"])
        if limit is not None:
            rows = {key: value[: limit - done] for key, value in rows.items()}
        if count := len(rows["inputs"]):
            key = fingerprint(rows)
            part = Instances(key, done, _clean(setting, rows["inputs"], key, check=done == 0), rows)
            for run in runs:
                taken = run.take(part)
                if progress is not None:
                    progress(count, taken)
            done += count
        if limit is not None and done >= limit:
            break
    if done == 0:
        raise ValueError("evaluate_explainer got no valid instances: the loader is empty, or limit is below 1.")
    return [run.finish(resamples) for run in runs]


def _check_candidates(candidates: Sequence[Candidate], store: Store | None) -> None:
    if len({candidate.name for candidate in candidates}) != len(candidates):
        raise ValueError(f"Got candidates {[c.name for c in candidates]}, expected a name of its own for each.")
    if store is not None and not all(candidate.key for candidate in candidates):
        raise ValueError(
            "A store keeps what is found under each candidate's `key`, which must not be empty: give fingerprints of "
            "all that the attributions depend on (`fex.benchmark.fingerprint`)."
        )


def _by_key(protocols: Sequence[Protocol | str], seed: int) -> dict[str, Protocol]:
    """Protocols by name and fingerprint; one that is given twice counts once."""
    chosen = [get_protocol(p) if isinstance(p, str) else p for p in protocols]
    keys = {}
    for protocol in chosen:
        kind = type(protocol)
        code = referenced_files(f"{kind.__module__}.{kind.__qualname__}")  # of one's own; ours is in all keys anyway
        keys[f"{protocol.name}@{fingerprint([protocol, seed, *code.items()])[:12]}"] = protocol
    names = [protocol.name for protocol in keys.values()]
    if len(set(names)) != len(names):
        raise ValueError(f"Got protocols {names}, of other settings under one name: give each a name of its own.")
    return keys


def evaluate_explainer(
    explainer: Explainer,
    batches: Iterable[Batch],
    black_box: BlackBox,
    features: Features,
    protocols: Sequence[Protocol | str],
    *,
    method: str | None = None,
    **options: Any,
) -> Evaluation:
    """`evaluate_explainers` for one explainer; what it or a protocol raises, this raises.

    Args:
        explainer: see `Candidate`.
        batches: see `evaluate_explainers`, as the others.
        black_box: what is explained.
        features: those that protocols remove.
        protocols: protocols or their names.
        method: name in the rows; by default the explainer's class.
        **options: see there.
    """
    candidate = Candidate(method or type(explainer).__name__, explainer)
    (evaluation,) = evaluate_explainers([candidate], batches, black_box, features, protocols, **options)
    for error in evaluation.errors.values():
        raise error
    return evaluation


_ROW_KEYS = ("inputs", "labels", "masks", "ignored", "words", "index")


def _valid_rows(batch: Batch, seen: int, device: torch.device | str) -> dict[str, Tensor]:
    count = len(batch["inputs"])
    keep = batch.get("valid", torch.ones(count, dtype=torch.bool)).cpu()
    rows: dict[str, Tensor] = {"index": torch.arange(seen, seen + count)}
    rows.update({key: batch[key] for key in _ROW_KEYS if key in batch})  # type: ignore[literal-required]
    return {key: value[keep.to(value.device)].to(device) for key, value in rows.items()}


def _check_box(black_box: BlackBox, answers: Tensor, kept: Tensor, folder: str) -> None:
    """The settings of a box say what it is, but not what an address on the network answers today."""
    change = float((answers - kept.to(answers.device)).abs().max())
    if change > TOLERANCE:
        raise ValueError(
            f"Black box {black_box.name!r} does not answer as it did when the results in {folder} were kept "
            f"(probabilities differ by {change:.3f}): give another output folder, or do not resume."
        )


def _probe(setting: Setting, few: Tensor) -> Tensor:
    """Answers (b, C) about inputs with every second feature removed: two boxes may agree on whole ones."""
    features = setting.features
    count = features.count(few)
    half = (torch.arange(count, device=few.device) % 2 == 0).expand(len(few), 1, count)
    return masked_probabilities(setting.black_box, masker_for(setting.black_box, features), few, half)[:, 0]


def _clean(setting: Setting, inputs: Tensor, key: str, *, check: bool) -> Tensor:
    """The box's own prediction, asked once for all methods; `check` asks for a few answers again where it was kept."""
    store = setting.store
    if store is None:
        return setting.black_box(inputs)
    box, results, few = setting.black_box, store.results, inputs[:CHECKED]
    found = results.load_clean(store.black_box, key)
    if check and found is not None:
        _check_box(box, box(few), found[:CHECKED], str(results.folder))
    if check:
        answers, kept = _probe(setting, few), results.load_clean(store.black_box, f"probe{key}")
        if kept is not None:  # perhaps without the batch's own answers: of a run that was killed between the two
            _check_box(box, answers, kept, str(results.folder))
        else:
            results.save_clean(store.black_box, f"probe{key}", answers)
    if found is None:
        found = box(inputs)
        results.save_clean(store.black_box, key, found)
    return found.to(inputs.device)
