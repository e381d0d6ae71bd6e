"""Lines of progress where there is no terminal."""

import re

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from fex.cli.progress_lines import ProgressLines


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
