"""A Trainer that knows explainers of single instances."""

from functools import wraps
from typing import Any

from lightning.pytorch import LightningModule, Trainer

__all__ = ["FexTrainer"]


class FexTrainer(Trainer):
    """A Trainer to which fitting a per-instance explainer is one pass over all instances, in order."""

    @wraps(Trainer.fit)  # the command line takes its options from the signature
    def fit(self, model: LightningModule, *args: Any, **kwargs: Any) -> None:
        """As of `Trainer`, except for modules that fit something to each instance."""
        if getattr(model, "per_instance", False):
            self.predict(model, datamodule=kwargs.get("datamodule"), return_predictions=False)
        else:
            super().fit(model, *args, **kwargs)
