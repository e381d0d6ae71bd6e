"""captum: any explainer as a captum attribution, any captum method as an explainer, and captum's visualisers."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import captum.attr
import torch
from captum.attr import visualization
from captum.log import log_usage
from torch import Tensor, nn

from fex.baselines.base import check_images, differentiating, in_parts, target_probability
from fex.black_box.base import BlackBox, resolve_target
from fex.class_names import Target
from fex.explanations.image import Explanation
from fex.explanations.text import TextExplanation
from fex.images.features import ImageFeatures
from fex.interop.pixels import cut_to_range
from fex.types import Explainer

__all__ = ["CaptumAttribution", "CaptumMethod", "captum_picture", "captum_records"]


class CaptumAttribution(captum.attr.Attribution):
    """Any explainer as a captum attribution: maps of the inputs' shape, for captum's tools and metrics.

    What these add to pixels may lead out of [0, 1]: it is cut there, for the explainer and for `forward_func`.

    Args:
        explainer: trained, or a method with its black box.
        forward_func: what captum's metrics ask; by default the explainer's own estimate, or its black box.

    Raises:
        ValueError: neither is known.
    """

    def __init__(self, explainer: Explainer, forward_func: Any = None) -> None:
        forward_func = forward_func or getattr(explainer, "predict", None) or getattr(explainer, "black_box", None)
        if not callable(forward_func):
            raise ValueError(f"{type(explainer).__name__} does not know what it explains: give `forward_func`.")
        super().__init__(lambda inputs: forward_func(cut_to_range(inputs)))
        self.explainer = explainer

    @log_usage()  # captum's NoiseTunnel looks for what it wraps
    def attribute(self, inputs: Any, target: Target | None = None, **_: Any) -> Any:
        """Maps of pixels (B, 3, H, W), the same for each colour, or of tokens (B, L); a tuple of one of such a tuple.

        Raises:
            ValueError: several inputs.
        """
        if isinstance(inputs, tuple):
            if len(inputs) != 1:
                raise ValueError(f"Got {len(inputs)} inputs, expected one: an explainer takes pictures or token ids.")
            return (self.attribute(inputs[0], target),)
        found = self.explainer.attribute(cut_to_range(inputs), target)
        return found.unsqueeze(1).expand(inputs.shape).contiguous() if inputs.ndim == 4 else found


class _Probabilities(nn.Module):
    """Pixels in [0, 1] -> probabilities with gradients, as the module that some methods want."""

    def __init__(self, black_box: BlackBox) -> None:
        super().__init__()
        self.network, self.forward_of = black_box.module, target_probability(black_box)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.forward_of(inputs)


class CaptumMethod:
    """A method of captum as an explainer of images: it can be benchmarked, drawn and compared like all others.

    Those that remove features (FeatureAblation, ShapleyValueSampling, KernelShap, Lime, ...) ask the box; the others
    take its gradients. Explained is the probability of the class, on pixels in [0, 1]; what captum says of the three
    colours is summed.

    Args:
        black_box: what is explained.
        method: name of a class of `captum.attr`, such as "DeepLift".
        features: what is removed together, for methods with a `feature_mask`.
        init_args: further arguments of the class.
        options: further arguments of its `attribute`, such as {"n_samples": 50}.
        internal_batch_size: instances a call.

    Raises:
        TypeError: a method of gradients, and a box that can only be queried.
        ValueError: no such method, or a box that takes no images.

    Example:
        ``CaptumMethod(box, "Occlusion", options={"sliding_window_shapes": (3, 8, 8), "strides": (3, 8, 8)})``
    """

    def __init__(
        self,
        black_box: BlackBox,
        method: str,
        features: ImageFeatures | None = None,
        init_args: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        internal_batch_size: int = 16,
    ) -> None:
        check_images(self, black_box)
        found = getattr(captum.attr, method, None)
        if not (isinstance(found, type) and issubclass(found, captum.attr.Attribution)):
            raise ValueError(f"captum has no method {method!r}: give the name of a class of captum.attr.")
        self.black_box, self.method, self.internal_batch_size = black_box, method, internal_batch_size
        # Lime and KernelShap stand on no common class with the others that only ask.
        self.asks = issubclass(
            found, captum.attr.FeatureAblation | captum.attr.LimeBase | captum.attr.ShapleyValueSampling
        )
        self._module = None if self.asks else black_box.module
        forward = black_box if self.asks else _Probabilities(black_box)
        self._method = found(forward, **(init_args or {}))
        self.options = dict(options or {})
        if "feature_mask" in inspect.signature(self._method.attribute).parameters and features is not None:
            self.options["feature_mask"] = features
        self.masked = features if "feature_mask" in self.options else None

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Attribution of each pixel, (B, H, W), float32; `target` as of every explainer."""
        clean = self.black_box(inputs) if target is None else inputs.new_zeros(len(inputs), self.black_box.num_classes)
        classes = resolve_target(target, clean, self.black_box.class_names)
        if self._module is None:
            with torch.no_grad():
                return in_parts(self._part, inputs, classes, self.internal_batch_size)
        with differentiating(self._module):
            return in_parts(self._part, inputs, classes, self.internal_batch_size)

    def _part(self, inputs: Tensor, target: Tensor) -> Tensor:
        device, size = self.black_box.device, (inputs.shape[-2], inputs.shape[-1])
        leaf = inputs.detach().clone().to(device, torch.float32)
        options = dict(self.options)
        if self.masked is not None:
            numbers = torch.arange(self.masked.count(inputs), device=device)
            options["feature_mask"] = self.masked.expand(numbers, size).expand(1, leaf.shape[1], *size).contiguous()
        if self._module is not None:
            leaf.requires_grad_()
        found = self._method.attribute(leaf, target=target.clone().to(device), **options)
        # One that removes features gives all pixels and colours of one the same value.
        return found.mean(1) if self.asks else found.sum(1)


def captum_picture(explanation: Explanation, method: str = "blended_heat_map", **options: Any) -> Any:
    """The figure of captum's `visualize_image_attr`.

    Args:
        explanation: of a picture, with its image.
        method: see captum.
        **options: see there.

    Raises:
        ValueError: an explanation without its image, which the method would show.
    """
    if explanation.image is None and method not in ("heat_map",):
        raise ValueError("The explanation has no image to show: keep it, or draw `heat_map`.")
    image = None if explanation.image is None else explanation.image.permute(1, 2, 0).numpy()
    signed = bool((explanation.attribution < 0).any())
    options = {"sign": "all" if signed else "positive", "use_pyplot": False, **options}
    return visualization.visualize_image_attr(explanation.pixels().unsqueeze(-1).numpy(), image, method, **options)[0]


def captum_records(explanations: Sequence[TextExplanation]) -> list[Any]:
    """What captum's `visualize_text` shows in a notebook: words with their scores, scaled to [-1, 1] a text."""
    records = []
    for each in explanations:
        words = each.word_scores()
        largest = max((abs(word.score) for word in words), default=0.0) or 1.0
        records.append(
            visualization.VisualizationDataRecord(
                [word.score / largest for word in words],
                each.probability,
                each.target_name,
                "",
                each.target_name,
                sum(word.score for word in words),
                [word.word for word in words],
                None,
            )  # fmt: skip
        )
    return records
