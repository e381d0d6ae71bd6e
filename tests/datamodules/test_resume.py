"""An interrupted run goes on with the very batches an unbroken one would have seen."""

import contextlib
import logging
import multiprocessing

import lightning.pytorch as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import Augment, Parquet
from datamodules.images import ImageDataModule
from fex.images import Preprocess
from tests.datamodules.pictures import encode


class _StopError(Exception):
    pass


class _Recorder(pl.LightningModule):
    def __init__(self, stop=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.stop, self.augmented = [], stop, []

    def training_step(self, batch, batch_idx):
        if len(self.seen) == self.stop:
            raise _StopError
        self.seen.append(batch["index"].tolist())
        self.augmented.append(batch["inputs"].sum().item())
        return (batch["inputs"].mean() - self.weight) ** 2

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class _Jitter(Augment):
    numbers = 1

    def __call__(self, inputs, noise):
        return inputs + noise.view(-1, 1, 1, 1)


class _Table(ImageDataModule):
    def setup(self, stage):
        rows = [{"inputs": torch.full((3, 2, 2), float(i))} for i in range(22)]
        self.datasets = {"train": rows, "val": rows}


def _fit(make, *, stop=None, callbacks=(), ckpt=None, **options):
    module = _Recorder(stop)
    trainer = pl.Trainer(
        **{"max_epochs": 3, **options},
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    with contextlib.suppress(_StopError):
        trainer.fit(module, datamodule=make(), ckpt_path=ckpt)
    return module


def _check(make, tmp_path, stops, when, **options):
    whole = _fit(make, **options)
    assert len(whole.seen) > max(stops)
    for stop in stops:
        save = ModelCheckpoint(tmp_path / str(stop), save_top_k=-1, **when)
        broken = _fit(make, stop=stop, callbacks=[save], **options)
        ckpt = save._last_checkpoint_saved
        done = torch.load(ckpt, weights_only=True)["global_step"]
        resumed = _fit(make, ckpt=ckpt, **options)
        assert broken.seen[:done] + resumed.seen == whole.seen, (stop, done)
        assert broken.augmented[:done] + resumed.augmented == whole.augmented
        assert torch.equal(resumed.weight, whole.weight)


EVERY_STEP = {"every_n_train_steps": 1}
EPOCH_END = {"save_on_train_epoch_end": True}
VALIDATION_END = {"save_on_train_epoch_end": False}


@pytest.mark.parametrize(
    ("workers", "stops", "when", "options"),
    [
        (0, [1, 3, 5, 6, 10], EVERY_STEP, {}),
        (2, [3, 5], EVERY_STEP, {}),
        (0, [6, 12], EPOCH_END, {}),
        pytest.param(1, [6], EPOCH_END, {}, marks=pytest.mark.slow),
        (0, [6], VALIDATION_END, {}),
        (0, [3, 5, 11], VALIDATION_END, {"val_check_interval": 2}),
        (0, [4, 5, 10], EVERY_STEP, {"max_steps": 13, "max_epochs": -1}),
        (0, [6, 11], EPOCH_END, {"max_steps": 13, "max_epochs": -1}),
        (0, [2, 3, 5], EVERY_STEP, {"limit_train_batches": 3}),
    ],
)
def test_table(tmp_path, workers, stops, when, options):
    def make():
        return _Table(batch_size=4, num_workers=workers, augment=_Jitter())

    _check(make, tmp_path, stops, when, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_stream(tmp_path, workers):
    for part in range(3):
        rows = [encode((8, 8), colour=(8 * (7 * part + i), 0, 0)) for i in range(7)]
        pq.write_table(pa.table({"image": rows}), tmp_path / f"{part}.parquet")

    def make():
        return Parquet(
            str(tmp_path / "*.parquet"),
            label_column=None,
            streaming=True,
            shuffle_buffer=4,
            batch_size=4,
            num_workers=workers,
            preprocess=Preprocess(4, 4),
            augment=_Jitter(),
        )

    stops = [2, 5, 8] if workers == 0 else [3]
    _check(make, tmp_path / "runs", stops, EVERY_STEP, limit_val_batches=0, max_epochs=2)


def test_batches_of_two_epochs_differ_and_cover_the_data():
    seen = _fit(lambda: _Table(batch_size=4), max_epochs=2).seen
    assert len(seen) == 10
    assert seen[:5] != seen[5:]
    for epoch in (seen[:5], seen[5:]):
        assert len({index for batch in epoch for index in batch}) == 20


def test_loader_processes_live_as_long_as_the_run():
    data, alive = _Table(batch_size=4, num_workers=1), []
    before = set(multiprocessing.active_children())

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_):
            alive.append(set(multiprocessing.active_children()) - before)

    module = _fit(lambda: data, max_epochs=2, callbacks=[Watch()], limit_val_batches=0)
    assert len(module.seen) == 10
    assert alive == [alive[0]] * 10  # kept from one epoch to the next
    assert len(alive[0]) == 1
    assert set(multiprocessing.active_children()) <= before


def test_overfitting_repeats_its_batches():
    seen = _fit(lambda: _Table(batch_size=4), overfit_batches=2).seen
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]] * 3


def test_another_global_batch_is_told(tmp_path, caplog):
    save = ModelCheckpoint(tmp_path, **EVERY_STEP)
    _fit(lambda: _Table(batch_size=4), stop=2, callbacks=[save])
    with caplog.at_level(logging.WARNING, "datamodules"):
        _fit(lambda: _Table(batch_size=2), ckpt=save._last_checkpoint_saved)
    assert "another order of the data" in caplog.text
    assert "(4, 2)" in caplog.text


def test_lightning_predicts_without_rebuilding_the_loader():
    class Predictor(_Recorder):
        def predict_step(self, batch, batch_idx):
            return batch["index"][batch["valid"]]

    class Data(_Table):
        def setup(self, stage):
            self.datasets = {"test": [{"inputs": torch.zeros(3, 2, 2)}] * 10}

    trainer = pl.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    found = trainer.predict(Predictor(), datamodule=Data(batch_size=4))
    assert torch.cat(found).tolist() == list(range(10))
