"""One method on its way through the data: explained, scored and kept, batch by batch."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from fex.benchmark.attribute import attributions
from fex.benchmark.evaluation import Cost, Evaluation, make_rows
from fex.benchmark.measure import peak_bytes, wait
from fex.benchmark.setting import Candidate, Instances, Setting, Store
from fex.benchmark.store import Record
from fex.black_box.base import BlackBox, resolve_target
from fex.contrast import FLAT, contrast
from fex.metrics.protocol import Attributed, Explain
from fex.metrics.protocol_scores import ProtocolScores
from fex.seeding import seeded
from fex.types import Explainer

__all__ = ["MethodRun", "Taken"]

LONGEST_WARM_UP = 0.5  # seconds; a first batch that takes longer is not explained again, but left out of the times
EQUAL = 1e-5  # of the largest value: what rounding leaves between equal ones
LONGEST_PROFILE = 5.0  # seconds; an explanation that takes longer is not profiled for its memory on the CPU

Taken = Literal["explained", "stored", "left out"]
"""What became of a method's batch; only the first took time."""


@dataclass
class MethodRun:
    """One method on its way through the data.

    Args:
        candidate: the method.
        setting: what it shares with the others.
    """

    candidate: Candidate
    setting: Setting
    cost: Cost = field(default_factory=Cost)
    scores: dict[str, ProtocolScores] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    maps: list[Tensor] = field(default_factory=list)
    clean: list[Tensor] = field(default_factory=list)
    warm: bool = False
    rebuilt: dict[BlackBox, Explain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scores = {key: ProtocolScores(protocol) for key, protocol in self.setting.protocols.items()}
        if self.setting.store is not None:
            self.cost.peak_mb = _noted_peak(self.setting.store, self.candidate.key)

    def take(self, rows: Instances) -> Taken:
        """Explains and scores a batch, or takes what is stored; leaves it out where nothing more can be scored."""
        self._check(rows)
        if "" in self.errors or (self.setting.protocols and not self.scores):
            return "left out"
        store, key = self.setting.store, self.candidate.key
        record = store.results.load(key, rows.key) if store is not None else None
        missing = [each for each in self.scores if record is None or each not in record.components]
        complete = record is not None and not missing and record.mapped >= rows.shown
        if record is None or not complete:
            try:
                record = self._work(rows, record, missing)
            except Exception as error:  # whatever a method of anybody's raises; the others go on
                self.errors[""] = error
                return "left out"
            if store is not None:
                store.results.save(key, rows.key, record)
        self._add(record, rows)
        return "stored" if complete else "explained"

    def _check(self, rows: Instances) -> None:
        """Leaves out the protocols that lack something, before anything is spent on them."""
        for key, scores in list(self.scores.items()):
            try:
                scores.protocol.check_features(self.setting.features)
                scores.protocol.check_data(rows.tensors)
            except ValueError as error:
                self.errors[scores.protocol.name] = error
                self.scores.pop(key)

    def _work(self, rows: Instances, record: Record | None, missing: list[str]) -> Record:
        box = self.setting.black_box
        # The class is named, so that no explainer spends a query on it.
        target = resolve_target(None, rows.clean)
        # Seeded anew for each step, so that a draw does not depend on which steps are already done.
        randomness = partial(seeded, int(rows.key[:15], 16) ^ self.setting.seed, rows.inputs.device)
        cold, self.warm = not self.warm, True
        if cold:
            box.prepare(rows.inputs)  # the first method to ask a full chunk would pay for the compiler
        scores, maps, seconds, queries = self._explained(rows.inputs, target, randomness)
        if cold and seconds < LONGEST_WARM_UP:
            # The first batch costs more than the next ones, which would be held against whoever comes first.
            scores, maps, seconds, queries = self._explained(rows.inputs, target, randomness)
            cold = False
        self._profile(rows.inputs[:1], target[:1], seconds / len(rows.inputs), randomness)
        if record is None:  # otherwise the first measurement stands
            record = Record(len(rows.inputs), queries, seconds, cold=cold, flat=self._flat(rows.inputs, scores, maps))
        if rows.shown:
            record.maps = maps[: rows.shown].float().cpu()
        data = self._attributed(rows, scores, maps)
        for key in missing:
            before, protocol = box.queries, self.setting.protocols[key]
            try:
                with randomness():
                    components = protocol.evaluate(box, data, seed=self.setting.seed)
            except Exception as error:
                self.errors[protocol.name] = error
                self.scores.pop(key)
                continue
            record.components[key] = {name: values.detach().float().cpu() for name, values in components.items()}
            record.evaluation[key] = box.queries - before
        return record

    def _explained(
        self, inputs: Tensor, target: Tensor, randomness: Callable[[], AbstractContextManager[None]]
    ) -> tuple[Tensor, Tensor, float, int]:
        """Scores, maps, seconds and queries."""
        box = self.setting.black_box
        own, classes = _own(inputs, target)
        with randomness():
            wait(inputs.device)
            before, start = box.queries, time.perf_counter()
            scores, maps = attributions(self.candidate.explainer, own, classes, self.setting.features)
            wait(inputs.device)
            return scores, maps, time.perf_counter() - start, box.queries - before

    def _flat(self, inputs: Tensor, scores: Tensor, maps: Tensor) -> int:
        """How many maps have hardly any contrast; of texts, over the tokens that are features.

        Of scores without a known span only equal ones are flat: those of RISE lie close together by nature.
        """
        span = getattr(getattr(self.candidate.explainer, "net", None), "span", None)
        valid = self.setting.features.valid(inputs)
        rows = maps if valid is None else [row[own] for row, own in zip(scores, valid, strict=True)]
        least = EQUAL if span is None else FLAT
        return sum(contrast(row.float().cpu().numpy(), span) < least for row in rows)

    def _profile(
        self,
        inputs: Tensor,
        target: Tensor,
        seconds: float,
        randomness: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """The peak memory of one explanation, which takes so many seconds, by another one; once.

        A method's first batch may be slow for what is made at first use; then it is the next one that is short enough.
        """
        short = inputs.device.type == "cuda" or seconds < LONGEST_PROFILE
        if not (self.setting.memory and self.cost.peak_mb is None and short):
            return
        # What a compiler's runtime holds is not seen; measured would be the ragged chunk that it leaves to torch. And a
        # box that remembers would answer what it was asked a moment ago.
        own = _own(inputs, target)
        with randomness(), self.setting.black_box.bare():
            peak = peak_bytes(
                lambda: attributions(self.candidate.explainer, *own, self.setting.features), inputs.device
            )
        self.cost.peak_mb = peak / 1e6
        if self.setting.store is not None:
            note = {"method": self.candidate.name, "key": self.candidate.key, "peak_mb": self.cost.peak_mb}
            self.setting.store.results.save_note(self.candidate.key, note)

    def _attributed(self, rows: Instances, scores: Tensor, maps: Tensor) -> Attributed:
        more = rows.tensors
        return Attributed(
            rows.inputs, scores, maps, self.setting.features, rows.clean, more.get("labels"), more.get("masks"),
            more.get("words"),
            explain=self._explain(self.candidate.explainer),
            explain_box=self._explain_box if self.candidate.rebuild is not None else None,
            ignored=more.get("ignored"),
        )  # fmt: skip

    def _explain(self, explainer: Explainer) -> Explain:
        return lambda inputs, target: attributions(explainer, *_own(inputs, target), self.setting.features)

    def _explain_box(self, black_box: BlackBox) -> Explain:
        if black_box not in self.rebuilt:
            assert self.candidate.rebuild is not None
            self.rebuilt[black_box] = self._explain(self.candidate.rebuild(black_box))
        return self.rebuilt[black_box]

    def _add(self, record: Record, rows: Instances) -> None:
        self.cost.instances += record.instances
        self.cost.queries += record.queries
        self.cost.flat += record.flat
        if record.cold:
            self.cost.cold_seconds += record.seconds
        else:
            self.cost.seconds += record.seconds
            self.cost.timed += record.instances
        index = rows.tensors["index"].cpu()
        for key, scores in self.scores.items():
            scores.update(record.components[key], index)
            spent = self.cost.evaluation.get(scores.protocol.name, 0) + record.evaluation[key]
            self.cost.evaluation[scores.protocol.name] = spent
        if record.maps is not None and rows.shown:
            self.maps.append(record.maps[: rows.shown])
            self.clean.append(rows.clean[: rows.shown].float().cpu())

    def finish(self, resamples: int) -> Evaluation:
        """Rows, or nothing but what went wrong."""
        name, store = self.candidate.name, self.setting.store
        if "" in self.errors:
            return Evaluation(name, [], {}, self.errors)
        if self.cost.peak_mb is None and store is not None:
            self.cost.peak_mb = _noted_peak(store, self.candidate.key)  # by one of the same settings and another name
        scores = {each.protocol.name: each for each in self.scores.values()}
        rows = make_rows(name, scores, self.cost, self.setting.features, resamples=resamples, seed=self.setting.seed)
        counted = {"flat": self.cost.flat, "instances": self.cost.instances}
        if not self.maps:
            return Evaluation(name, rows, scores, self.errors, **counted)
        longest = max(each.shape[-1] for each in self.maps)  # batches of texts differ in length
        maps = [pad(each, (0, longest - each.shape[-1])) for each in self.maps]
        return Evaluation(name, rows, scores, self.errors, torch.cat(maps), torch.cat(self.clean), **counted)


def _noted_peak(store: Store, key: str) -> float | None:
    peak = store.results.load_note(key).get("peak_mb")
    return float(peak) if isinstance(peak, (int, float)) else None


def _own(inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Copies for one method alone: what it writes into them, or asks gradients of, no other one sees."""
    return inputs.clone(), target.clone()
