"""The last checkpoint is that of the last step: at the end, and at Ctrl-C and SIGTERM."""

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl

__all__ = ["GracefulStop", "last_path"]

PATIENCE = 5.0  # seconds that other processes have to leave; one that waits inside a collective hears no signal


class GracefulStop(pl.Callback):
    """On SIGTERM or Ctrl-C ends training after the batch under way (and a validation under way), saved.

    At the regular end it saves too, where `save_last` is set: `ModelCheckpoint` itself leaves out the steps after the
    last multiple of `every_n_train_steps`. It writes the last checkpoint of the trainer's `ModelCheckpoint`, or else
    `last.ckpt` in its folder, from where `--ckpt_path` goes on as if nothing had happened. With several processes a
    signal to one of them is enough. The exit code is 128 + the signal's number, as shells have it; a second Ctrl-C
    stops at once, without saving.

    A run of a per-instance explainer stops at once: one instance may take minutes, and each that is finished is a file.

    A process that ends by an error, or so at once, takes along those that it has launched, as Lightning does at Ctrl-C
    alone: they would explain or validate their share, unseen, before they find that nobody waits for them.

    Args:
        command: words of the command line that began the run, from which the one that goes on with it is made.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self.command = command
        self.asked: int | None = None
        self._doing, self._took, self._start = "batch", 0.0, 0.0  # seconds of the last batch
        self._first = True  # of the processes of the run
        self._there = False  # the folder of checkpoints, at the start
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the signals; only a main thread may."""
        path = last_path(trainer)
        self._there = path is not None and path.parent.is_dir()
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the signals where instances are explained one by one."""
        if getattr(pl_module, "per_instance", False) and threading.current_thread() is threading.main_thread():
            self._process, self._first = os.getpid(), trainer.is_global_zero
            self._before = {number: signal.signal(number, self._leave) for number in (signal.SIGINT, signal.SIGTERM)}

    def _leave(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader process, which inherits this; its owner ends it
            raise KeyboardInterrupt
        if self._first:  # says it for all
            os.write(2, b"\nStopped. What is finished is kept: the same command goes on from there.\n")
        raise SystemExit(128 + number)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = number
        # Not `print`: the signal may have come in the middle of one.
        takes = f" ({self._took:.0f} s each)" if self._doing == "batch" and self._took >= 2 else ""
        text = f"\nStopping after this {self._doing}{takes}, with a checkpoint. Ctrl-C twice stops at once.\n"
        os.write(2, text.encode())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes what would have to end first."""
        self._doing = "validation"

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See `on_validation_start`."""
        self._doing = "batch"

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes the time."""
        self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves and leaves, if asked to."""
        self._took = time.monotonic() - self._start
        asked = self.asked is not None
        if trainer.world_size > 1:  # all leave together, or the others would wait for this one for ever
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if not asked:
            return
        path, why = last_path(trainer), "checkpoints are switched off"
        if self._gone(trainer):
            path, why = None, f"the run's folder {path.parent if path else ''} was removed"
        if path is not None:
            trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            where = f"saved {path}" if path is not None else f"nothing saved, since {why}"
            how = f"To go on: {_resuming(self.command, path)}\n" if path is not None and self.command else ""
            os.write(2, f"Stopped at step {trainer.global_step}: {where}.\n{how}".encode())
        raise SystemExit(128 + (self.asked or signal.SIGTERM))

    def _gone(self, trainer: pl.Trainer) -> bool:
        """Whether the folder of checkpoints was removed: who did that wants no checkpoint there."""
        path = last_path(trainer)
        gone = self._there and path is not None and not path.parent.is_dir()
        return trainer.strategy.reduce_boolean_decision(gone, all=False) if trainer.world_size > 1 else gone

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the finished run; gives the signals back."""
        path = last_path(trainer)
        if path is not None and getattr(trainer.checkpoint_callback, "save_last", False) and not trainer.fast_dev_run:
            trainer.save_checkpoint(path)
        self._restore()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Lightning has given the signals back by now. Until then a module that waits for others can be stopped."""
        self._before = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Gives the signals back; ends the processes that this one has launched."""
        leaving, one_by_one = bool(self._before), getattr(pl_module, "per_instance", False)
        self._restore()
        if one_by_one and leaving:  # Lightning's own answer to this signal, until its teardown, waits for all processes
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if isinstance(exception, KeyboardInterrupt):  # Lightning ends them
            return
        if isinstance(exception, SystemExit) and not one_by_one:  # they leave after the same batch, by themselves
            return
        _end_launched(trainer, at_once=not one_by_one)


def _end_launched(trainer: pl.Trainer, *, at_once: bool) -> None:
    """Ends the processes that this one has launched; none where torchrun or a cluster has."""
    running: Any = getattr(trainer.strategy.launcher, "procs", [])
    children = [child for child in running if isinstance(child, subprocess.Popen)]
    if not children:
        return
    running.clear()  # or the launcher's observer would kill this process when it finds that one of them has left
    for child in children:
        # A training process answers a polite signal after its batch, which it cannot finish alone; it saves nothing.
        child.kill() if at_once else child.terminate()
    end = time.monotonic() + PATIENCE
    for child in children:
        try:
            child.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _resuming(command: Sequence[str], path: Path) -> str:
    """The command that goes on from a checkpoint: the first one, without what it said of checkpoints."""
    kept: list[str] = []
    words = iter(command)
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag not in ("--ckpt_path", "--overwrite"):
            kept.append(word)
        elif not equals:
            next(words, None)
    return shlex.join([*kept, "--ckpt_path", str(path)])


def last_path(trainer: pl.Trainer) -> Path | None:
    """Where the last checkpoint of a run is, or will be; None where it saves none."""
    found: Any = trainer.checkpoint_callback
    if found is None:
        return None
    last = getattr(found, "last_model_path", "")
    return Path(last) if last else Path(found.dirpath or trainer.default_root_dir) / "last.ckpt"
