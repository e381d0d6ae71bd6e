"""A signal to one of two processes stops both after the same batch, saved."""

import os
import signal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fex.cli.train.graceful_stop import GracefulStop
from lightning_modules import FEXModule
from tests.lightning_modules.processes import together
from tests.lightning_modules.small import GRID, Pictures, SmoothBox, fit, sgd, vit, weights_of


class SignalToTheSecond(pl.Callback):
    """SIGTERM to process 1 alone, in the second batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped(folder):
    module = FEXModule(SmoothBox(), GRID, vit(), optimizer=sgd, num_masks=4)
    saver = ModelCheckpoint(folder, save_last=True, save_top_k=-1, every_n_train_steps=100)
    code = None
    try:
        fit(
            module,
            Pictures(32, batch_size=4),
            callbacks=[SignalToTheSecond(), saver, GracefulStop()],
            enable_checkpointing=True,
            devices=2,
            strategy="ddp",
        )
    except SystemExit as stop:
        code = stop.code
    rank = torch.distributed.get_rank()
    torch.save({"code": code, "steps": module.global_step, "weights": weights_of(module)}, f"{folder}/{rank}.pt")


def test_all_processes_stop_and_the_run_is_saved(tmp_path):
    together(stopped, tmp_path, folder=tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first["code"] == second["code"] == 128 + signal.SIGTERM
    assert first["steps"] == second["steps"] == 2
    assert torch.equal(first["weights"], second["weights"])
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert any(name.startswith("explainer") for name in saved["state_dict"])
    assert "Stopped at step 2: saved" in (tmp_path / "rank0.log").read_text()
    assert "Stopped at step" not in (tmp_path / "rank1.log").read_text()
