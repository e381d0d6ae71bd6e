"""A trained explainer: one forward pass an explanation, no black box needed."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.classes import misplaced
from fex.checks import as_targets, check_choice, check_inputs
from fex.class_names import Target, class_index
from fex.explanations.agreement import Agreement
from fex.explanations.image import Explanation
from fex.images.files import Picture, as_inputs, as_picture
from fex.images.preprocess import Preprocess
from fex.modality import Features, Removal
from fex.nets import ClassMapNet
from fex.refine import Trust

__all__ = ["AmortizedExplainer", "explainer_meta"]


def explainer_meta(net: ClassMapNet, black_box: BlackBox, removal: Removal, method: str = "FEX") -> dict[str, Any]:
    """Plain data that, with the weights, is a whole explainer."""
    return {
        "kind": "explainer",
        "method": method,
        "net": net.init_args,
        "modality": net.features.modality,
        "grid": list(net.features.grid) if net.features.grid else None,
        "class_names": list(black_box.class_names),
        "multi_label": net.multi_label,
        "preprocess": black_box.preprocess.to_dict(),
        "black_box": black_box.name,
        "removal": removal.name,
        "adapter_args": getattr(net.encoder, "adapter_args", None) if getattr(net.encoder, "base", None) else None,
    }


class AmortizedExplainer:
    """An explainer network with all it needs to explain: features, class names, geometry.

    Args:
        net: the network, built.
        meta: see `explainer_meta`; "training" has the queries and seconds it took, and "agreement" how often its own
            class was the black box's, where they are known.

    Attributes:
        features: N features.
        preprocess: PIL image -> input (3, H, W) in [0, 1].
        class_names: names of the C classes.
        method, black_box, removal: how results are named.
        agreement: how often its own class is the black box's; None where nobody has measured it.
        trust: how far its maps can be trusted where they are refined; None where nobody has learnt it.
    """

    features: Features

    def __init__(self, net: ClassMapNet, meta: dict[str, Any]) -> None:
        self.net = net.eval().requires_grad_(requires_grad=False)
        self.meta = meta
        self.features = net.features
        self.preprocess: Any = self._preprocess(meta["preprocess"])
        self.class_names: list[str] = meta["class_names"]
        self.method, self.black_box, self.removal = meta["method"], meta["black_box"], meta["removal"]
        self.agreement = Agreement.of(meta.get("agreement"))
        self.trust = Trust.of(meta.get("trust"))
        self.device = torch.device("cpu")

    def _preprocess(self, data: dict[str, Any]) -> Any:
        return Preprocess(**data)

    def to(self, device: torch.device | str) -> "AmortizedExplainer":
        """Moves the network."""
        self.device = torch.device(device)
        self.net.to(self.device)
        return self

    def _check(self, inputs: Tensor) -> Tensor:
        check_inputs(inputs, self.preprocess.size)
        return inputs.to(self.device)

    def target_index(self, target: str | int) -> int:
        """Class index of a name (case does not matter) or an index.

        Raises:
            ValueError: no such class; names the closest.
        """
        return class_index(target, self.class_names)

    @torch.inference_mode()
    def predict(self, inputs: Tensor) -> Tensor:
        """The explainer's own estimate of f(x), (B, C); of FEX, softmax(mean log g), what eq. 24 aligns.

        Of a multi-label box each class has a probability of its own, by a sigmoid, and rows need not sum to 1.
        """
        return self.net.probabilities(self.net.class_logits(self.net.encode(self._check(inputs))))

    @torch.inference_mode()
    def explain_classes(
        self, inputs: Tensor, target: Target | None = None, top_k: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass for K classes of each input: attribution (B, K, N), classes (B, K), probabilities (B, C).

        Args:
            inputs: images as `.preprocess` gives them, stacked.
            target: class, classes (B,), or K classes each (B, K), by index or name; by default the `top_k` ones of the
                largest estimated probability, the largest first.
            top_k: K, without `target`.
        """
        inputs = self._check(inputs)
        chosen = None if target is None else as_targets(target, len(inputs), self.class_names).to(self.device)
        encoded = self.net.encode(inputs)
        rates = self.net.class_logits(encoded)
        if chosen is None:  # a stable order: among equals the first class, as argmax
            chosen = rates.argsort(dim=1, descending=True, stable=True)[:, : self._top(top_k)]
        maps = [self.net.attribution(encoded, classes) for classes in chosen.unbind(1)]
        return torch.stack(maps, 1), chosen, self.net.probabilities(rates)

    def explain_batch(self, inputs: Tensor, target: Target | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """One pass -> attribution (B, N), target (B,), class probabilities (B, C)."""
        values, chosen, probabilities = self.explain_classes(inputs, target)
        return values[:, 0], chosen[:, 0], probabilities

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> attribution of each feature, (B, N), float32.

        FEX gives the probability of keeping it, in [0, 1]; FastSHAP its Shapley value, signed.
        """
        return self.explain_batch(inputs, target)[0]

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Inputs (B, 3, H, W) in [0, 1] -> attribution of each pixel, (B, H, W); values as above.

        Args:
            inputs: images as `.preprocess` gives them, stacked.
            target: class or classes (B,), by index or name; by default the one the explainer itself predicts.
        """
        return self.features.expand(self.attribute_features(inputs, target), self.preprocess.size)

    def _top(self, top_k: int) -> int:
        if not 1 <= top_k <= len(self.class_names):
            raise ValueError(f"top_k must lie in 1 ... {len(self.class_names)}, the number of classes; got {top_k}.")
        return top_k

    def explain(
        self,
        image: Picture | Sequence[Picture] | Tensor,
        target: str | int | None = None,
        top_k: int = 1,
        *,
        black_box: BlackBox | None = None,
        sources: Sequence[str] | None = None,
    ) -> list[Explanation]:
        """Explains an image or a batch in one forward pass.

        Args:
            image: picture (PIL, or an array (h, w, 3), uint8, RGB), its path, or a list of these; or a tensor
                (3, H, W) or (B, 3, H, W) as `.preprocess` gives them.
            target: class by name or index; by default the predicted ones.
            top_k: how many of the predicted classes, the likeliest first; without `target`.
            black_box: ask it too, one query an image: its answer then chooses the classes and gives `probability`.
                Otherwise both are the explainer's own estimate.
            sources: names of the images in the results; by default the file's.

        Returns:
            One explanation an image and class: image by image, class by class.

        Raises:
            ValueError: unknown class, `target` along with `top_k`, a picture that cannot be read, inputs of another
                shape or range, a black box of other inputs or classes.
        """
        check_choice(target, top_k, len(self.class_names))
        inputs, names = as_inputs(image, self.preprocess)
        sources = names if sources is None else sources
        chosen = None if target is None else torch.tensor(self.target_index(target)).expand(len(inputs), 1)
        start, answer = time.perf_counter(), None
        if black_box is not None:
            self.check_box(black_box)
            answer = black_box(inputs)
            if chosen is None:
                chosen = answer.argsort(dim=1, descending=True, stable=True)[:, : self._top(top_k)]
        values, classes, estimate = self.explain_classes(inputs, chosen, top_k)
        probabilities = (estimate if answer is None else answer).cpu()
        values, seconds = values.cpu(), (time.perf_counter() - start) / max(1, len(inputs))
        return [
            Explanation(
                attribution=values[row, rank].clone(),
                features=self.features,
                size=self.preprocess.size,
                target=index,
                target_name=self.class_names[index],
                probability=float(probabilities[row, index]),
                probability_of="explainer" if answer is None else "black box",
                method=self.method,
                removal=self.removal,
                black_box=self.black_box,
                queries=0 if answer is None else 1,
                seconds=seconds,
                source=sources[row],
                image=inputs[row],
                chosen_by="user" if target is not None else "explainer" if answer is None else "black box",
                agreement=self.agreement,
                span=self.net.span,
            )
            for row, indices in enumerate(classes.tolist())
            for rank, index in enumerate(indices)
        ]

    def check_box(self, black_box: BlackBox) -> None:
        """The box must answer for the same inputs and classes.

        Raises:
            ValueError: it does not.
        """
        if black_box.preprocess.size != self.preprocess.size or black_box.num_classes != len(self.class_names):
            raise ValueError(
                f"Black box {black_box.name!r} takes {black_box.preprocess.size} pixels and has "
                f"{black_box.num_classes} classes; this explainer, of {self.black_box!r}, {self.preprocess.size} and "
                f"{len(self.class_names)}: give the box that it was trained on."
            )
        if (name := misplaced(black_box.class_names, self.class_names)) is not None:
            raise ValueError(
                f"Black box {black_box.name!r} has class {name!r} in another place than this explainer, of "
                f"{self.black_box!r}: give the box that it was trained on."
            )

    def open(self, image: Picture) -> Tensor:
        """A picture or its path -> (3, H, W) in [0, 1]; errors as of `fex.images.as_picture`."""
        return self.preprocess(as_picture(image))
