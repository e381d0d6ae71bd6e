"""FastSHAP: a network of Shapley values, trained by regression on queries to a black box (Jethani et al. 2022)."""

from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.black_box import BlackBox
from fex.images import PatchGrid, Removal
from fex.masking import masked_probabilities
from fex.nets import ShapleyNet
from fex.policy import Antithetic, MaskNoise, Replay, kl_black_box_to_explainer, label_kl_black_box_to_explainer
from fex.shapley import centred, coalitions, shapley_loss
from fex.types import Batch
from lightning_modules.base import AmortizedModule
from lightning_modules.drawing import draw_masks, explained_classes
from lightning_modules.inner_epochs import InnerEpochs
from lightning_modules.processes import valid_weight
from lightning_modules.replaying import Replaying, Visit, mean_there

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
        classes: which classes the loss sums over: "all", or the "predicted" one of each instance, of a multi-label box
            one of those that are there.
        total_weight: weight of the squared error of the network's own estimate of f(x) - f(blank).
        class_weight: weight of KL(f(x) || the network's own estimate of it), nats; of a multi-label box the sum over
            its classes.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        accumulate: pieces of the batch whose gradients are added before the step: the same update in the memory of a
            piece.
        replay: which visits ask the black box, and how many of its past answers each learns from beside, which are as
            good as new: masks always come from the Shapley kernel. None learns from fresh masks alone.
        seed: seed of the masks.

    Raises:
        ValueError: no masks, a single feature, or noise that is alike for neighbours.
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
        noise: MaskNoise | None = None,
        classes: Literal["all", "predicted"] = "all",
        total_weight: float = 1.0,
        class_weight: float = 0.02,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup: float = 0.0,
        decay: Literal["cosine", "constant"] = "constant",
        gradient_clip: float | None = 1.0,
        accumulate: int = 1,
        replay: Replay | None = None,
        seed: int = 0,
    ) -> None:
        if min(num_masks, accumulate) < 1 or features.num_features < 2:
            raise ValueError(
                f"FastSHAP needs at least 1 mask, 2 features and accumulate 1, got {num_masks} masks, "
                f"{features.num_features} features and accumulate {accumulate}."
            )
        if classes not in ("all", "predicted"):
            raise ValueError(f"Got classes={classes!r}, expected 'all' or 'predicted'.")
        if noise is not None and not noise.separate:
            raise ValueError(
                f"Got noise={type(noise).__name__}, in which neighbours go together: masks are then not those of the "
                "Shapley kernel, and what is learnt are no Shapley values. Use Antithetic or Independent noise."
            )
        super().__init__(
            black_box, features, explainer, removal,
            num_masks=num_masks, noise=noise or Antithetic(), optimizer=optimizer, warmup=warmup, decay=decay,
            updates=InnerEpochs(1, 1, None, gradient_clip, accumulate), seed=seed,
        )  # fmt: skip
        self.classes, self.total_weight, self.class_weight = classes, total_weight, class_weight
        if replay is not None:
            count = black_box.num_classes
            self.replaying = Replaying(
                replay, num_masks, scores=count, top=count, pairs=self.noise.paired, uses_blank=True
            )

    def _ask(self, inputs: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the masked inputs (B, K, C), and of the blank ones (B, C)."""
        scores = masked_probabilities(self.black_box, self.masker, inputs, masks)
        return scores, self._blank.probabilities(inputs) if len(inputs) else scores.new_zeros(0, scores.shape[-1])

    def _replayed(self, visit: Visit, inputs: Tensor, clean: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Masks (B, M, N), scores (B, M, C), scores of the blank inputs (B, C), and which masks there are (B, M)."""
        past = self.replaying.past(visit, self.features.num_features, inputs.device)
        masks, scores, blank, there = past["masks"], past["scores"], past["blank"], visit.there.to(inputs.device)
        if not visit.asking:
            return masks, scores, blank, there
        fresh, (order, size) = visit.fresh.to(inputs.device), draw_masks(self, len(inputs))
        drawn = coalitions(order, size)
        told, blank[fresh] = self._ask(inputs[fresh], drawn[fresh])
        self.replaying.keep(
            self, visit, drawn[fresh], size[fresh], told, drawn[fresh].mean(1), clean=clean,
            target=clean.argmax(1)[fresh], blank=blank[fresh],
        )  # fmt: skip
        new = told.new_zeros(*drawn.shape[:2], told.shape[-1])
        new[fresh] = told
        there = torch.cat([there, fresh.unsqueeze(1).expand(-1, drawn.shape[1])], 1)
        return torch.cat([masks, drawn], 1), torch.cat([scores, new], 1), blank, there

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Queries, then one update."""
        inputs, valid, there = batch["inputs"], batch["valid"], None
        if self.replaying is None:
            clean, blank = self._clean(batch), self._blank.probabilities(inputs)
            masks = coalitions(*draw_masks(self, len(inputs)))
            scores = masked_probabilities(self.black_box, self.masker, inputs, masks)
        else:
            visit = self.replaying.visit(self, batch)
            clean, _ = self.replaying.clean(self.black_box, visit, inputs)
            masks, scores, blank, there = self._replayed(visit, inputs, clean)
            valid = visit.usable.to(valid.device)
            self.cost.settle()
        weight, target = valid_weight(self, valid), explained_classes(self, clean)

        def loss(rows: Tensor, _update: int, part: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            seen = None if there is None else there[rows]
            return self._loss(
                inputs[rows], masks[rows], scores[rows], clean[rows], blank[rows], target[rows], part, seen
            )

        signs = self.updates.run(self, list(self.explainer.parameters()), valid, loss)
        self.lr_schedulers().step()
        told = scores.gather(2, target.view(-1, 1, 1).expand(-1, scores.shape[1], 1)).squeeze(2)
        signs["masked_score"] = mean_there(told, there, weight)
        score = clean.gather(1, target.unsqueeze(1)).squeeze(1)
        signs["clean_score"] = score.mean() if there is None else (score * weight).sum()
        signs["kept_share"] = mean_there(masks.mean(-1), there, weight)
        logged = self._log_signs(signs, len(inputs))
        self.log("loss", logged["train/shapley_loss"], prog_bar=True, logger=False, batch_size=len(inputs))

    def _loss(
        self,
        inputs: Tensor,
        masks: Tensor,
        scores: Tensor,
        clean: Tensor,
        blank: Tensor,
        target: Tensor,
        weight: Tensor,
        there: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The three losses; `target` (B,) is read where one class is learnt, `weight` (B,) is `valid_weight`'s.

        `there` (B, K) says which masks there are.
        """
        encoded = self.explainer.encode(inputs)
        coefficients, share = centred(masks)
        sums = self.explainer.coalition_sums(encoded, coefficients)
        values = (sums, scores, clean, blank)
        if self.classes == "predicted":
            values = tuple(value[torch.arange(len(target)), ..., target].unsqueeze(-1) for value in values)
        divergence = label_kl_black_box_to_explainer if self.explainer.multi_label else kl_black_box_to_explainer
        terms = {
            "shapley_loss": (1.0, shapley_loss(values[0], share, *values[1:], there)),
            "total_loss": (self.total_weight, (self.explainer.totals(encoded) - (clean - blank)).square().sum(1)),
            "class_loss": (self.class_weight, divergence(self.explainer.class_logits(encoded), clean)),
        }
        total = sum((factor * loss * weight).sum() for factor, loss in terms.values())
        return total, {name: (loss.detach() * weight).sum() for name, (_, loss) in terms.items()}
