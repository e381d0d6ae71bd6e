"""What training has cost: queries of all processes and seconds of one, over all stops and resumptions."""

import time
from typing import Any

import torch

from lightning_modules.processes import gather_rows, world_size_of

__all__ = ["TrainingCost"]


class TrainingCost:
    """Counts while a step is under way; validation costs queries too, but an explainer does without.

    Args:
        module: the Lightning module, whose processes ask its `black_box`.
    """

    def __init__(self, module: Any) -> None:
        self._module, self._counted = module, 0
        self._before: int | None = None  # the box's own count before the step under way
        self._seconds, self._started = 0.0, 0.0

    def resume(self, queries: int, seconds: float) -> None:
        """Goes on from what a checkpoint counts."""
        self._counted, self._seconds = queries, seconds

    def add(self, queries: int) -> None:
        """Adds what others have spent for this training."""
        self._counted += queries

    def begin_step(self) -> None:
        """What is asked from here on is asked by training."""
        self._before = self._module.black_box.queries

    def end_step(self) -> None:
        """What is asked from here on is not."""
        self._counted, self._before = self.queries, None

    def settle(self) -> None:
        """Counts what this step has asked so far where processes do not ask equally often: a collective."""
        assert self._before is not None
        asked = torch.tensor([self._module.black_box.queries - self._before], device=self._module.device)
        self._counted += int(gather_rows(self._module, asked).sum())
        self._before = self._module.black_box.queries

    @property
    def queries(self) -> int:
        """Of training so far, of all processes, which ask equally often."""
        asked = 0 if self._before is None else self._module.black_box.queries - self._before
        return self._counted + asked * world_size_of(self._module)

    def start(self) -> None:
        """Starts the clock: of one process, with its validation."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stops it, for a checkpoint that is written later costs no more."""
        self._seconds, self._started = self.seconds, 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self._seconds + (time.perf_counter() - self._started if self._started else 0.0)
