"""Replay of queries: what the black box said of past masks, in constant memory, to be learnt from again.

Queries are the dear thing, passes of the explainer are not. A table holds, for each training row (and each view of it),
a ring of past masks and scores, and what the box said of the whole input, so that a visit can do without any query.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fex.checks import differences

__all__ = ["Replay", "ReplayTable", "trace"]

TOP = 16  # of the classes' probabilities of the whole input; the others share what is left evenly


@dataclass(frozen=True)
class Replay:
    """Which visits of a training row ask the black box, and how many of its past answers each learns from.

    Attributes:
        masks: past masks that a visit learns from, beside its fresh ones; a row that has fewer takes what it has.
        capacity: masks kept of each row (and view); beyond it the oldest are forgotten.
        fresh: share of the visits that ask; a row of which nothing is known asks always.
        fresh_epochs: only the first so many epochs ask, later ones learn from what is kept alone, and pass over rows
            of which nothing is; None lets all epochs ask.
        start_from: checkpoint of a run with replay on the same data and black box, to begin with its table; its
            queries count as queries of this run too.

    Raises:
        ValueError: numbers out of range.
    """

    masks: int = 8
    capacity: int = 32
    fresh: float = 1.0
    fresh_epochs: int | None = None
    start_from: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.masks <= self.capacity:
            raise ValueError(f"Replay needs 1 <= masks <= capacity, got {self.masks} and {self.capacity}.")
        if not 0 <= self.fresh <= 1 or (self.fresh_epochs is not None and self.fresh_epochs < 0):
            raise ValueError(
                f"Replay needs fresh in 0 ... 1 and fresh_epochs null or at least 0, got {self.fresh} and "
                f"{self.fresh_epochs}."
            )


def trace(inputs: Tensor, valid: Tensor | None = None) -> Tensor:
    """Four numbers by which an input is known again, (B, 4), float32: weighted sums of what is in it.

    Args:
        inputs: (B, ...); integers are scattered first, so that neighbouring token ids differ.
        valid: entries of (B, L) to be read, bool; None reads all.
    """
    values = inputs.float() if inputs.is_floating_point() else (inputs.double() * 0.6180339887).frac().float()
    values = (values if valid is None else values * valid).flatten(1)
    places = torch.arange(1, values.shape[1] + 1, dtype=torch.float64, device=values.device)
    irrational = places.new_tensor([2, 3, 5, 7]).sqrt()
    with torch.autocast(values.device.type, enabled=False):  # whose rounding would hide a mirrored picture
        return values @ (places[:, None] * irrational).frac().float()


class ReplayTable:
    """Masks, budgets and scores of each key (row and view), a ring of `capacity`; and the answer to its whole input.

    Args:
        keys: rows times views.
        capacity: masks of each.
        features: N.
        classes: C.
        scores: numbers kept of each mask's answer: 1 (the target's probability), or C.
        policies: whether the centred logits that drew each mask are kept too (float16), so that the ratio of a policy
            to the one that drew can be formed.
        top: classes whose probabilities of the whole input are kept, at most.

    Attributes:
        tensors: by name, first axis keys, on the CPU: masks (bits), budget, scores, policies, count (masks ever
            written), target (-1: nothing known), blank (NaN: not asked), top, classes, rest, trace.
    """

    def __init__(
        self, keys: int, capacity: int, features: int, classes: int, *,
        scores: int = 1, policies: bool = False, top: int = TOP,
    ) -> None:  # fmt: skip
        self.capacity, self.features, self.num_classes = capacity, features, classes
        kept = min(top, classes)
        shapes = {
            "masks": ((capacity, -(-features // 8)), torch.uint8),
            "budget": ((capacity,), torch.float32),
            "scores": ((capacity, scores), torch.float32),
            "policies": ((capacity, features if policies else 0), torch.float16),
            "count": ((), torch.int64),
            "target": ((), torch.int32),
            "blank": ((scores,), torch.float32),
            "top": ((kept,), torch.float32),
            "classes": ((kept,), torch.int32),
            "rest": ((), torch.float32),
            "trace": ((4,), torch.float32),
        }
        self.tensors = {name: torch.zeros(keys, *shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
        self.tensors["target"] -= 1

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def known(self, keys: Tensor) -> Tensor:
        """Which keys (B,) have any masks, bool."""
        return self.tensors["count"][keys] > 0

    def choose(self, keys: Tensor, count: int, noise: Tensor, *, pairs: bool) -> tuple[Tensor, Tensor]:
        """Slots of `count` different masks of each key, and whether there is one in them: (B, count) each.

        Args:
            keys: (B,).
            count: at most `capacity`.
            noise: uniform on [0, 1), (B, capacity).
            pairs: draw neighbours together, which are each other's complements.
        """
        if pairs:
            noise = noise[:, : -(-self.capacity // 2)].repeat_interleave(2, 1)[:, : self.capacity]
        there = torch.arange(self.capacity) < self.tensors["count"][keys].unsqueeze(1)
        slots = noise.masked_fill(~there, 2.0).argsort(dim=1, stable=True)[:, :count]
        return slots, there.gather(1, slots)

    def past(self, keys: Tensor, slots: Tensor) -> dict[str, Tensor]:
        """Masks (B, R, N) of 0 and 1, budget (B, R), scores (B, R, S) and policies (B, R, N or 0) of slots (B, R)."""
        found = {name: self.tensors[name][keys[:, None], slots] for name in ("masks", "budget", "scores", "policies")}
        bits = np.unpackbits(found["masks"].numpy(), axis=-1, count=self.features)
        return {**found, "masks": torch.from_numpy(bits).float(), "policies": found["policies"].float()}

    def clean(self, keys: Tensor) -> Tensor:
        """Probabilities of the whole inputs (B, C): exact in the largest `top`, the rest shared evenly."""
        found = self.tensors["rest"][keys].unsqueeze(1).repeat(1, self.num_classes)
        return found.scatter(1, self.tensors["classes"][keys].long(), self.tensors["top"][keys])

    def packed(
        self, masks: Tensor, budget: Tensor, scores: Tensor, policy: Tensor,
        *, clean: Tensor, target: Tensor, blank: Tensor, traces: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        """What a visit has learnt of B instances, as it is kept.

        Args:
            masks: (B, K, N') of 0 and 1; N' <= N where instances have fewer features.
            budget: (B, K).
            scores: (B, K, S).
            policy: centred logits that drew the masks, (B, N'); not read without `policies`.
            clean: probabilities of the whole inputs (B, C).
            target: (B,), int64.
            blank: those of the blank inputs (B, S); NaN where not asked.
            traces: (B, 4).
        """
        top, classes = clean.topk(self.tensors["top"].shape[1])
        others = max(1, self.num_classes - top.shape[1])
        missing = (0, self.features - masks.shape[-1])
        bits = np.packbits(torch.nn.functional.pad(masks.cpu().bool(), missing).numpy(), axis=-1)
        own = torch.nn.functional.pad(policy, missing)[..., : self.tensors["policies"].shape[-1]]
        found = {
            "masks": torch.from_numpy(bits), "budget": budget, "scores": scores, "policies": own.unsqueeze(1),
            "target": target, "blank": blank, "top": top, "classes": classes,
            "rest": (clean.sum(1) - top.sum(1)).clamp_min(0) / others, "trace": traces,
        }  # fmt: skip
        return {name: value.detach().cpu().to(self.tensors[name].dtype) for name, value in found.items()}

    def put(self, keys: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Writes the rows of `packed` at keys (B,), all different; the oldest masks go first."""
        slots = (self.tensors["count"][keys].unsqueeze(1) + torch.arange(rows["masks"].shape[1])) % self.capacity
        for name, value in rows.items():
            if name in ("masks", "budget", "scores", "policies"):
                self.tensors[name][keys[:, None], slots] = value.expand(-1, slots.shape[1], *value.shape[2:])
            else:
                self.tensors[name][keys] = value
        self.tensors["count"][keys] += slots.shape[1]

    def load(self, found: Any, source: str) -> None:
        """Takes over the tensors of another table: data by others, checked first.

        Raises:
            ValueError: other names, types or shapes, or numbers that no table holds; says which.
        """
        tensors = [found.get(name) for name in self.tensors] if isinstance(found, dict) else [None]
        if not all(isinstance(each, Tensor) and each.layout is torch.strided for each in tensors):
            raise ValueError(f"{source} has no table of past queries, or a damaged one.")
        for name, own in self.tensors.items():
            told, expected = ((list(t.shape), str(t.dtype)) for t in (found[name], own))
            if unlike := differences(name, told, expected):
                raise ValueError(f"The past queries of {source} do not fit this run: {'; '.join(unlike)}.")
        for name, (low, high) in self._ranges().items():
            value = found[name].nan_to_num(0.0) if name == "blank" else found[name]
            smallest, largest = (float(end) for end in value.aminmax()) if value.numel() else (low, low)
            if not low <= smallest <= largest < high:  # NaN fails too
                raise ValueError(f"The past queries of {source} are damaged: {name} are {smallest:g} ... {largest:g}.")
        if bool(((found["count"] > 0) & (found["target"] < 0)).any()):
            raise ValueError(f"The past queries of {source} are damaged: masks of inputs without a class.")
        for name, own in self.tensors.items():
            own.copy_(found[name])

    def _ranges(self) -> dict[str, tuple[float, float]]:
        """What numbers may be: from the first to below the second."""
        probability, logit = (0.0, 1.001), float(torch.finfo(torch.float16).max)
        return {
            "budget": (0.0, 1.0), "scores": probability, "blank": probability, "top": probability, "rest": probability,
            "policies": (-logit, logit), "count": (0, 2.0**40), "target": (-1, self.num_classes),
            "classes": (0, self.num_classes), "trace": (-math.inf, math.inf),
        }  # fmt: skip
