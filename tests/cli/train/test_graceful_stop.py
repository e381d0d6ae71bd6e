"""What a run that is stopped says: what it waits for, and the command that goes on with it."""

import os
import shutil
import signal
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fex.cli.train.graceful_stop import GracefulStop, _resuming


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("--config my.yaml", "fex-train --config my.yaml --ckpt_path r/last.ckpt"),
        ("fit --config=my.yaml --overwrite true", "fex-train fit --config=my.yaml --ckpt_path r/last.ckpt"),
        (
            "--ckpt_path old.ckpt --config my.yaml --ckpt_path=older.ckpt",
            "fex-train --config my.yaml --ckpt_path r/last.ckpt",
        ),
    ],
)
def test_it_is_the_first_one_from_the_checkpoint(words, command):
    assert _resuming(["fex-train", *words.split()], Path("r/last.ckpt")) == command


def test_words_with_spaces_are_quoted():
    assert "'my run.yaml'" in _resuming(["fex-train", "--config", "my run.yaml"], Path("last.ckpt"))


def test_it_says_what_has_to_end_first(capfd):
    stop = GracefulStop()
    stop._took = 12.3
    stop._ask(signal.SIGTERM, None)
    stop.on_validation_start(None, None)
    stop._ask(signal.SIGTERM, None)
    stop.on_validation_end(None, None)
    stop._took = 0.1
    stop._ask(signal.SIGTERM, None)
    first, second, third = filter(None, capfd.readouterr().err.splitlines())
    assert first.startswith("Stopping after this batch (12 s each), with a checkpoint.")
    assert second.startswith("Stopping after this validation, with a checkpoint.")
    assert third.startswith("Stopping after this batch, with a checkpoint.")


class Line(pl.LightningModule):
    """Learns one number."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        return ((self.factor * batch - 1) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Stops(pl.Callback):
    """Asks the run to stop, after its folder was removed where there is one to remove."""

    def __init__(self, folder=None):
        self.folder = folder

    def on_train_batch_start(self, *_):
        if self.folder is not None:
            shutil.rmtree(self.folder)
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("removed", [True, False])
def test_a_folder_that_was_removed_stays_away(tmp_path, removed, capfd):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    callbacks = [ModelCheckpoint(folder, save_last=True), GracefulStop(), Stops(tmp_path / "run" if removed else None)]
    trainer = pl.Trainer(
        max_epochs=1, logger=False, callbacks=callbacks, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(SystemExit) as left:
        trainer.fit(Line(), DataLoader(torch.ones(4, 1)))
    assert left.value.code == 143
    assert (folder / "last.ckpt").exists() is not removed
    told = f"nothing saved, since the run's folder {folder} was removed." if removed else f"saved {folder}"
    assert f"Stopped at step 1: {told}" in capfd.readouterr().err
