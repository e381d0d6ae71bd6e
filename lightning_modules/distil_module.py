"""An explainer taught by a trained one, or by its own start, without queries of the black box."""

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from fex.black_box import BlackBox
from fex.explainers import AmortizedExplainer, explainer_meta, load_explainer
from fex.images import PatchGrid
from fex.masking import Masker
from fex.modality import Removal
from fex.nets import ExplainerNet, logits_in_contexts
from fex.policy import (
    Correlated,
    Independent,
    as_logits,
    kl_black_box_to_explainer,
    label_kl_black_box_to_explainer,
    map_loss,
)
from fex.seeding import pixel_seeds
from fex.types import Batch
from lightning_modules.base import AmortizedModule
from lightning_modules.clean_answers import CleanAnswers
from lightning_modules.drawing import row_draws
from lightning_modules.inner_epochs import InnerEpochs

__all__ = ["DistilModule"]

NEIGHBOURS = Correlated((0.0, 0.7, 1.2, 2.0))  # of the copies over which a map is averaged: pairs of half the features


class DistilModule(AmortizedModule):
    """Trains a student on the maps and classes of a teacher; one update a batch.

    What the teacher says of an input that nothing changes (no `augment`, or `views`) is remembered, and a later pass
    costs the student alone.

    Args:
        black_box: what both explain. Validation asks it, for how often the classes agree; training only with `labels`.
        teacher: name or path of a trained explainer of FEX, see `fex.load_explainer`; an export works too. None is the
            student as it is before training, where that knows something by itself (`class_head`): with `contexts` it
            learns to say in one pass what it says on average of many masked copies.
        explainer: the student.
        teacher_backbone: see `fex.load_explainer`.
        features: N features, without a teacher; one brings its own.
        removal: the same of what stands in for a removed feature; by default what is usual.
        contexts: P masked copies of each input, each with half of its features, over which the teacher's maps are
            averaged (`fex.nets.logits_in_contexts`): P + 2 passes of the teacher an input. 0 takes maps as they are.
        classes: K classes of each input, the teacher's likeliest, whose maps are learnt.
        labels: whose classes are learnt: the teacher's own, or the black box's at one query an input.
        class_weight: weight of the KL divergence (nats) from these classes beside `fex.policy.map_loss`.
        mirror: show half of the pictures mirrored, with mirrored maps: twice the data at no pass of the teacher.
        optimizer: builds the optimiser from the parameters.
        warmup: share of training over which the learning rate rises.
        decay: "cosine" to zero at the end, or "constant".
        gradient_clip: largest gradient norm; None does not clip.
        seed: of what is mirrored and of the masked copies.

    Raises:
        ValueError: a teacher of another box or method, or an export with `contexts`; a student that starts flat and has
            no teacher; features with a teacher; too many classes; `mirror` of what has no grid.
    """

    method = "FEX (distilled)"
    explainer: ExplainerNet

    def __init__(
        self,
        black_box: BlackBox,
        teacher: str | None,
        explainer: ExplainerNet,
        teacher_backbone: str | None = None,
        features: PatchGrid | None = None,
        removal: Removal | None = None,
        contexts: int = 0,
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
        found = None if teacher is None else _teacher(teacher, teacher_backbone, black_box, contexts)
        if found is not None and not (features is None and removal is None):
            raise ValueError("features and removal are the teacher's: leave them out.")
        if found is None and explainer.encoder.class_weight is None:
            raise ValueError("Without a teacher the student's own start teaches, but it starts flat: give a teacher.")
        if not 1 <= classes <= black_box.num_classes:
            raise ValueError(f"classes must be 1 ... {black_box.num_classes}, those of the black box; got {classes}.")
        if labels not in ("teacher", "black_box"):
            raise ValueError(f"Got labels={labels!r}, expected 'teacher' or 'black_box'.")
        if contexts < 0:
            raise ValueError(f"contexts must be at least 0, got {contexts}.")
        super().__init__(
            black_box, features if found is None else found.features, explainer, removal,
            num_masks=1, noise=Independent(), optimizer=optimizer, warmup=warmup, decay=decay,
            updates=InnerEpochs(1, 1, None, gradient_clip), seed=seed,
        )  # fmt: skip
        if mirror and self.features.grid is None:
            raise ValueError(f"mirror is for features on a grid, and these are {self.features}: set it to false.")
        if found is None:
            meta = explainer_meta(self.explainer, black_box, self.removal, "FEX before training")
            start = copy.deepcopy(self.explainer)
            start.encoder.merge()  # adapters that say nothing yet cost half a pass
            found = AmortizedExplainer(start, meta, "its own start")
        self.explainer.value_out.requires_grad_(requires_grad=False)  # nothing asks for values, which DDP refuses
        self.labels, self.class_weight, self.mirror = labels, class_weight, mirror
        self._teaching = CleanAnswers(_Answers(found, classes, self.masker, contexts, seed))  # type: ignore[arg-type]

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


def _teacher(name: str, backbone: str | None, black_box: BlackBox, contexts: int) -> AmortizedExplainer:
    """The explainer of that name, if it can teach."""
    found = load_explainer(name, backbone)
    found.check_box(black_box)
    if found.net.span != ExplainerNet.span:
        raise ValueError(f"{name} is of {found.method}, whose maps are no keep probabilities: take one of FEX.")
    if contexts and not isinstance(found.net, ExplainerNet):
        raise ValueError(
            f"{name} is an export, which has no parts to average: set contexts to 0, or give its checkpoint."
        )
    return found


def _known(meta: dict[str, Any]) -> dict[str, Any]:
    """What a description tells of its training."""
    return {key: meta[key] for key in ("training", "agreement") if key in meta}


class _Answers:
    """A teacher's answers as one row of numbers an input, as `CleanAnswers` keeps them.

    Args:
        teacher: who answers.
        classes: K.
        masker: makes masked copies.
        contexts: how many of each input; 0 takes the maps of whole inputs.
        seed: of the copies, which with the input decides them.
    """

    deterministic = True

    def __init__(self, teacher: AmortizedExplainer, classes: int, masker: Masker, contexts: int, seed: int) -> None:
        self.teacher, self.classes, self.masker = teacher, classes, masker
        self.contexts, self.seed = contexts, seed
        self.features = teacher.features.num_features
        self.num_classes = classes * (self.features + 1) + len(teacher.class_names)  # what `CleanAnswers` calls a row

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs (B, ...) -> maps, classes and probabilities, (B, K N + K + C)."""
        maps, classes, probabilities = self.teacher.explain_classes(inputs, top_k=self.classes)
        whole = maps.new_zeros(*maps.shape[:2], self.features)
        whole[..., : maps.shape[-1]] = as_logits(maps) if not self.contexts else self._averaged(inputs, classes)
        return torch.cat([whole.flatten(1), classes.to(maps.dtype), probabilities], 1).clone()

    @torch.inference_mode()
    def _averaged(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """Logits (B, K, N), means over masked copies."""
        shape = (1, self.contexts, self.teacher.features.count(inputs))
        seeds = (torch.Generator().manual_seed(seed) for seed in pixel_seeds(inputs, self.seed))
        noise = torch.cat([NEIGHBOURS(shape, seed, self.teacher.features.grid)[0] for seed in seeds])
        masks = (noise < 0.5).to(inputs)
        return logits_in_contexts(self.teacher.net, self.masker, inputs, classes, masks)  # type: ignore[arg-type]

    def parts(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> logits (B, K, N), classes (B, K), int64, and probabilities (B, C)."""
        size = self.classes * self.features
        maps, classes, probabilities = rows.tensor_split([size, size + self.classes], 1)
        return maps.unflatten(1, (self.classes, -1)), classes.long(), probabilities
