"""What a checkpoint may restore of a run: weights and states of this run, and never where files are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

__all__ = ["SafeResume"]

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class SafeResume(pl.Callback):
    """Looks through a checkpoint before Lightning restores anything but the weights.

    Settings come from the config. Paths that `ModelCheckpoint` remembers are forgotten where they lie outside its
    folder: it removes such files, and writes over them. And a run that a limit of steps has ended in mid-epoch goes on
    with the rest of that epoch: Lightning has counted the epoch as a whole one, and would leave the rest out.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Changes `checkpoint` in place.

        Raises:
            ValueError: states that Lightning has not written.
        """
        if not trainer.training:
            checkpoint["callbacks"] = {}  # of training
        try:
            for callback in trainer.callbacks:
                state = checkpoint["callbacks"].get(callback.state_key, {})
                if isinstance(callback, ModelCheckpoint):
                    _forget_strangers(state, callback)
                if isinstance(callback, EarlyStopping) and state:
                    state["patience"] = callback.patience  # a setting
            if "loops" in checkpoint:
                _reopen_epoch(checkpoint["loops"]["fit_loop"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"The checkpoint's states are damaged or of another version of Lightning ({type(error).__name__}: "
                f"{error}): give one of the same run, or start anew without --ckpt_path."
            ) from error


def _forget_strangers(state: dict[str, Any], callback: ModelCheckpoint) -> None:
    """Keeps only paths inside the folder into which the callback writes."""
    folder = None if callback.dirpath is None else Path(callback.dirpath).resolve()

    def inside(path: str) -> bool:
        return folder is not None and "://" not in path and folder in Path(path).resolve().parents

    for key in _PATHS:
        if state.get(key) and not inside(state[key]):
            state[key] = ""
    if not all(inside(path) for path in state.get("best_k_models") or {}):
        state.update(best_k_models={}, kth_best_model_path="", kth_value=None)


def _reopen_epoch(loop: Mapping[str, Any]) -> None:
    """Takes back the end of an epoch that was not at its end."""
    batches, epochs = loop["epoch_loop.batch_progress"], loop["epoch_progress"]
    total = epochs["total"]
    counted = total["ready"] == total["started"] == total["processed"]
    if counted and batches["current"]["processed"] > 0 and not batches["is_last_batch"]:
        for progress in (total, epochs["current"]):
            progress["completed"] = progress["processed"] = progress["processed"] - 1
