"""Learns in validation how far the maps can be trusted where they are refined, and how faithful they are."""

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import torch

from fex.refine import Experience, Refined
from fex.types import Batch
from lightning_modules.processes import gather_rows

__all__ = ["Trust"]


class Trust(pl.Callback):
    """Asks the black box a few queries of validation inputs, and puts what they teach into the checkpoints.

    The checkpoint's description has then `trust`, with which `fex.Refined` starts, and `fidelity` of one pass, which is
    logged as `val/fidelity` too. Reads what the validation step returns: attribution (B, N) and clean (B, C).

    Args:
        queries: of each input.
        limit: inputs of each process.
        seed: of the masks.

    Raises:
        ValueError: fewer than 4 queries, or no inputs.
    """

    def __init__(self, queries: int = 16, limit: int = 200, seed: int = 0) -> None:
        if queries < 4 or limit < 1:
            raise ValueError(f"Trust needs queries >= 4 and limit >= 1, got {queries} and {limit}.")
        self.queries, self.limit, self.seed = queries, limit, seed
        self._experience: Experience | None = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Forgets what is of earlier weights."""
        # The validation step has made the maps already: of the explainer only its features are read.
        maps: Any = SimpleNamespace(features=pl_module.features, attribute_features=None)
        refined = Refined(maps, pl_module.black_box, pl_module.removal, queries=self.queries, seed=self.seed)
        self._experience = Experience(refined)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Asks about the first inputs."""
        assert self._experience is not None
        rows = batch["valid"].nonzero().squeeze(1)[: max(0, self.limit - len(self._experience.misses))]
        if len(rows):
            classes = outputs["clean"][rows].argmax(1)
            self._experience.add(batch["inputs"][rows], classes, outputs["attribution"][rows].float())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Learns from all processes' inputs, and hands it to the module for its checkpoints."""
        found = self._experience
        assert found is not None
        # Processes may have different numbers of inputs; a collective takes equal ones.
        evidence = torch.full((self.limit, *found.evidence.shape[1:]), torch.nan, dtype=torch.float64)
        misses = torch.full((self.limit, 2), torch.nan, dtype=torch.float64)
        evidence[: len(found.evidence)], misses[: len(found.misses)] = found.evidence, found.misses
        known = (gather_rows(pl_module, rows.to(pl_module.device)).cpu() for rows in (evidence, misses))
        found.evidence, found.misses = (rows[~rows.flatten(1).isnan().any(1)] for rows in known)
        if trainer.sanity_checking or not len(found.misses):
            return
        fidelity = found.fidelity()
        pl_module.learnt = {"trust": found.trust().to_dict(), "fidelity": fidelity}
        if fidelity is not None:
            pl_module.log("val/fidelity", fidelity["value"], rank_zero_only=True)
