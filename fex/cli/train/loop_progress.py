"""Progress of Lightning's loops, shown as all programs show theirs."""

import sys
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

from fex.cli.progress import INTERVAL, Advance, progress

__all__ = ["LoopProgress"]


class LoopProgress(ProgressBar):
    """A bar on a terminal, else a line every now and then, of each epoch and each pass; on standard output.

    A validation within an epoch stands beside the epoch's batches.

    Args:
        interval: seconds between lines.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        super().__init__()
        self.interval, self.enabled = interval, True
        self._open, self._note = ExitStack(), ""
        self._advance: Advance | None = None

    def disable(self) -> None:
        """Lightning's hook: all processes but the first are silent."""
        self.enabled = False

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Plain print, at once."""
        if self.enabled:
            print(*args, **{"flush": True, **kwargs})

    def _begin(self, what: str, total: float, done: int = 0) -> None:
        """Opens the bar, unless it is open."""
        if not self.enabled or self._advance is not None:
            return
        known = int(total) if total < float("inf") else None  # a stream of pictures does not know its length
        shown = {"what": what, "stream": sys.stdout, "interval": self.interval, "note": lambda: self._note}
        self._note, self._advance = "", self._open.enter_context(progress(known, "batches", **shown))
        self._advance(done, free=True)

    def _one_more(self, note: str = "") -> None:
        self._note = note
        if self._advance is not None:
            self._advance()

    def _end(self) -> None:
        self._open.close()
        self._advance = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Opens the epoch's: one that is resumed in its middle has no start of its own."""
        total = trainer.num_training_batches
        if trainer.max_steps > 0 and trainer.accumulate_grad_batches == 1:
            total = min(total, batch_idx + trainer.max_steps - trainer.global_step)
        of = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        self._begin(f"epoch {trainer.current_epoch + 1}{of}", total, batch_idx)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """One more, with the metrics of now."""
        self._one_more(self._metrics(trainer, pl_module))

    def _metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
        found = self.get_metrics(trainer, pl_module)
        found.pop("v_num", None)
        return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Opens that of a validation alone."""
        if trainer.state.fn == "validate":
            self._begin("validate", sum(trainer.num_val_batches))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """One more; beside the epoch's batches it is a note."""
        if trainer.state.fn == "validate":
            self._one_more()
        else:
            self._note = f"validation: {batch_idx + 1} of {trainer.num_val_batches[dataloader_idx]}"

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The epoch's metrics again."""
        self._note = self._metrics(trainer, pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Opens the test's."""
        self._begin("test", sum(trainer.num_test_batches))

    def on_test_batch_end(self, *_: Any) -> None:
        """One more."""
        self._one_more()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Opens the pass's."""
        self._begin("predict", sum(trainer.num_predict_batches))

    def on_predict_batch_end(self, *_: Any) -> None:
        """One more."""
        self._one_more()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Closes the epoch's."""
        self._end()

    def on_exception(self, *_: Any) -> None:
        """Leaves the terminal as it was."""
        self._end()

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Closes what is open."""
        self._end()
