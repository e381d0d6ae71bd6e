"""Progress of Lightning's loops where there is no terminal: a line every now and then."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

__all__ = ["ProgressLines"]


class ProgressLines(ProgressBar):
    """Prints a line every `seconds` to standard output, which may be a file or a pipe.

    Args:
        seconds: time between lines; the last batch of a loop always has one.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds, self.enabled = seconds, True
        self._told = self._began = 0.0
        self._first: int | None = None
        self._batches: float = 0

    def disable(self) -> None:
        """Lightning's hook: all processes but the first are silent."""
        self.enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Plain print, at once."""
        if self.enabled:
            print(*args, **{"flush": True, **kwargs})

    def _begin(self) -> None:
        self._began = self._told = time.perf_counter()
        self._first = None

    def _tell(self, what: str, done: int, total: float, numbers: dict[str, Any]) -> None:
        now = time.perf_counter()
        if self._first is None:  # a resumed epoch starts in its middle
            self._first = done - 1
        if done < total and now - self._told < self.seconds:
            return
        self._told = now
        rate = (done - self._first) / max(now - self._began, 1e-9)
        values = "".join(
            f", {name} {value:.4g}" if isinstance(value, float) else f", {name} {value}"
            for name, value in numbers.items()
        )
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 and done < total < float("inf") else ""
        # A stream of pictures does not know its length.
        of = f" of {total:.0f}" if total < float("inf") else ""
        self.print(f"{what}: {done}{of} batches, {rate:.2f} batches/s{left}{values}")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock: an epoch that is resumed in its middle has no start."""
        self._begin()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._begin()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tells if it is time."""
        if self._first is None:
            # Once an epoch: Lightning's own total is what remains when `max_steps` ends the training, and shrinks.
            self._batches = trainer.num_training_batches
            if trainer.max_steps > 0 and trainer.accumulate_grad_batches == 1:
                self._batches = min(self._batches, batch_idx + 1 + trainer.max_steps - trainer.global_step)
        numbers = self.get_metrics(trainer, pl_module)
        numbers.pop("v_num", None)
        what = f"epoch {trainer.current_epoch + 1}"
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            what += f" of {trainer.max_epochs}"
        self._tell(what, batch_idx + 1, self._batches, numbers)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._begin()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._begin()

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Tells if it is time."""
        self._tell("test", batch_idx + 1, trainer.num_test_batches[dataloader_idx], {})

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Tells if it is time."""
        self._tell("predict", batch_idx + 1, trainer.num_predict_batches[dataloader_idx], {})
