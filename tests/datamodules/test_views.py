"""Views: fixed inputs of each row, whatever batch, process or epoch they come in."""

import lightning.pytorch as pl
import pytest
import torch

from datamodules import HorizontalFlip, ResizedCrop
from tests.lightning_modules.small import Pictures, trainer
from tests.lightning_modules.small import pictures as make


def batches(epochs, **options):
    """What a run trains on: by epoch and row, the input and its view."""

    class Watch(pl.LightningModule):
        automatic_optimization = False

        def __init__(self):
            super().__init__()
            self.found, self.net = {}, torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            for at, row in enumerate(batch["index"].tolist()):
                view = int(batch["view"][at]) if "view" in batch else None
                self.found[self.current_epoch, row] = batch["inputs"][at].clone(), view

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    watch = Watch()
    trainer(max_epochs=epochs).fit(watch, datamodule=Pictures(8, **options))
    return watch.found


def test_view_0_is_the_picture_and_each_view_comes_again():
    found = batches(5, batch_size=4, augment=ResizedCrop(), views=2)
    originals = make(8)[0]
    for row in range(8):
        assert [found[epoch, row][1] for epoch in range(5)] == [0, 1, 0, 1, 0]
        assert torch.equal(found[0, row][0], originals[row])
        assert torch.equal(found[2, row][0], originals[row])
        assert not torch.equal(found[1, row][0], originals[row])
        assert torch.equal(found[1, row][0], found[3, row][0])


def test_a_view_depends_on_seed_row_and_number_alone():
    few, many = (batches(2, batch_size=size, augment=ResizedCrop(), views=3) for size in (2, 8))
    assert all(torch.equal(few[1, row][0], many[1, row][0]) for row in range(8))
    third = batches(3, batch_size=8, augment=ResizedCrop(), views=3)
    assert all(not torch.equal(third[1, row][0], third[2, row][0]) for row in range(8))
    other = batches(2, batch_size=8, augment=ResizedCrop(), views=3, seed=1)
    assert all(not torch.equal(other[1, row][0], many[1, row][0]) for row in range(8))


def test_without_views_there_are_none():
    found = batches(1, batch_size=4, augment=HorizontalFlip())
    assert all(view is None for _, view in found.values())
    assert Pictures(8).fixed_views == 1
    assert Pictures(8, augment=HorizontalFlip()).fixed_views is None
    assert Pictures(8, augment=HorizontalFlip(), views=3).fixed_views == 3


def test_views_are_checked():
    with pytest.raises(ValueError, match="views=2 and augment=None"):
        Pictures(8, views=2)
    with pytest.raises(ValueError, match="views=0"):
        Pictures(8, views=0, augment=HorizontalFlip())


def test_a_stream_has_no_views():
    class Source(list):
        length = 8

        def deal(self, shard, shards):
            return iter(())

    data = Pictures(8, augment=HorizontalFlip(), views=2)
    data.datasets = {"train": Source()}
    with pytest.raises(ValueError, match="Views belong to numbered rows, which a stream does not have"):
        data.train_dataloader()
