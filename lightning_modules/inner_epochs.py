"""PPO's updates on one batch of masks (Algorithm 1, lines 7-9)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_modules.processes import mean_over_processes

__all__ = ["InnerEpochs"]


@dataclass(frozen=True)
class InnerEpochs:
    """Several optimiser steps on the same masks, stopped early once the policy has moved too far.

    Attributes:
        epochs: updates on each row, at least 1.
        minibatches: M >= 1 parts of the batch, updated one after the other in each epoch.
        kl_stop: largest approximate KL (nats a mask) of a further update; None never stops.
        gradient_clip: largest gradient norm; None does not clip.
    """

    epochs: int
    minibatches: int
    kl_stop: float | None
    gradient_clip: float | None

    @property
    def updates(self) -> int:
        """Optimiser steps a batch, at the most."""
        return self.epochs * self.minibatches

    def run(
        self,
        module: pl.LightningModule,
        parameters: list[torch.nn.Parameter],
        size: int,
        loss: Callable[[Tensor, int], tuple[Tensor, dict[str, Tensor]]],
    ) -> dict[str, Tensor]:
        """Makes the updates with the module's optimiser.

        Args:
            module: owner of optimiser and trainer.
            parameters: what is trained.
            size: B, rows of this process's batch.
            loss: of rows (int64) and the number of the update: the loss, and the signs to log, `approx_kl` among them.

        Returns:
            The last signs, and `gradient_norm` of the last step.
        """
        optimizer = module.optimizers()
        # Every M-th row, so that the parts of the global batch do not depend on how many processes share it.
        count = min(self.minibatches, size)
        parts = [torch.arange(start, size, count, device=module.device) for start in range(count)]
        signs: dict[str, Tensor] = {}
        norm = torch.zeros((), device=module.device)
        for update in range(self.epochs * count):
            total, signs = loss(parts[update % count], update)
            if update and self._moved_too_far(module, signs["approx_kl"]):
                break
            optimizer.zero_grad()
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
