"""Lines of progress where there is no terminal."""

import io
import re

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fex.cli.train.progress_bar import OneLineBar
from fex.cli.train.progress_lines import ProgressLines


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
        callbacks=[ProgressLines(seconds=0.0)],
        **trainer,
    ).fit(Line(), DataLoader(torch.arange(6.0), batch_size=1))
    return re.findall(r"epoch (\S+)(?: of \S+)?: (\d+) of (\d+) batches", capsys.readouterr().out)


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
    pl.Trainer(**common, callbacks=[ProgressLines(), keep]).fit(Line(), rows)
    capsys.readouterr()
    bar = ProgressLines(seconds=0.0)
    pl.Trainer(**common, callbacks=[bar, ModelCheckpoint(tmp_path)]).fit(
        Line(), rows, ckpt_path=tmp_path / "step=2.ckpt"
    )
    rates = re.findall(r"batches, (\S+) batches/s", capsys.readouterr().out)
    assert len(rates) == 4
    assert min(map(float, rates)) > 0.05


class Noted(Line):
    def training_step(self, batch, batch_idx):
        for name in ("fex/positive_auc", "fex/negative_auc", "seg/pixel_accuracy", "class_agreement"):
            self.log(f"val/{name}", 0.123, prog_bar=True)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(("columns", "shown"), [(80, 0), (200, 4)])
def test_the_bar_is_one_line_whatever_the_width(columns, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = io.StringIO()
    bar = OneLineBar(console_kwargs={"file": out, "width": columns, "force_terminal": True})
    pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False, max_epochs=1,
        callbacks=[bar],
    ).fit(Noted(), DataLoader(torch.arange(6.0), batch_size=1))  # fmt: skip
    drawn = out.getvalue()
    assert "6/6" in drawn
    assert "\x1b[1A" not in drawn  # the cursor never has to go up a line
    assert drawn.count("val/") % 4 == 0
    assert bool(drawn.count("val/")) == bool(shown)


class Pictures(torch.utils.data.IterableDataset):
    """A stream: it has no length."""

    def __iter__(self):
        return iter(torch.arange(2.0))


class Same(Line):
    def predict_step(self, batch, batch_idx):
        return batch


def test_a_stream_without_a_length_has_no_total(capsys):
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[ProgressLines(seconds=0.0)])
    trainer.predict(Same(), DataLoader(Pictures(), batch_size=1))
    told = re.findall(r"predict: (.*?),", capsys.readouterr().out)
    assert told == ["1 batches", "2 batches"]
