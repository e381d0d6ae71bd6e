"""A small explainer taught by a trained one, without queries of the black box."""

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.black_box import BlackBox
from fex.explainers import AmortizedExplainer, load_explainer
from fex.nets import ExplainerNet
from fex.policy import (
    Independent,
    as_logits,
    kl_black_box_to_explainer,
    label_kl_black_box_to_explainer,
    map_loss,
)
from fex.types import Batch
from lightning_modules.base import AmortizedModule
from lightning_modules.clean_answers import CleanAnswers
from lightning_modules.drawing import row_draws
from lightning_modules.inner_epochs import InnerEpochs

__all__ = ["DistilModule"]


class DistilModule(AmortizedModule):
    """Trains a student on the maps and classes of a teacher; one update a batch.

    What the teacher says of an input that nothing changes (no `augment`, or `views`) is remembered, and a later pass
    costs the student alone.

    Args:
        black_box: what both explain. Validation asks it, for how often the classes agree; training only with `labels`.
        teacher: name or path of a trained explainer of FEX, see `fex.load_explainer`; an export works too.
        explainer: the student.
        teacher_backbone: see `fex.load_explainer`.
        classes: K classes of each input, the teacher's likeliest, whose maps are learnt.
        labels: whose classes are learnt: the teacher's own, or the black box's at one query an input.
        class_weight: weight of the KL divergence (nats) from these classes beside `fex.policy.map_loss`.
        mirror: show half of the pictures mirrored, with mirrored maps: twice the data at no pass of the teacher.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        seed: of what is mirrored.

    Raises:
        ValueError: a teacher of another box or method, too many classes, `mirror` of what has no grid.
    """

    method = "FEX (distilled)"
    explainer: ExplainerNet

    def __init__(
        self,
        black_box: BlackBox,
        teacher: str,
        explainer: ExplainerNet,
        teacher_backbone: str | None = None,
        classes: int = 8,
        labels: Literal["teacher", "black_box"] = "teacher",
        class_weight: float = 0.5,
        mirror: bool = False,  # noqa: FBT001, FBT002 a setting of a config
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup: float = 0.05,
        decay: Literal["cosine", "constant"] = "cosine",
        gradient_clip: float | None = 1.0,
        seed: int = 0,
    ) -> None:
        found = load_explainer(teacher, teacher_backbone)
        found.check_box(black_box)
        if found.net.span != ExplainerNet.span:
            raise ValueError(f"{teacher} is of {found.method}, whose maps are no keep probabilities: take one of FEX.")
        if not 1 <= classes <= black_box.num_classes:
            raise ValueError(f"classes must be 1 ... {black_box.num_classes}, those of the black box; got {classes}.")
        if labels not in ("teacher", "black_box"):
            raise ValueError(f"Got labels={labels!r}, expected 'teacher' or 'black_box'.")
        if mirror and found.features.grid is None:
            raise ValueError(f"mirror is for features on a grid, and these are {found.features}: set it to false.")
        super().__init__(
            black_box, found.features, explainer, None,
            num_masks=1, noise=Independent(), optimizer=optimizer, warmup=warmup, decay=decay,
            updates=InnerEpochs(1, 1, None, gradient_clip), seed=seed,
        )  # fmt: skip
        self.explainer.value_out.requires_grad_(requires_grad=False)  # nothing asks for values, which DDP refuses
        self.labels, self.class_weight, self.mirror = labels, class_weight, mirror
        self._teaching = CleanAnswers(_Answers(found, classes))  # type: ignore[arg-type]

    @property
    def teacher(self) -> AmortizedExplainer:
        """Who teaches; no part of the module's state."""
        return self._teaching.black_box.teacher  # type: ignore[attr-defined]

    def setup(self, stage: str) -> None:
        """Brings the teacher to the device too."""
        super().setup(stage)
        if stage == "fit":
            self.teacher.to(self.device)

    def _mirrored(self, inputs: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Each row as it is, or pictures (B, 3, H, W) and maps (B, K, N) both from right to left."""
        drawn = row_draws(self, len(inputs), stream=3).rand(len(inputs)).to(inputs.device) < 0.5
        flipped = maps.unflatten(-1, self.features.grid).flip(-1).flatten(-2)
        return (
            torch.where(drawn.view(-1, 1, 1, 1), inputs.flip(-1), inputs),
            torch.where(drawn.view(-1, 1, 1), flipped, maps),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """The teacher's answers, then one update."""
        inputs, valid = batch["inputs"], batch["valid"]
        answers = self._teaching(inputs, batch.get("index"))
        maps, classes, own = self._teaching.black_box.parts(answers)  # type: ignore[attr-defined]
        told = own if self.labels == "teacher" else self._clean(batch)
        likely = own.gather(1, classes)
        if self.mirror:
            inputs, maps = self._mirrored(inputs, maps)
        divergence = label_kl_black_box_to_explainer if self.explainer.multi_label else kl_black_box_to_explainer

        def loss(rows: Tensor, _update: int, weight: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            encoded = self.explainer.encode(inputs[rows])
            learnt = self.explainer.target_logits(encoded, classes[rows])
            terms = {
                "map_loss": (1.0, map_loss(learnt, maps[rows, :, : learnt.shape[-1]], likely[rows], encoded.valid)),
                "class_loss": (self.class_weight, divergence(self.explainer.class_logits(encoded), told[rows])),
            }
            total = sum((factor * term * weight).sum() for factor, term in terms.values())
            return total, {name: (term.detach() * weight).sum() for name, (_, term) in terms.items()}

        signs = self.updates.run(self, list(self.explainer.parameters()), valid, loss)
        self.lr_schedulers().step()
        logged = self._log_signs(signs, len(inputs))
        self.log("loss", logged["train/map_loss"], prog_bar=True, logger=False, batch_size=len(inputs))

    def _meta(self) -> dict[str, Any]:
        """With who taught it, and what that has cost."""
        teacher = self.teacher
        told = {"name": Path(teacher.source).name, "method": teacher.method, **_known(teacher.meta)}
        return {**super()._meta(), "removal": teacher.removal, "teacher": told}


def _known(meta: dict[str, Any]) -> dict[str, Any]:
    """What a description tells of its training."""
    return {key: meta[key] for key in ("training", "agreement") if key in meta}


class _Answers:
    """A teacher's answers as one row of numbers an input, as `CleanAnswers` keeps them.

    Args:
        teacher: who answers.
        classes: K.
    """

    deterministic = True

    def __init__(self, teacher: AmortizedExplainer, classes: int) -> None:
        self.teacher, self.classes = teacher, classes
        self.features = teacher.features.num_features
        self.num_classes = classes * (self.features + 1) + len(teacher.class_names)  # what `CleanAnswers` calls a row

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) -> maps, classes and probabilities, (B, K N + K + C)."""
        maps, classes, probabilities = self.teacher.explain_classes(inputs, top_k=self.classes)
        whole = maps.new_zeros(*maps.shape[:2], self.features)
        whole[..., : maps.shape[-1]] = as_logits(maps)
        return torch.cat([whole.flatten(1), classes.to(maps.dtype), probabilities], 1).clone()

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> logits (B, K, N), classes (B, K), int64, and probabilities (B, C)."""
        size = self.classes * self.features
        maps, classes, probabilities = rows.tensor_split([size, size + self.classes], 1)
        return maps.unflatten(1, (self.classes, -1)), classes.long(), probabilities
