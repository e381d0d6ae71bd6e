"""Replay end to end: queries are spent once and learnt from often, and a resumed run ends as an unbroken one."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import HorizontalFlip, ResizedCrop
from datamodules.base import DataModule
from datamodules.images import ImageDataModule
from datamodules.text_rows import TextRows
from fex.explainers import load_explainer
from fex.images import PatchGrid, Preprocess
from fex.masking import masked_probabilities
from fex.nets import ExplainerNet
from fex.policy import (
    BlankCorrectedRatio,
    CompatibleControl,
    Correlated,
    LeaveOneOut,
    OnPolicy,
    RandomBudget,
    ReferenceBudget,
    Replay,
    Retained,
)
from fex.storage.checkpoint import read_checkpoint
from lightning_modules import FEXModule
from tests.lightning_modules.small import GRID, SIZE, Pictures, SmoothBox, fit, pictures, sgd, trainer, vit, weights_of
from tests.lightning_modules.test_texts import module as texts
from tests.lightning_modules.tiny import TinyEncoder
from tests.texts.tiny import preprocess, sentences
from tests.toys import LinearBox, ToyBox

LEAST_SQUARES = {
    "reward": Retained(), "noise": Correlated((0.0, 1.0)), "exploration": ReferenceBudget(-2, 2),
    "control": CompatibleControl(), "entropy_weight": 0.1, "kl_weight": 0.02, "num_masks": 4,
}  # fmt: skip


def module(replay=None, box=None, **options):
    return FEXModule(
        box or SmoothBox(), GRID, vit(value_degree=1), replay=replay, **{**LEAST_SQUARES, "optimizer": sgd, **options}
    )


class White(ImageDataModule):
    """The same white picture in each row."""

    def __init__(self, count, **options):
        super().__init__(preprocess=Preprocess(8, 8), **options)
        self.count = count

    def setup(self, stage):
        self.datasets = {"train": [{"inputs": torch.ones(3, 8, 8)}] * self.count}


def test_past_queries_alone_find_the_effects_of_a_linear_box():
    grid, effects = PatchGrid(1, 4), torch.tensor([0.3, -0.1, 0.05, 0.2])
    net = ExplainerNet(TinyEncoder(4), hidden=8, value_degree=1)
    box = LinearBox(grid, effects, bias=0.3)
    asked = FEXModule(
        box, grid, net, replay=Replay(masks=8, capacity=8, fresh_epochs=1),
        **{**LEAST_SQUARES, "kl_weight": 0.0, "optimizer": lambda p: torch.optim.Adam(p, 0.02)},
    )  # fmt: skip
    rows = fit(asked, White(16, batch_size=8), max_epochs=60)
    assert rows[-1]["train/queries"] == box.queries == 16 * (1 + 4)
    assert rows[-1]["train/masks"] == 4
    with torch.no_grad():
        inputs = torch.ones(1, 3, 8, 8)
        logits = net.target_logits(net.encode(inputs), torch.ones(1, dtype=torch.int64))[0]
    assert torch.allclose(logits - logits.mean(), (effects - effects.mean()) / 0.1, atol=0.05)


class LinearPictures(ToyBox):
    """Class 1 has the probability 0.3 + sum_n w_n brightness_n: its effects on a picture are known."""

    def __init__(self):
        super().__init__(GRID, SIZE)
        self.weights = torch.linspace(-0.02, 0.08, 16)[torch.randperm(16, generator=torch.Generator().manual_seed(3))]

    def brightness_to_probability(self, brightness):
        return 0.3 + brightness @ self.weights


def agreement_with_the_truth(trained):
    inputs = pictures(100, seed=1)[0]
    truth = trained.black_box.brightness(inputs) * trained.black_box.weights
    with torch.no_grad():
        found = trained.explainer.target_logits(trained.explainer.encode(inputs), torch.ones(100, dtype=torch.int64))
    found, truth = (each - each.mean(1, keepdim=True) for each in (found, truth))
    return float(torch.nn.functional.cosine_similarity(found, truth, dim=1).mean())


def test_the_same_queries_give_a_better_map_when_they_are_learnt_from_more_than_once():
    found, queries = [], []
    for replay, epochs in ((None, 2), (Replay(masks=8, capacity=8, fresh_epochs=2), 10)):
        trained = module(replay, LinearPictures(), optimizer=lambda p: torch.optim.AdamW(p, 3e-3), decay="cosine")
        queries.append(fit(trained, Pictures(64, batch_size=16), max_epochs=epochs)[-1]["train/queries"])
        found.append(agreement_with_the_truth(trained))
    assert queries == [2 * 64 * 5] * 2
    assert found[1] > found[0] + 0.1, found


def test_what_is_kept_is_what_the_box_says():
    trained = module(Replay(masks=4, capacity=4), reward=BlankCorrectedRatio())
    fit(trained, Pictures(16, batch_size=8))
    keys, inputs, table = torch.arange(16), pictures(16)[0], trained.replaying.table
    clean = trained.black_box(inputs)
    target = clean.argmax(1)
    past = table.past(keys, torch.arange(4).expand(16, -1))
    scores = masked_probabilities(trained.black_box, trained.masker, inputs, past["masks"], target)
    torch.testing.assert_close(past["scores"][..., 0], scores)
    torch.testing.assert_close(table.clean(keys), clean)
    torch.testing.assert_close(table.tensors["blank"][:, 0], trained._blank(inputs, target))
    assert torch.equal(table.tensors["target"].long(), target)


def test_a_share_of_the_visits_asks_and_new_rows_always_do():
    trained = module(Replay(masks=4, capacity=8, fresh=0.5))
    rows = fit(trained, Pictures(32, batch_size=8), max_epochs=5)
    queries = [row["train/queries"] for row in rows]
    assert queries[3] == 32 * 5
    assert trained.black_box.queries == queries[-1]
    asked = (queries[-1] - queries[3]) / 5 / (4 * 32)
    assert 0.3 < asked < 0.7
    assert rows[3]["train/masks"] == 4
    assert rows[4]["train/masks"] > 4


def test_a_policys_own_masks_are_weighed_by_the_ratio():
    trained = module(
        Replay(masks=4, capacity=8), exploration=RandomBudget(-2, 2), surrogate="per_feature", kl_weight=0.0
    )
    rows = fit(trained, Pictures(16, batch_size=8), max_epochs=3)
    assert all(row["train/approx_kl"] == 0 for row in rows[:2])
    assert all(row["train/approx_kl"] > 0 for row in rows[2:])


def saved(folder, replay, epochs, resume=None, box=None, data=None, every=3, **options):
    """A run that saves every three steps; returns its module and what is in `last.ckpt`."""
    keep = ModelCheckpoint(folder, save_last=True, every_n_train_steps=every, save_top_k=-1, filename="{step}")
    trained = module(replay, box, **options)
    run = trainer(keep, enable_checkpointing=True, max_epochs=epochs)
    run.fit(trained, datamodule=data or Pictures(32, batch_size=8), ckpt_path=resume)
    return trained, torch.load(folder / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("exploration", [ReferenceBudget(-2, 2), OnPolicy()], ids=["reference", "policy"])
def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path, exploration):
    replay = Replay(masks=4, capacity=8, fresh=0.5, fresh_epochs=3)
    whole, told = saved(tmp_path / "whole", replay, 4, exploration=exploration)
    again, found = saved(
        tmp_path / "again", replay, 4, tmp_path / "whole" / "step=6.ckpt", exploration=exploration
    )  # in the middle of the second epoch
    assert torch.equal(weights_of(whole), weights_of(again))
    assert told["fex_queries"] == found["fex_queries"]
    for name, tensor in told["fex_replay"]["tensors"].items():
        assert torch.equal(found["fex_replay"]["tensors"][name].nan_to_num(-1.0), tensor.nan_to_num(-1.0)), name


def test_the_explainers_own_weights_are_without_the_table(tmp_path):
    saved(tmp_path, Replay(), 1)
    tensors, meta = read_checkpoint(tmp_path / "last.ckpt")
    assert not [name for name in tensors if "replay" in name or "budget" in name]
    assert "fex_replay" not in meta
    assert load_explainer(tmp_path / "last.ckpt").attribute(pictures(1)[0]).shape == (1, SIZE, SIZE)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    saved(folder, Replay(masks=4, capacity=8), 1, every=2)
    return folder / "last.ckpt"


def test_a_run_begins_with_the_queries_of_another_and_asks_nothing(earlier):
    trained = module(Replay(masks=4, capacity=8, fresh_epochs=0, start_from=str(earlier)), num_masks=2)
    before = weights_of(trained)
    rows = fit(trained, Pictures(32, batch_size=8), max_epochs=2)
    assert trained.black_box.queries == 0
    assert [row["train/queries"] for row in rows] == [32 * 5] * 8
    assert rows[0]["train/masks"] == 4
    assert not torch.equal(before, weights_of(trained))


REFUSED = {
    "a reward that needs more": ({}, {"reward": BlankCorrectedRatio()}, "has no answers to blank inputs"),
    "more rows": ({"count": 40}, {}, "rows is 32 there and 40 here"),
    "another budget": ({}, {"exploration": ReferenceBudget(-3, 3)}, "exploration.low is -2 there and -3 here"),
    "another order": ({"flip": True}, {}, "is another input than the one whose answers were kept"),
    "another box": ({}, {"box": LinearPictures}, "black_box is 'SmoothBox' there and 'LinearPictures' here"),
}


class Flipped(Pictures):
    def setup(self, stage):
        super().setup(stage)
        self.datasets = {"train": [{"inputs": row["inputs"].flip(-1)} for row in self.datasets["train"]]}


@pytest.mark.parametrize("name", REFUSED)
def test_answers_to_something_else_are_refused(earlier, name):
    changed, options, message = REFUSED[name]
    kind = Flipped if changed.get("flip") else Pictures
    options = {**options, **({"box": options["box"]()} if "box" in options else {})}
    trained = module(Replay(masks=4, capacity=8, start_from=str(earlier)), **options)
    with pytest.raises(ValueError, match=message):
        fit(trained, kind(changed.get("count", 32), batch_size=8))


def test_a_checkpoint_without_a_table_is_no_start(tmp_path):
    saved(tmp_path, None, 1)
    trained = module(Replay(start_from=str(tmp_path / "last.ckpt")))
    with pytest.raises(ValueError, match="holds no past queries: give `start_from` a checkpoint of a run with"):
        fit(trained, Pictures(32, batch_size=8))


class Changing(Pictures):
    """Other inputs in each epoch, of which nobody is told."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {**batch, "inputs": batch["inputs"].roll(self.trainer.current_epoch, -1)}


