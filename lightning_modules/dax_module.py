"""DAX over a data set."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from fex.dax import DAXResult, Distiller
from fex.report.heatmap import colorize, normalise
from lightning_modules.instances.module import InstanceModule
from lightning_modules.sinks import Sink

__all__ = ["DAXModule"]


class DAXModule(InstanceModule):
    """Fits a mask and a student network to each instance; logs their losses and the mask by epoch.

    Args:
        explainer: DAX, or one of its hybrids.
        together: instances fitted at once, at most a batch: set the data's `batch_size` too. On a GPU several fill it,
            on a CPU one at a time is as fast, and a run that is stopped loses no more than those under way.
        **options: see `InstanceModule`.

    Raises:
        ValueError: fewer than one instance at once.
    """

    def __init__(self, explainer: Distiller, *, together: int = 1, **options: Any) -> None:
        super().__init__(explainer, **options)
        if together < 1:
            raise ValueError(f"together must be at least 1 instance, got {together}.")
        self.together = together

    def explain_rows(self, inputs: Tensor, target: Tensor) -> Iterator[tuple[int, Tensor, DAXResult]]:
        """See `InstanceModule`."""
        for start in range(0, len(inputs), self.together):
            part = slice(start, start + self.together)
            for place, result in enumerate(self.explainer.explain_instances(inputs[part], target[part]), start):
                yield place, result.attribution, result

    def log_course(self, sink: Sink, name: str, course: DAXResult) -> None:
        """Losses and mask by epoch."""
        for number, epoch in enumerate(course.epochs):
            sink.number(f"{name}/train_loss", epoch.train_loss, number)
            sink.number(f"{name}/val_loss", epoch.val_loss, number)
            if epoch.mask is not None:
                picture = colorize(normalise(epoch.mask.cpu().numpy()))
                sink.picture(f"{name}/mask", picture, number)
