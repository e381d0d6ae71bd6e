"""Progress of Lightning's loops, with a terminal and without."""

import io
import re

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fex.cli.train.loop_progress import LoopProgress


class Line(pl.LightningModule):
    """One weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return (self.weight - batch.mean()) ** 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def lines(capsys, **trainer):
    pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[LoopProgress(interval=0.0)],
        **trainer,
    ).fit(Line(), DataLoader(torch.arange(6.0), batch_size=1))
    told = re.findall(r"epoch (\S+)(?: of \S+)?: ([1-9]) of (\d+) batches", capsys.readouterr().out)
    return sorted(set(told))  # a batch that takes long is told of more than once


def test_total_of_an_epoch(capsys):
    assert lines(capsys, max_epochs=2) == [(str(e), str(i), "6") for e in (1, 2) for i in range(1, 7)]


def test_total_does_not_shrink_when_the_steps_end_the_training(capsys):
    expected = [("1", str(i), "6") for i in range(1, 7)] + [("2", str(i), "3") for i in range(1, 4)]
    assert lines(capsys, max_epochs=-1, max_steps=9) == expected


def test_a_run_resumed_in_mid_epoch_has_a_rate(tmp_path, capsys):
    """Its epoch has no start of its own."""
    common = {"accelerator": "cpu", "logger": False, "enable_model_summary": False, "max_epochs": 1}
    rows = DataLoader(torch.arange(6.0), batch_size=1)
    keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
    pl.Trainer(**common, callbacks=[LoopProgress(), keep]).fit(Line(), rows)
    capsys.readouterr()
    bar = LoopProgress(interval=0.0)
    pl.Trainer(**common, callbacks=[bar, ModelCheckpoint(tmp_path)]).fit(
        Line(), rows, ckpt_path=tmp_path / "step=2.ckpt"
    )
    rates = re.findall(r"batches, (\S+) batches/s", capsys.readouterr().out)
    assert len(rates) >= 4
    assert min(float(rate.replace(",", "")) for rate in rates) > 0.05


class Noted(Line):
    def training_step(self, batch, batch_idx):
        for name in ("fex/positive_auc", "fex/negative_auc", "seg/pixel_accuracy", "class_agreement"):
            self.log(f"val/{name}", 0.123, prog_bar=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        return batch


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("columns", "shown"), [(80, 1), (240, 4)])
def test_the_bar_is_one_line_whatever_the_width(columns, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", out := Terminal())
    pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False, max_epochs=1,
        callbacks=[LoopProgress()],
    ).fit(Noted(), DataLoader(torch.arange(6.0), batch_size=1), DataLoader(torch.arange(2.0)))  # fmt: skip
    drawn = out.getvalue()
    assert "epoch 1 of 1" in drawn
    assert "6/6" in drawn
    assert "\x1b[1A" not in drawn  # the cursor never has to go up a line
    assert re.split("[\r\n]", drawn.rpartition("6/6")[2])[0].count(" 0.123") == shown


def test_a_validation_stands_beside_the_batches_of_its_epoch(capsys):
    noted, seen = LoopProgress(interval=0.0), []
    one_more = noted.on_validation_batch_end
    noted.on_validation_batch_end = lambda *words, **named: (one_more(*words, **named), seen.append(noted._note))
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1, num_sanity_val_steps=0,
        callbacks=[noted],
    )  # fmt: skip
    rows = DataLoader(torch.arange(2.0), batch_size=1)
    trainer.fit(Noted(), rows, rows)
    assert seen == ["validation: 1 of 2", "validation: 2 of 2"]
    trainer.validate(Noted(), rows, verbose=False)
    assert "validate: 2 of 2 batches" in capsys.readouterr().out


class Pictures(torch.utils.data.IterableDataset):
    """A stream: it has no length."""

    def __iter__(self):
        return iter(torch.arange(2.0))


class Same(Line):
    def predict_step(self, batch, batch_idx):
        return batch


def test_a_stream_without_a_length_has_no_total(capsys):
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[LoopProgress(interval=0.0)])
    trainer.predict(Same(), DataLoader(Pictures(), batch_size=1))
    told = re.findall(r"predict: (.*?),", capsys.readouterr().out)
    assert {"1 batches", "2 batches"} <= set(told) <= {"0 batches", "1 batches", "2 batches"}