def test_inputs_that_do_not_come_again_are_refused():
    with pytest.raises(ValueError, match="but `augment` changes them in every epoch: set `views`"):
        fit(module(Replay()), Pictures(16, batch_size=8, augment=HorizontalFlip()))
    with pytest.raises(ValueError, match="row .* is another input than the one whose answers were kept"):
        fit(module(Replay()), Changing(16, batch_size=8), max_epochs=2)


class Stream(Pictures):
    def setup(self, stage):
        class Source(list):
            deal = None

        self.datasets = {"train": Source()}


def test_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="reads a table and no stream"):
        fit(module(Replay()), Stream(16, batch_size=8))
    with pytest.raises(ValueError, match="LeaveOneOut wants masks of one policy"):
        module(Replay(), baseline=LeaveOneOut(), noise=None)
    with pytest.raises(ValueError, match="capacity >= num_masks, got 3 and 4"):
        module(Replay(masks=2, capacity=3))
    with pytest.raises(ValueError, match="the data has 2 views, one an epoch: set fresh_epochs to at least 2"):
        fit(module(Replay(fresh_epochs=1)), Pictures(16, batch_size=8, augment=ResizedCrop(), views=2))


def test_each_view_of_a_row_has_queries_of_its_own():
    trained = module(Replay(masks=4, capacity=4, fresh_epochs=2))
    data = Pictures(16, batch_size=8, augment=ResizedCrop(), views=2)
    rows = fit(trained, data, max_epochs=6)
    assert rows[-1]["train/queries"] == 2 * 16 * 5
    assert trained.replaying.table.tensors["count"].tolist() == [4] * 32
    assert [row["train/masks"] for row in rows[4:]] == [4] * 8


class Few(DataModule):
    """Sentences of different lengths."""

    def setup(self, stage):
        self.datasets = {"train": TextRows(sentences(32), self.preprocess)}


@pytest.mark.parametrize("exploration", [ReferenceBudget(-2, 2), RandomBudget(-2, 2)], ids=["reference", "policy"])
def test_texts_come_again_whatever_they_are_padded_to(exploration):
    trained = texts(replay=Replay(masks=4, capacity=8, fresh_epochs=1), exploration=exploration, num_masks=4)
    rows = fit(trained, Few(batch_size=16), max_epochs=3)
    assert rows[-1]["train/queries"] == 32 * (1 + 4)
    assert rows[-1]["train/masks"] == 4
    lengths = {len(row.ids) for row in preprocess().many(sentences(32))}
    assert len(lengths) > 1
