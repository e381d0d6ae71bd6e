"""What any module that trains an amortized explainer shares: evaluation, prediction, checkpoints."""

import time
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torchmetrics import MeanMetric

from fex.black_box import BlackBox
from fex.checks import differences
from fex.explainer import explainer_meta
from fex.features import PatchGrid
from fex.nets import ExplainerNet
from fex.preprocess import Preprocess
from fex.removal import Removal
from fex.types import Batch
from lightning_modules.processes import world_size_of

__all__ = ["AmortizedModule"]


class AmortizedModule(pl.LightningModule):
    """An explainer in training, beside the black box that it explains; subclasses say how it learns.

    Args:
        black_box: what is explained; queried only, and no part of the module's state.
        features: N features.
        explainer: the network; built here for the box's classes and these features.
        removal: what stands in for a removed feature.

    Raises:
        ValueError: an encoder for inputs of another size than the black box's.
    """

    def __init__(self, black_box: BlackBox, features: PatchGrid, explainer: ExplainerNet, removal: Removal) -> None:
        super().__init__()
        own, (height, width) = explainer.encoder.size, black_box.preprocess.size
        if own is not None and own != (height, width):
            raise ValueError(
                f"The encoder takes {own[0]} x {own[1]} pixels, the black box {black_box.name!r} {height} x {width}: "
                f"give the box `preprocess: {{height: {own[0]}, width: {own[1]}}}`, or the encoder "
                f"`model_args: {{img_size: {height}}}`."
            )
        self.black_box, self.features, self.removal = black_box, features, removal
        self.explainer = explainer.build(black_box.num_classes, features)
        self.agreement = MeanMetric()
        self._seconds_before, self._started = 0.0, 0.0  # of training, for the checkpoint's record of its cost

    @property
    def preprocess(self) -> Preprocess:
        """Geometry of the inputs; the datamodule reads it."""
        return self.black_box.preprocess

    @property
    def class_names(self) -> list[str]:
        """Names of the black box's classes."""
        return self.black_box.class_names

    def setup(self, stage: str) -> None:
        """Brings the black box to the device."""
        self.black_box.to(self.device)

    def forward(self, inputs: Tensor, target: Tensor | None = None) -> Tensor:
        """Keep probabilities lambda = g_y(x): inputs (B, 3, H, W) in [0, 1] -> (B, N)."""
        return self.explainer(inputs, target)[0].sigmoid()

    @property
    def _queries(self) -> int:
        """Queries of all processes, which ask equally often."""
        return self.black_box.queries * world_size_of(self)

    def _evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Attribution (B, N) of the black box's predicted class, and its clean probabilities (B, C)."""
        clean = self.black_box(batch["inputs"])
        logits, rates = self.explainer(batch["inputs"], clean.argmax(1))
        # A metric, not a logged mean: Lightning rounds the row counts of several processes.
        self.agreement.update(rates.argmax(1).eq(clean.argmax(1)).float(), batch["valid"].float())
        return {"attribution": logits.sigmoid(), "clean": clean}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """What the scoring callbacks read; logs how often the explainer's own class is the black box's."""
        found = self._evaluate(batch)
        self.log("val/class_agreement", self.agreement, batch_size=len(batch["inputs"]))
        return found

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As in validation."""
        found = self._evaluate(batch)
        self.log("test/class_agreement", self.agreement, batch_size=len(batch["inputs"]))
        return found

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One pass, valid rows only: attribution (B, N), target (B,), its estimated probability (B,), index (B,)."""
        logits, rates = self.explainer(batch["inputs"])
        valid = batch["valid"]
        probability, target = rates.float().softmax(1).max(1)
        found = {
            "attribution": logits.sigmoid(), "target": target, "probability": probability, "index": batch["index"],
        }  # fmt: skip
        return {name: tensor[valid].cpu() for name, tensor in found.items()}

    def on_fit_start(self) -> None:
        """Starts the clock of what training costs."""
        self._started = time.perf_counter()

    def _meta(self) -> dict[str, Any]:
        return explainer_meta(self.explainer, self.black_box, self.removal)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what `fex.load_explainer` needs, and what training has cost: plain data."""
        seconds = self._seconds_before + (time.perf_counter() - self._started if self._started else 0.0)
        checkpoint["fex"] = {**self._meta(), "training": {"queries": self._queries, "seconds": seconds}}
        checkpoint["fex_queries"] = self._queries

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that the checkpoint is of the same explainer, and goes on counting queries."""
        found, own = checkpoint.get("fex"), self._meta()
        if found is None:
            raise ValueError("This checkpoint is no FEX checkpoint (it has no `fex` entry): give one of the same run.")
        unlike = [line for key in ("net", "grid", "class_names") for line in differences(key, found[key], own[key])]
        if unlike:
            raise ValueError(f"The checkpoint is of another explainer: {'; '.join(unlike)}. They must agree.")
        self.black_box.queries = checkpoint["fex_queries"] // world_size_of(self)
        self._seconds_before = found.get("training", {}).get("seconds", 0.0)
