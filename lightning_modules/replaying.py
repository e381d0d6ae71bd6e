"""The table of past queries of a run: made at its start, the same on all processes, saved with its checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from fex.black_box import BlackBox
from fex.checks import differences
from fex.masking import mean_over
from fex.policy import Exploration, Replay, ReplayTable, trace
from fex.policy.replay import TOP
from fex.storage.checkpoint import newest_checkpoint, read_plain
from fex.storage.description import check_description
from fex.types import Batch
from lightning_modules.processes import gather_bytes, rank_of, step_of, world_size_of

__all__ = ["Replaying", "Visit", "mean_there"]

TOLERANCE = 1e-4  # of an input's trace, relative


@dataclass(frozen=True)
class Visit:
    """What is done with the B rows of a batch; all on the CPU.

    Attributes:
        keys: rows and views of the table, (B,), int64.
        traces: of the inputs, (B, 4).
        asking: whether this step asks about any row, in any process.
        fresh: rows that are asked about, (B,), bool.
        usable: rows that have masks, fresh or past ones, (B,), bool.
        slots: past masks to learn from (B, R), int64.
        there: which of them there are, (B, R), bool.
    """

    keys: Tensor
    traces: Tensor
    asking: bool
    fresh: Tensor
    usable: Tensor
    slots: Tensor
    there: Tensor


class Replaying:
    """Keeps and hands out past queries.

    Args:
        settings: which visits ask, and how much is kept.
        num_masks: fresh masks of a visit.
        scores: numbers kept of each mask's answer, 1 or C.
        pairs: whether masks are drawn in pairs, which are then replayed in pairs.
        uses_blank: whether the answer to the blank input is needed.
        exploration: what masks were drawn by; None where that never changes.
        top: classes of which the answer to the whole input is kept.
    """

    def __init__(
        self, settings: Replay, num_masks: int, *, scores: int, pairs: bool, uses_blank: bool,
        exploration: Exploration | None = None, top: int = TOP,
    ) -> None:  # fmt: skip
        if num_masks > settings.capacity:
            raise ValueError(f"Replay needs capacity >= num_masks, got {settings.capacity} and {num_masks}.")
        self.settings, self.scores, self.top, self.pairs = settings, scores, top, pairs
        self.uses_blank, self.exploration = uses_blank, exploration
        self._table: ReplayTable | None = None
        self._about: dict[str, Any] = {}
        self._filled = False

    @property
    def ready(self) -> bool:
        """Whether there is a table."""
        return self._table is not None

    @property
    def table(self) -> ReplayTable:
        """The table; there is one while training."""
        assert self._table is not None
        return self._table

    def allocate(self, module: Any) -> None:
        """Makes an empty table for the training data of the module's trainer.

        Raises:
            ValueError: data whose rows cannot be known again.
        """
        rows, self._views = _rows_and_views(module.trainer.datamodule)
        asked = self.settings.fresh_epochs
        if asked is not None and asked < self._views and self.settings.start_from is None:
            raise ValueError(
                f"Replay asks in the first {asked} epochs alone, but the data has {self._views} views, one an epoch: "
                f"set fresh_epochs to at least {self._views}, or fewer views."
            )
        policies = self.exploration is not None and self.exploration.follows_policy
        self._table = ReplayTable(
            rows * self._views, self.settings.capacity, module.features.num_features, module.black_box.num_classes,
            scores=self.scores, policies=policies, top=self.top,
        )  # fmt: skip
        told = {} if self.exploration is None else {"name": type(self.exploration).__name__, **vars(self.exploration)}
        meta = module._meta()
        self._about = {
            "rows": rows,
            "views": self._views,
            "exploration": {key: value for key, value in told.items() if isinstance(value, int | float | str)},
            "box": module.black_box.digest(),
            **{key: meta[key] for key in ("method", "black_box", "removal", "class_names", "grid", "preprocess")},
        }
        self._filled = False
        rank_zero_info(
            f"Replay: {rows:,} rows x {self._views} views x {self.settings.capacity} masks, "
            f"{self._table.nbytes / 1e6:,.0f} MB in each process and in each checkpoint."
        )

    def state(self) -> dict[str, Any]:
        """For a checkpoint: plain data and tensors."""
        return {"about": self._about, "tensors": self.table.tensors}

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on with the table of the run's own checkpoint; one that had none begins empty."""
        if "fex_replay" in checkpoint:
            self._load(checkpoint["fex_replay"], "the checkpoint")

    def start(self) -> int:
        """Begins with the table of another run, where one is named and none was resumed; returns what it has cost.

        Raises:
            FileNotFoundError: nothing there.
            ValueError: no table, or one of other data, of another box or of other settings.
        """
        path = self.settings.start_from
        if path is None or self._filled:
            return 0
        found = read_plain(newest_checkpoint(Path(path)) if Path(path).is_dir() else path)
        if not isinstance(found, dict) or "fex_replay" not in found or type(found.get("fex_queries")) is not int:
            raise ValueError(f"{path} holds no past queries: give `start_from` a checkpoint of a run with `replay`.")
        self._load(found["fex_replay"], str(path))
        return max(0, found["fex_queries"])

    def _load(self, found: Any, source: str) -> None:
        if not isinstance(found, dict):
            raise ValueError(f"{source} has no table of past queries, or a damaged one.")
        about, own = dict(check_description(found.get("about"), source)), dict(self._about)
        if about.get("box") is None or own["box"] is None:  # a box that can only be queried is known by its name
            about["box"] = own["box"] = None
        unlike = [line for key in own for line in differences(key, about.get(key), own[key])]
        if unlike:
            raise ValueError(f"The past queries of {source} are no answers to this run: {'; '.join(unlike)}.")
        self.table.load(found.get("tensors"), source)
        if self.uses_blank and bool(self.table.tensors["blank"][self.table.tensors["count"] > 0].isnan().any()):
            raise ValueError(
                f"{source} has no answers to blank inputs, which this run's reward needs: take `Retained`."
            )
        self._filled = True

    def visit(self, module: Any, batch: Batch) -> Visit:
        """Plans a step: a function of seed, step and table alone, whichever process has a row.

        Raises:
            ValueError: rows without a number, or inputs that are not those whose answers are kept.
        """
        if "index" not in batch:
            raise ValueError("Replay needs batch['index'], the number of each training row, and found none.")
        valid = batch["valid"].cpu()
        keys = batch["index"].cpu() * self._views + (batch["view"].cpu() if "view" in batch else 0)
        traces = trace(batch["inputs"], module.features.valid(batch["inputs"])).cpu()
        known = self.table.known(keys)
        self._check(keys, traces, known & valid, batch)
        count, rank, settings = len(keys), rank_of(module), self.settings
        # Another stream than that of the masks' own noise.
        generator = torch.Generator().manual_seed((module.seed * 1_000_003 + step_of(module)) ^ 0x5EED0000)
        noise = torch.rand(count * world_size_of(module), 1 + settings.capacity, generator=generator)
        noise = noise[rank * count : (rank + 1) * count]
        asking = settings.fresh_epochs is None or module.trainer.current_epoch < settings.fresh_epochs
        fresh = valid & (~known | (noise[:, 0] < settings.fresh)) & asking
        slots, there = self.table.choose(keys, settings.masks, noise[:, 1:], pairs=self.pairs)
        return Visit(keys, traces, asking, fresh, valid & (fresh | known), slots, there & valid.unsqueeze(1))

    def _check(self, keys: Tensor, traces: Tensor, known: Tensor, batch: Batch) -> None:
        kept = self.table.tensors["trace"][keys]
        other = ((traces - kept).abs() > TOLERANCE * kept.abs().clamp_min(1.0)).any(1) & known
        if bool(other.any()):
            row = int(other.nonzero()[0])
            name = batch["names"][row] if "names" in batch else f"row {int(batch['index'][row])}"
            raise ValueError(
                f"{name} is another input than the one whose answers were kept: replay needs the same training data in "
                "the same order, and inputs that nothing changes from one epoch to the next but views."
            )

    def clean(self, black_box: BlackBox, visit: Visit, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of the whole inputs (B, C), and the target (B,): asked where fresh, else as kept."""
        clean, target = self.table.clean(visit.keys), self.table.tensors["target"][visit.keys].long().clamp_min(0)
        clean[~visit.usable] = 1 / clean.shape[1]
        clean, target, fresh = clean.to(inputs.device), target.to(inputs.device), visit.fresh.to(inputs.device)
        clean[fresh] = black_box(inputs[fresh])
        return clean, torch.where(fresh, clean.argmax(1), target)

    def past(self, visit: Visit, count: int, device: torch.device) -> dict[str, Tensor]:
        """Of the chosen slots: masks and policies (B, R, `count`), budget, scores (B, R, S); and blank (B, S)."""
        found = self.table.past(visit.keys, visit.slots)
        found = {**found, "blank": self.table.tensors["blank"][visit.keys].nan_to_num()}
        found |= {name: found[name][..., :count] for name in ("masks", "policies")}
        return {name: value.to(device) for name, value in found.items()}

    def keep(self, module: Any, visit: Visit, *masks: Tensor, clean: Tensor, **answers: Tensor) -> None:
        """Writes what all processes have learnt about their fresh rows (b of B here); a collective.

        Args:
            module: of the run.
            visit: the step.
            *masks: see `ReplayTable.packed`, of b rows.
            clean: probabilities of the whole inputs, of all B rows.
            **answers: see there, of b rows.
        """
        fresh = visit.fresh
        learnt = self.table.packed(*masks, clean=clean.cpu()[fresh], traces=visit.traces[fresh], **answers)
        rows = {"keys": torch.where(fresh, visit.keys, -1)}
        for name, value in learnt.items():
            rows[name] = value.new_zeros(len(fresh), *value.shape[1:])
            rows[name][fresh] = value
        rows = gather_bytes(module, rows)
        keys = rows.pop("keys")
        chosen = keys >= 0
        self.table.put(keys[chosen], {name: value[chosen] for name, value in rows.items()})


def mean_there(values: Tensor, there: Tensor | None, weight: Tensor) -> Tensor:
    """Mean of (B, K) over the masks that are `there` (B, K), then by `valid_weight` (B,); None takes all alike."""
    return values.mean() if there is None else (mean_over(values, there) * weight).sum()


def _rows_and_views(data: Any) -> tuple[int, int]:
    """Training rows of a datamodule, and how many fixed views there are of each."""
    table = getattr(data, "datasets", {}).get("train")
    if table is None or hasattr(table, "deal"):
        raise ValueError(
            f"Replay keeps answers by the number of a training row, which {type(data).__name__} does not have: take a "
            "datamodule of this project that reads a table and no stream (streaming: false), or set replay to null."
        )
    if data.fixed_views is None:
        raise ValueError(
            "Replay needs inputs that come again, but `augment` changes them in every epoch: set `views` of the data "
            "to a number of fixed views of each row, or augment to null."
        )
    return len(table), data.fixed_views
