"""PPO's updates on one batch of masks (Algorithm 1, lines 7-9)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_modules.processes import mean_over_processes, valid_weight

__all__ = ["InnerEpochs", "Loss"]

# Rows (int64), number of the update, weights of the rows (`valid_weight`) -> the loss, and the signs to log.
Loss = Callable[[Tensor, int, Tensor], tuple[Tensor, dict[str, Tensor]]]

_MEANS = ("approx_kl", "clip_fraction", "explained_variance")  # signs that are means over rows; others are sums


@dataclass(frozen=True)
class InnerEpochs:
    """Several optimiser steps on the same masks, stopped early once the policy has moved too far.

    Attributes:
        epochs: updates on each row, at least 1.
        minibatches: M >= 1 parts of the batch, updated one after the other in each epoch.
        kl_stop: largest approximate KL (nats a mask) of a further update; None never stops.
        gradient_clip: largest gradient norm; None does not clip.
        accumulate: A >= 1 pieces of each update's rows, whose gradients are added before the step: the update of all
            rows at once, in the memory of a piece.
    """

    epochs: int
    minibatches: int
    kl_stop: float | None
    gradient_clip: float | None
    accumulate: int = 1

    @property
    def updates(self) -> int:
        """Optimiser steps a batch, at the most."""
        return self.epochs * self.minibatches

    @property
    def whole(self) -> bool:
        """Whether an update sees all rows at once."""
        return self.minibatches == self.accumulate == 1

    def run(
        self, module: pl.LightningModule, parameters: list[torch.nn.Parameter], valid: Tensor, loss: Loss
    ) -> dict[str, Tensor]:
        """Makes the updates with the module's optimiser.

        Args:
            module: owner of optimiser and trainer.
            parameters: what is trained.
            valid: which rows of this process's batch count, bool (B,).
            loss: see `Loss`; `approx_kl` is among the signs where `kl_stop` is set.

        Returns:
            The last signs, and `gradient_norm` of the last step.
        """
        optimizer, size = module.optimizers(), len(valid)
        # Every M-th row, so that the parts of the global batch do not depend on how many processes share it.
        count = min(self.minibatches, size)
        parts = [torch.arange(start, size, count, device=module.device) for start in range(count)]
        signs: dict[str, Tensor] = {}
        norm = torch.zeros((), device=module.device)
        for update in range(self.epochs * count):
            rows = parts[update % count]
            weight = valid_weight(module, valid[rows])
            pieces = min(self.accumulate, len(rows))
            signs = {}
            optimizer.zero_grad()
            for first in range(pieces):
                piece = slice(first, None, pieces)
                total, found = loss(rows[piece], update, weight[piece])
                share = len(rows[piece]) / len(rows)
                for name, value in found.items():
                    signs[name] = signs.get(name, 0) + (share * value if name in _MEANS else value)
                if first + 1 < pieces:
                    with _unsynced(module):  # processes add up their gradients once, with the last piece
                        module.manual_backward(total)
            if update and self._moved_too_far(module, signs["approx_kl"]):
                break
            module.manual_backward(total)
            norm = self._step(module, optimizer, parameters)
        return {**signs, "gradient_norm": norm}

    def _step(self, module: pl.LightningModule, optimizer: Any, parameters: list[torch.nn.Parameter]) -> Tensor:
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained])
        if not bool(torch.isfinite(norm)):
            raise ValueError(
                f"The gradient became {float(norm)} at step {module.global_step}. Lower the learning rate; the last "
                "checkpoint is still good."
            )
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, self.gradient_clip, norm)
        optimizer.step()
        return norm

    def _moved_too_far(self, module: pl.LightningModule, divergence: Tensor) -> bool:
        # All ranks must take the same decision, or DDP waits for ever.
        return self.kl_stop is not None and float(mean_over_processes(module, divergence)) > self.kl_stop


def _unsynced(module: pl.LightningModule) -> AbstractContextManager[Any]:
    """Inside, gradients stay in the process."""
    return getattr(module.trainer.strategy, "block_backward_sync", nullcontext)()
