"""Learns in validation how far to trust the maps where they are refined, how faithful they are, what foretells it."""

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import torch

from fex.refine import Experience, Refined
from fex.refine.foresight import SMALL, signs
from fex.types import Batch
from lightning_modules.processes import gather_rows

__all__ = ["Trust"]


class Trust(pl.Callback):
    """Asks the black box a few queries of validation inputs, and puts what they teach into the checkpoints.

    The checkpoint's description has then `trust`, with which `fex.Refined` starts, `foresight`, by which the explainer
    tells at no query how far a map will miss, and `fidelity` of one pass, which is logged as `val/fidelity` too. Reads
    what the validation step returns: attribution (B, N) and clean (B, C).

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
            inputs, maps = batch["inputs"][rows], outputs["attribution"][rows].float()
            self._experience.add(inputs, classes, maps, signs(pl_module.explainer, inputs, classes))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Learns from all processes' inputs, and hands it to the module for its checkpoints."""
        found = self._experience
        assert found is not None
        # Processes may have different numbers of inputs; a collective takes equal ones.
        seen = torch.zeros(0, SMALL + pl_module.explainer.hidden) if found.signs is None else found.signs
        parts = [torch.full((self.limit, *rows.shape[1:]), torch.nan, dtype=torch.float64)
                 for rows in (found.evidence, found.misses, seen)]  # fmt: skip
        for part, rows in zip(parts, (found.evidence, found.misses, seen), strict=True):
            part[: len(rows)] = rows
        every = [gather_rows(pl_module, part.to(pl_module.device)).cpu() for part in parts]
        known = torch.stack([rows.flatten(1).isfinite().all(1) for rows in every]).all(0)
        found.evidence, found.misses, found.signs = (rows[known] for rows in every)
        if trainer.sanity_checking or not len(found.misses):
            return
        fidelity, foresight = found.fidelity(), found.foresight()
        assert foresight is not None
        pl_module.learnt = {"trust": found.trust().to_dict(), "fidelity": fidelity, "foresight": foresight.to_dict()}
        if fidelity is not None:
            pl_module.log("val/fidelity", fidelity["value"], rank_zero_only=True)
