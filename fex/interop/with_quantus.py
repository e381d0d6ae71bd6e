"""Quantus: explainers of fex under its metrics, its metrics as protocols. It is GPL, and so nobody's dependency."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fex.black_box.base import BlackBox
from fex.class_names import one_class_each
from fex.interop.pixels import cut_to_range
from fex.metrics.protocol import Attributed, Protocol, Summary, mean_value
from fex.seeding import seeded
from fex.types import Explainer

__all__ = ["QuantusProtocol", "box_network", "quantus_explain"]


def _quantus() -> Any:
    try:
        import quantus
    except ImportError as error:
        raise ImportError('This needs Quantus (GPL): pip install "fex-explain[interop]".') from error
    return quantus


class _BoxNetwork(nn.Module):
    def __init__(self, black_box: BlackBox) -> None:
        super().__init__()
        self.black_box = black_box

    def forward(self, inputs: Tensor) -> Tensor:
        # Metrics that perturb leave [0, 1]; a box of pictures has no answer there.
        found = self.black_box(cut_to_range(inputs.float()))
        return found.logit(1e-12) if self.black_box.multi_label else found.clamp_min(1e-38).log()


def box_network(black_box: BlackBox) -> nn.Module:
    """A black box of images as the network that Quantus asks: pixels in [0, 1] -> log-probabilities, without gradients.

    Their softmax are the probabilities. Every row that it is asked about is a query.
    """
    return _BoxNetwork(black_box).eval()


def quantus_explain(explainer: Explainer) -> Callable[..., np.ndarray]:
    """An explainer of images as the `explain_func` of Quantus: maps (B, 1, H, W), float32; `model` is not used.

    Its targets are indices of classes, (B,): others raise ValueError.
    """
    return _explain_func(explainer.attribute)


def _explain_func(attribute: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., np.ndarray]:
    def explain(model: Any, inputs: np.ndarray, targets: np.ndarray, **_: Any) -> np.ndarray:  # noqa: ARG001
        pixels = cut_to_range(torch.from_numpy(np.ascontiguousarray(inputs)).float())
        return attribute(pixels, one_class_each(targets)).unsqueeze(1).cpu().numpy()

    return explain


class QuantusProtocol(Protocol):
    """A metric of Quantus as a protocol of `fex-bench run`: a subclass of one's own names it.

    Attributes:
        metric: name of a class of quantus.
        options: its arguments.
        modality: images alone.

    Example::

        class Sparseness(QuantusProtocol):
            metric = "Sparseness"

        class Correlation(QuantusProtocol):
            metric = "FaithfulnessCorrelation"
            options = {"nr_runs": 50, "subset_size": 256, "return_aggregate": False}

    and in the YAML ``protocols: [fex, my_package.Sparseness, my_package.Correlation]``.
    """

    modality: ClassVar[str | None] = "image"
    metric: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    components: ClassVar[Mapping[str, int]] = {"value": 1}  # type: ignore[misc]

    @property
    def summaries(self) -> Mapping[str, Summary]:
        """The mean of its values, under the metric's name."""
        return {self.metric: Summary("value", mean_value)}

    def evaluate(self, black_box: BlackBox, data: Attributed, *, seed: int = 0) -> dict[str, Tensor]:
        """The metric's value of each instance; NaN where it has none.

        Raises:
            ImportError: Quantus is not installed.
            ValueError: no such metric, or one that gives no number an instance.
        """
        found = getattr(_quantus(), self.metric, None)
        if not self.metric or found is None:
            raise ValueError(f"Quantus has no metric {self.metric!r}: set `metric` to the name of a class of quantus.")
        ask = data.explain
        explain = None if ask is None else _explain_func(lambda inputs, classes: ask(inputs, classes)[1])
        batch = {
            "x_batch": data.inputs.cpu().numpy(), "y_batch": data.explained.cpu().numpy(),
            "a_batch": data.maps.unsqueeze(1).cpu().numpy(),
            "s_batch": None if data.masks is None else data.masks.unsqueeze(1).cpu().numpy(),
        }  # fmt: skip
        with seeded(seed):
            metric = found(**{"disable_warnings": True, "display_progressbar": False, **self.options})
            values = metric(model=box_network(black_box), **batch, explain_func=explain, device="cpu", softmax=True)
        rows = np.asarray(values, dtype=np.float32).reshape(-1)
        if len(rows) != len(data.inputs):
            raise ValueError(
                f"{self.metric} gave {len(rows)} values for {len(data.inputs)} instances, expected one each: set its "
                "options so that it does."
            )
        return {"value": torch.from_numpy(rows)}
