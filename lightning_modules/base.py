"""What any module that trains an amortized explainer shares: evaluation, prediction, checkpoints."""

from abc import abstractmethod
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import RunningStage
from torch import Tensor
from torchmetrics import MeanMetric, SumMetric

from fex.black_box import BlackBox
from fex.explainers import explainer_meta
from fex.images import Features, Removal
from fex.masking import masker_for
from fex.nets import ClassMapNet
from fex.policy import BlankScores, MaskNoise
from fex.texts.lora import StepDropout
from fex.types import Batch
from lightning_modules.boxes import bring_box
from lightning_modules.clean_answers import CleanAnswers
from lightning_modules.cost import TrainingCost
from lightning_modules.drawing import step_generator
from lightning_modules.inner_epochs import InnerEpochs
from lightning_modules.processes import mean_over_processes, world_size_of
from lightning_modules.replaying import Replaying
from lightning_modules.resuming import description_of
from lightning_modules.schedule import total_batches, warmup_cosine

__all__ = ["AmortizedModule"]

_TRAINING = str(RunningStage.TRAINING)


class AmortizedModule(pl.LightningModule):
    """An explainer in training, beside the black box that it explains; subclasses say how it learns.

    Args:
        black_box: what is explained; queried only, and no part of the module's state.
        features: N features; None takes those that the inputs have by themselves, the tokens of a text.
        explainer: the network; built here for the box's classes and these features.
        removal: what stands in for a removed feature; by default the mean colour, or the mask token of a text.
        num_masks: masks an instance and step.
        noise: randomness of the masks.
        updates: the optimiser steps of a batch; optimisation is manual.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        seed: seed of the masks.

    Attributes:
        method: what results call the explainer.

    Raises:
        ValueError: an encoder for inputs of another size than the black box's.
    """

    method: ClassVar[str]
    needs_labels: ClassVar[bool] = False  # it learns from the box's answers; a protocol that wants labels says so

    def __init__(
        self,
        black_box: BlackBox,
        features: Features | None,
        explainer: ClassMapNet,
        removal: Removal | None,
        *,
        num_masks: int,
        noise: MaskNoise,
        updates: InnerEpochs,
        optimizer: OptimizerCallable,
        warmup: float,
        decay: str,
        seed: int,
    ) -> None:
        super().__init__()
        own = explainer.encoder.size
        if own is not None and own != black_box.preprocess.size:
            height, width = black_box.preprocess.size
            raise ValueError(
                f"The encoder takes {own[0]} x {own[1]} pixels, the black box {black_box.name!r} {height} x {width}: "
                f"give the box `preprocess: {{height: {own[0]}, width: {own[1]}}}`, or the encoder "
                f"`model_args: {{img_size: {height}}}`."
            )
        self.automatic_optimization = False
        self.black_box = black_box
        self.features: Features = features if features is not None else black_box.features
        self.explainer = explainer.build(black_box.num_classes, self.features, multi_label=black_box.multi_label)
        self.masker = masker_for(black_box, self.features, removal)
        self.removal = self.masker.removal
        self.num_masks, self.noise, self.seed, self.updates = num_masks, noise, seed, updates
        self.optimizer, self.warmup, self.decay = optimizer, warmup, decay
        self.agreement, self._compared = MeanMetric(), SumMetric()
        self._box_digest: str | None = None
        self._agreement: dict[str, Any] | None = None  # of the last whole validation, for the checkpoint
        self.learnt: dict[str, Any] = {}  # plain data that callbacks add to the explainer's description
        self._blank = BlankScores(black_box, self.masker)
        self._answers: dict[tuple[str, int], CleanAnswers] = {}  # of each stage and box
        self.replaying: Replaying | None = None  # subclasses that learn from past queries set it
        self.cost = TrainingCost(self)

    @property
    def preprocess(self) -> Any:
        """Geometry of the inputs, or their tokenizer; the datamodule reads it."""
        return self.black_box.preprocess

    @property
    def class_names(self) -> list[str]:
        """Names of the black box's classes."""
        return self.black_box.class_names

    def setup(self, stage: str) -> None:
        """Brings the black box to the device.

        Raises:
            ValueError: half precision, whose scaled gradients these updates would clip and count as overflows.
        """
        if stage == "fit" and str(self.trainer.precision) in ("16-mixed", "16-true"):
            raise ValueError(
                f"{self.method} got trainer.precision {self.trainer.precision}, whose gradients overflow: use "
                "bf16-mixed or 32-true."
            )
        bring_box(self.black_box, self.device)
        if stage == "fit" and self.replaying is not None:
            self.replaying.allocate(self)

    def forward(self, inputs: Tensor, target: Tensor | None = None) -> Tensor:
        """Attribution of the classes `target` (B,): inputs (B, ...) -> (B, N)."""
        return self.explainer.explain(inputs, target)[0]

    def _clean(self, batch: Batch) -> Tensor:
        """What the black box says of whole inputs, (B, C); in later passes remembered where it can be.

        By one process alone: of several each would remember others, and they must ask equally often.
        """
        if world_size_of(self) > 1:
            return self.black_box(batch["inputs"])
        stage = str(self._trainer.state.stage) if self._trainer is not None else ""
        return self._answers_of(stage)(batch["inputs"], batch.get("index"))

    def _answers_of(self, stage: str) -> CleanAnswers:
        return self._answers.setdefault((stage, id(self.black_box)), CleanAnswers(self.black_box))

    @abstractmethod
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Queries, then updates."""

    def _log_signs(self, signs: dict[str, Tensor], batch_size: int) -> dict[str, Tensor]:
        """Logs the scalars `signs` as `train/...`, means over processes, with the queries so far; returns them."""
        values = mean_over_processes(self, torch.stack(list(signs.values())))
        logged = {f"train/{name}": value for name, value in zip(signs, values, strict=True)}
        self.log_dict({**logged, "train/queries": float(self.cost.queries)}, batch_size=batch_size)
        return logged

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """What is asked from here on is asked by training, which drops what this step drops."""
        self.cost.begin_step()
        for part in self.explainer.modules():
            if isinstance(part, StepDropout):
                part.step = step_generator(self, self.seed).initial_seed()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """What is asked from here on is not."""
        self.cost.end_step()

    def _evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Attribution (B, N) of the black box's predicted class, and its clean probabilities (B, C)."""
        clean = self._clean(batch)
        attribution, classes = self.explainer.explain(batch["inputs"], clean.argmax(1))
        # A metric, not a logged mean: Lightning rounds the row counts of several processes.
        self.agreement.update(classes.argmax(1).eq(clean.argmax(1)).float(), batch["valid"].float())
        return {"attribution": attribution, "clean": clean}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """What the scoring callbacks read; logs how often the explainer's own class is the black box's."""
        found = self._evaluate(batch)
        self._compared.update(batch["valid"].sum())
        self.log("val/class_agreement", self.agreement, prog_bar=True, batch_size=len(batch["inputs"]))
        return found

    def on_validation_epoch_end(self) -> None:
        """Keeps how often the classes agreed, for the checkpoint: who explains without the box must know."""
        share, inputs = float(self.agreement.compute()), int(self._compared.compute())
        self._compared.reset()
        if inputs and not self.trainer.sanity_checking:
            self._agreement = {"share": round(share, 4), "inputs": inputs}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As in validation."""
        found = self._evaluate(batch)
        self.log("test/class_agreement", self.agreement, batch_size=len(batch["inputs"]))
        return found

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Valid rows only: attribution (B, N), target (B,), its probability (B,), index (B,).

        One query an input: the box is at hand, so the class and its probability are its own, not the explainer's guess.
        """
        probability, target = self.black_box(batch["inputs"]).max(1)
        attribution, _ = self.explainer.explain(batch["inputs"], target)
        found = {"attribution": attribution, "target": target, "probability": probability, "index": batch["index"]}
        return {name: tensor[batch["valid"]].cpu() for name, tensor in found.items()}

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser over trainable parameters, and its schedule over batches."""
        optimizer = self.optimizer([p for p in self.explainer.parameters() if p.requires_grad])
        total = total_batches(self.trainer, self.updates.updates)
        schedule = warmup_cosine(optimizer, total, self.warmup, cosine=self.decay == "cosine")
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_fit_start(self) -> None:
        """Starts the clock of what training costs; takes over past queries."""
        self.explainer.train()  # Lightning keeps the mode as it finds it; encoders were built in evaluation mode
        self.cost.start()
        if self.replaying is not None:
            self.cost.add(self.replaying.start())

    def on_fit_end(self) -> None:
        """Stops the clock; from here on nothing is dropped."""
        self.explainer.eval()
        self.cost.stop()

    def _meta(self) -> dict[str, Any]:
        return explainer_meta(self.explainer, self.black_box, self.removal, self.method)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what `fex.load_explainer` needs, and what training has cost: plain data."""
        known: dict[str, Any] = {} if self._agreement is None else {"agreement": self._agreement}
        cost = {"queries": self.cost.queries, "seconds": self.cost.seconds}
        if self._box_digest is None:  # once a run: the box is frozen
            self._box_digest = self.black_box.digest() or ""
        known |= {"black_box_sha256": self._box_digest} if self._box_digest else {}
        checkpoint["fex"] = {**self._meta(), "training": cost, **known, **self.learnt}
        checkpoint["fex_queries"] = self.cost.queries
        if self.replaying is not None and self.replaying.ready:
            checkpoint["fex_replay"] = self.replaying.state()
        if (answers := self._answers_of(_TRAINING).state()) is not None:
            checkpoint["fex_answers"] = answers

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checks that the checkpoint is of the same explainer and box, and goes on counting queries."""
        found, queries, seconds = description_of(checkpoint, self._meta(), self.black_box, self._trainer)
        self.cost.resume(queries, seconds)
        if self.replaying is not None and self.replaying.ready:
            self.replaying.resume(checkpoint)
        if "fex_answers" in checkpoint:
            self._answers_of(_TRAINING).resume(checkpoint["fex_answers"])
        self._agreement = found.get("agreement")
        self.learnt = {key: found[key] for key in ("trust", "fidelity", "foresight") if key in found}
