"""FastSHAP: a network of Shapley values, trained by regression on queries to a black box (Jethani et al. 2022)."""

from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.black_box import BlackBox
from fex.images import PatchGrid, Removal
from fex.masking import masked_probabilities
from fex.nets import ShapleyNet
from fex.policy import Antithetic, Noise, kl_black_box_to_explainer, label_kl_black_box_to_explainer
from fex.shapley import centred, coalitions, shapley_loss
from fex.types import Batch
from lightning_modules.base import AmortizedModule
from lightning_modules.inner_epochs import InnerEpochs

__all__ = ["FastSHAPModule"]


class FastSHAPModule(AmortizedModule):
    """Trains a network of Shapley values; one update a batch.

    The paper trains against a surrogate that was itself trained on masked inputs; here the black box answers them, as
    it does for every other method, so that all explain the same function.

    Args:
        black_box: what is explained; queried only, 1 + num_masks times an instance, and once for the blank input.
        features: N features, at least 2.
        explainer: the network.
        removal: what stands in for a removed feature.
        num_masks: masks an instance and step, drawn from the Shapley kernel.
        noise: randomness of the masks; the default draws a mask and its complement (paired sampling).
        classes: which classes the loss sums over: "all", or the "predicted" one of each instance.
        total_weight: weight of the squared error of the network's own estimate of f(x) - f(blank).
        class_weight: weight of KL(f(x) || the network's own estimate of it), nats; of a multi-label box the sum over
            its classes.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        accumulate: pieces of the batch whose gradients are added before the step: the same update in the memory of a
            piece.
        seed: seed of the masks.

    Raises:
        ValueError: no masks, or a single feature.
    """

    method = "FastSHAP"
    explainer: ShapleyNet

    def __init__(
        self,
        black_box: BlackBox,
        features: PatchGrid,
        explainer: ShapleyNet,
        removal: Removal | None = None,
        num_masks: int = 32,
        noise: Noise | None = None,
        classes: Literal["all", "predicted"] = "all",
        total_weight: float = 1.0,
        class_weight: float = 0.02,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup: float = 0.0,
        decay: Literal["cosine", "constant"] = "constant",
        gradient_clip: float | None = 1.0,
        accumulate: int = 1,
        seed: int = 0,
    ) -> None:
        if min(num_masks, accumulate) < 1 or features.num_features < 2:
            raise ValueError(
                f"FastSHAP needs at least 1 mask, 2 features and accumulate 1, got {num_masks} masks, "
                f"{features.num_features} features and accumulate {accumulate}."
            )
        if classes not in ("all", "predicted"):
            raise ValueError(f"Got classes={classes!r}, expected 'all' or 'predicted'.")
        super().__init__(
            black_box, features, explainer, removal,
            num_masks=num_masks, noise=noise or Antithetic(), optimizer=optimizer, warmup=warmup, decay=decay,
            updates=InnerEpochs(1, 1, None, gradient_clip, accumulate), seed=seed,
        )  # fmt: skip
        self.classes, self.total_weight, self.class_weight = classes, total_weight, class_weight

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Queries, then one update."""
        inputs = batch["inputs"]
        clean, blank = self._clean(batch), self._blank.probabilities(inputs)
        masks = coalitions(*self._draw(len(inputs)))
        scores = masked_probabilities(self.black_box, self.masker, inputs, masks)

        def loss(rows: Tensor, _update: int, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self._loss(inputs[rows], masks[rows], scores[rows], clean[rows], blank[rows], weight)

        signs = self.updates.run(self, list(self.explainer.parameters()), batch["valid"], loss)
        self.lr_schedulers().step()
        target = clean.argmax(1)
        signs["masked_score"] = scores.gather(2, target.view(-1, 1, 1).expand(-1, scores.shape[1], 1)).mean()
        signs["clean_score"] = clean.amax(1).mean()
        signs["kept_share"] = masks.mean()
        logged = self._log_signs(signs, len(inputs))
        self.log("loss", logged["train/shapley_loss"], prog_bar=True, logger=False, batch_size=len(inputs))

    def _loss(
        self, inputs: Tensor, masks: Tensor, scores: Tensor, clean: Tensor, blank: Tensor, weight: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The three losses; `weight` (B,) as `valid_weight` gives it."""
        encoded = self.explainer.encode(inputs)
        coefficients, share = centred(masks)
        sums = self.explainer.coalition_sums(encoded, coefficients)
        values = (sums, scores, clean, blank)
        if self.classes == "predicted":
            target = clean.argmax(1)
            values = tuple(value[torch.arange(len(target)), ..., target].unsqueeze(-1) for value in values)
        divergence = label_kl_black_box_to_explainer if self.explainer.multi_label else kl_black_box_to_explainer
        terms = {
            "shapley_loss": (1.0, shapley_loss(values[0], share, *values[1:])),
            "total_loss": (self.total_weight, (self.explainer.totals(encoded) - (clean - blank)).square().sum(1)),
            "class_loss": (self.class_weight, divergence(self.explainer.class_logits(encoded), clean)),
        }
        total = sum((factor * loss * weight).sum() for factor, loss in terms.values())
        return total, {name: (loss.detach() * weight).sum() for name, (_, loss) in terms.items()}
