"""A trained explainer of any modality: one forward pass an explanation, no black box needed."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.checks import as_targets, check_choice
from fex.class_names import Target, class_index, one_class_each
from fex.explainers.fits import check_fits
from fex.explainers.given import explain_reading
from fex.explainers.precision import Precision, chosen_precision, same_order
from fex.explanations.agreement import Agreement
from fex.explanations.several import Explanations
from fex.export import ExportedNet
from fex.hub import push
from fex.modality import Features, modality_of
from fex.nets import ClassMapNet
from fex.refine import Foresight, Trust
from fex.refine.foresight import signs

__all__ = ["AmortizedExplainer"]

COMPARED = 8  # inputs whose maps in bf16 are compared with those in float32


class AmortizedExplainer:
    """An explainer network with all it needs to explain: features, class names, how inputs are read.

    Args:
        net: the network, built, or the graph of an export.
        meta: see `fex.explainers.explainer_meta`; "training" has the queries and seconds it took, and "agreement" how
            often its own class was the black box's, where they are known.
        source: name or path of the file that it was read from; "" for one made in memory.

    Attributes:
        modality: what reads and checks the inputs and says what a result is.
        features: N features.
        preprocess: what a user gives -> input: a PIL image -> (3, H, W) in [0, 1], a text -> its tokens.
        class_names: names of the C classes.
        method, black_box, removal: how results are named.
        agreement: how often its own class is the black box's; None where nobody has measured it.
        trust: how far its maps can be trusted where they are refined; None where nobody has learnt it.
        foresight: foresees at no query how far its maps miss; None where nobody has learnt it.
        precision: in which the network computes, "fp32" or "bf16"; attributions and probabilities are float32.
        order_kept: rank correlation of its first maps in bf16 with those in float32; None before it is known.
    """

    def __init__(self, net: ClassMapNet | ExportedNet, meta: dict[str, Any], source: str = "") -> None:
        self.net = net.eval().requires_grad_(requires_grad=False)
        self.source, self.meta, self.modality = source, meta, modality_of(net.features.modality)
        self.features: Features = net.features
        self.preprocess: Any = self.modality.preprocess(meta["preprocess"])
        self.class_names: list[str] = meta["class_names"]
        self.method, self.black_box, self.removal = meta["method"], meta["black_box"], meta["removal"]
        self.agreement = Agreement.of(meta.get("agreement"))
        self.trust = Trust.of(meta.get("trust"))
        self.foresight = Foresight.of(meta.get("foresight"))
        self.device = torch.device("cpu")
        self.precision: Literal["bf16", "fp32"] = "fp32"
        self.order_kept: float | None = None

    def to(
        self, device: torch.device | str | None = None, *, precision: Precision | None = None
    ) -> "AmortizedExplainer":
        """Moves the network, and says in which precision it computes from now on.

        Args:
            device: where; by default where it is.
            precision: "fp32"; "bf16", many times as fast on GPUs, whose first maps are compared with those in float32
                (a warning tells if features are ordered otherwise); or "auto", bf16 where the processor has
                instructions for it. By default what it was.

        Raises:
            ValueError: a precision that does not exist, or bf16 of an export, whose graph is as it is.
        """
        if device is not None:
            self.device = torch.device(device)
            self.net.to(self.device)
        if precision is not None:
            graph = isinstance(self.net, ExportedNet)
            if graph and precision == "bf16":
                raise ValueError("The graph of an export computes as it was exported: leave precision at fp32.")
            self.precision = "fp32" if graph else chosen_precision(precision, self.device)
            self.order_kept = None
        return self

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Uploads the file that it was read from, and a card that says what it is; see `fex.hub.push`.

        Returns:
            Address of the commit.
        """
        return push(self.source, repository, **options)

    def _computing(self) -> AbstractContextManager[Any]:
        """Inside, encoders compute in `precision`; the heads on top of them are float32 whatever it is."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _check(self, inputs: Tensor) -> Tensor:
        self.modality.check(inputs, self.preprocess)
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
        with self._computing():
            return self.net.predict(self._check(inputs))

    @torch.inference_mode()
    def explain_classes(
        self, inputs: Tensor, target: Target | None = None, top_k: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass for K classes of each input: attribution (B, K, N), classes (B, K), probabilities (B, C).

        Args:
            inputs: (B, ...), as the black box takes them: stacked images of `.preprocess`, token ids of `.tokenize`.
            target: class, classes (B,), or K classes each (B, K), by index or name; by default the `top_k` ones of the
                largest estimated probability, the largest first.
            top_k: K, without `target`.
        """
        inputs = self._check(inputs)
        if target is None:
            check_choice(None, top_k, len(self.class_names))
            return self.explain_checked(inputs, (-1 - torch.arange(top_k)).expand(len(inputs), -1))
        return self.explain_checked(inputs, as_targets(target, len(inputs), self.class_names))

    @torch.inference_mode()
    def explain_checked(self, inputs: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`explain_classes` of inputs that were checked; classes (B, K), of which -1 is the likeliest, -2 the next."""
        inputs = inputs.to(self.device)
        with self._computing():
            maps, chosen, rates = self.net.explain_classes(inputs, classes.to(self.device))
        if self.precision == "bf16" and self.order_kept is None and len(inputs):
            some = slice(0, COMPARED)
            exact = self.net.explain_classes(inputs[some], chosen[some, :1])[0]
            self.order_kept = same_order(maps[some, 0], exact[:, 0])
        return maps, chosen, rates

    @torch.inference_mode()
    def foresee(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """How far each map will miss the black box's answers about masked copies: one pass, no query.

        Args:
            inputs: as of `explain_classes`.
            target: class or classes (B,), by index or name; by default the one the explainer itself predicts.

        Returns:
            Root mean squared miss to be expected (B,), float32, in units of probability. `foresight` says how well that
            was foreseen on validation data.

        Raises:
            ValueError: nobody has learnt it of this explainer; several classes an input.
        """
        if self.foresight is None:
            raise ValueError(
                f"{self.source or 'This explainer'} has not learnt to foresee its misses: train with the callback "
                "lightning_modules.callbacks.Trust, and load the checkpoint itself, not an export."
            )
        inputs, classes = self._check(inputs), None
        if target is not None:
            classes = as_targets(one_class_each(target, self.class_names), len(inputs), self.class_names)[:, 0]
        with self._computing():
            return self.foresight(signs(self.net, inputs, classes))

    def explain_batch(self, inputs: Tensor, target: Target | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """One pass -> attribution (B, N), target (B,), class probabilities (B, C)."""
        one = None if target is None else one_class_each(target, self.class_names)
        values, chosen, probabilities = self.explain_classes(inputs, one)
        return values[:, 0], chosen[:, 0], probabilities

    def attribute_features(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Inputs (B, ...) -> attribution of each feature, (B, N), float32; 0 where an entry is none.

        FEX gives the probability of keeping it, in [0, 1]; FastSHAP its Shapley value, signed.
        """
        return self.explain_batch(inputs, target)[0]

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Inputs (B, ...) -> attribution of each pixel (B, H, W), or token (B, L); values as above.

        Args:
            inputs: as of `explain_classes`.
            target: class or classes (B,), by index or name; by default the one the explainer itself predicts.
        """
        return self.features.on_inputs(self.attribute_features(inputs, target), inputs)

    def explain(
        self,
        given: Any,
        target: str | int | None | list[str | int | None] = None,
        top_k: int = 1,
        *,
        black_box: BlackBox | None = None,
        sources: list[str] | None = None,
        **options: Any,
    ) -> Explanations[Any]:
        """Explains one instance or several, in one forward pass an instance.

        Args:
            given: of an explainer of images, a picture (PIL, or an array (h, w, 3), uint8, RGB), its path, or a list of
                these, or a tensor (3, H, W) or (B, 3, H, W) as `.preprocess` gives them; of one of texts, a text, a
                pair (a tuple), or several texts (a list).
            target: class by name or index; by default the predicted ones. Or a list of one for each instance, in which
                None is the predicted one.
            top_k: how many of the predicted classes, the likeliest first; without `target`.
            black_box: ask it too, one query an instance (of a long text, a window): its answer then chooses the classes
                and gives `probability`. Otherwise both are the explainer's own estimate.
            sources: names of the instances in the results; by default the files'.
            **options: how they are read; of texts `window` and `batch_size`, see `fex.explainers.texts`.

        Returns:
            One explanation an instance and class: instance by instance, class by class.

        Raises:
            ValueError: unknown class, `target` along with `top_k`, something that cannot be read or explained, a black
                box of other inputs or classes, another number of targets.
        """
        each = target if isinstance(target, list) else [target]
        check_choice(next((one for one in each if one is not None), None), top_k, len(self.class_names))
        chosen = [None if one is None else self.target_index(one) for one in each]
        if black_box is not None:
            self.check_box(black_box)
        reading = self.modality.read(given, self.preprocess, **options)
        chosen = chosen if isinstance(target, list) else chosen * len(reading.names)
        if len(chosen) != len(reading.names):
            raise ValueError(f"Got {len(chosen)} targets for {len(reading.names)} instances, expected one each.")
        return explain_reading(self, reading, chosen, top_k, black_box, sources or reading.names)

    def check_box(self, black_box: BlackBox) -> None:
        """The box must answer for the same inputs and classes; raises ValueError where it does not."""
        check_fits(black_box, self)
