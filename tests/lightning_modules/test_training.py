"""Training end to end: it finds the truth, and every knob does something."""

import re
from functools import cache

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fex.images import Noise as NoiseFill
from fex.images import PatchGrid
from fex.nets import ExplainerNet, ViTEncoder
from fex.policy import Antithetic, CompatibleControl, LeaveOneOut, PaperRatio, RandomBudget, Replay, Retained
from lightning_modules import FEXModule
from tests.lightning_modules.small import (
    GRID,
    VIT,
    BrightPatchBox,
    FixedPatchBox,
    NaNBox,
    Pictures,
    SmoothBox,
    fit,
    pictures,
    sgd,
    vit,
    weights_of,
)
from tests.lightning_modules.tiny import TinyEncoder

RECOMMENDED = {
    "reward": Retained(),
    "noise": Antithetic(),
    "exploration": RandomBudget(-3, 3),
    "control": CompatibleControl(),
    "entropy_weight": 0.02,
    "warmup": 0.05,
    "decay": "cosine",
}


@pytest.mark.parametrize(
    ("box", "options"),
    [
        pytest.param(FixedPatchBox, RECOMMENDED, id="fixed-recommended"),
        pytest.param(BrightPatchBox, {"inner_epochs": 2}, id="bright-paper"),
        pytest.param(BrightPatchBox, RECOMMENDED, id="bright-recommended", marks=pytest.mark.slow),
        pytest.param(FixedPatchBox, {"inner_epochs": 2}, id="fixed-paper", marks=pytest.mark.slow),
    ],
)
def test_finds_the_one_patch_that_counts(box, options):
    """A box that looks at one patch: the attribution's maximum is that patch in >= 95 % of held-out pictures."""
    bright = box is BrightPatchBox
    torch.manual_seed(0)
    net = ExplainerNet(ViTEncoder("conv_vit_tiny", model_args=VIT), hidden=32, value_degree=3)
    module = FEXModule(box(), GRID, net, optimizer=lambda p: torch.optim.AdamW(p, 3e-3), **options)
    fit(module, Pictures(256, bright=bright, batch_size=32), max_epochs=8)
    inputs, places = pictures(200, bright=bright, seed=1)
    target = torch.ones(200, dtype=torch.int64)
    with torch.no_grad():
        found = module(inputs, target).argmax(1)
    expected = places if bright else torch.full_like(places, 6)
    assert found.eq(expected).float().mean() >= 0.95


BASE = {"reward": Retained(), "optimizer": sgd, "num_masks": 4, "inner_epochs": 2, "entropy_weight": 0.01}
KNOBS = {
    "num_masks": {"num_masks": 6},
    "clip_range": {"clip_range": 0.001},
    "inner_epochs": {"inner_epochs": 3},
    "minibatches": {"minibatches": 2},
    "kl_stop": {"kl_stop": 1e-9},
    "entropy_weight": {"entropy_weight": 0.1},
    "value_weight": {"value_weight": 0.1},
    "kl_weight": {"kl_weight": 0.2},
    "divergence": {"divergence": "explainer_to_black_box"},
    "surrogate": {"surrogate": "per_feature", "clip_range": 0.001},
    "optimizer": {"optimizer": lambda p: torch.optim.SGD(p, 0.01)},
    "warmup": {"warmup": 0.7},
    "decay": {"decay": "cosine"},
    "gradient_clip": {"gradient_clip": 0.01},
    "seed": {"seed": 1},
    "reward": {"reward": PaperRatio()},
    "noise": {"noise": Antithetic()},
    "exploration": {"exploration": RandomBudget()},
    "baseline": {"baseline": LeaveOneOut()},
    "control": {"control": CompatibleControl()},
    "removal": {"removal": NoiseFill()},
    "features": {"features": PatchGrid(2, 8)},
    "replay": {"replay": Replay()},
}
STARTS = {"": {}, "surrogate": {"clip_range": 0.001}, "replay": {"replay": None}}


def few_steps(**options):
    torch.manual_seed(0)
    options = {**BASE, **options}
    net = ExplainerNet(TinyEncoder(GRID.num_features), hidden=8)
    with torch.no_grad():
        net.build(2, GRID).weight.normal_()
    module = FEXModule(SmoothBox(), options.pop("features", GRID), net, **options)
    with torch.no_grad():  # so that logits, values and the classes differ from the first step on
        module.explainer.shared.weight.normal_(generator=torch.Generator().manual_seed(1))
        module.explainer.value_out.bias.fill_(0.2)
    fit(module, Pictures(16, batch_size=4), max_epochs=1 + ("replay" in options))  # nothing is past in the first
    return weights_of(module)


@cache
def outcome(start):
    """Without the knob: the same in every run."""
    found = few_steps(**STARTS[start])
    assert torch.equal(found, few_steps(**STARTS[start]))
    return found


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_changes_the_outcome(name):
    start = outcome(name if name in STARTS else "")
    assert not torch.allclose(start, few_steps(**KNOBS[name]), rtol=1e-4, atol=1e-6)


def test_every_argument_of_the_module_has_a_knob_test():
    arguments = set(FEXModule.__init__.__code__.co_varnames[1 : FEXModule.__init__.__code__.co_argcount])
    assert arguments - {"black_box", "explainer", "accumulate", "start"} == set(KNOBS)  # test_distil.py has start


@pytest.mark.parametrize(
    "settings", [{}, {"minibatches": 2}, {"kl_stop": 1e-4, "inner_epochs": 4}, {"inner_epochs": 1}]
)
def test_accumulated_gradients_are_those_of_the_large_batch(settings):
    whole = few_steps(**settings)
    for pieces in (2, 3, 99):
        assert torch.allclose(few_steps(**settings, accumulate=pieces), whole, rtol=1e-5, atol=1e-7), pieces


def test_accumulating_holds_a_piece_at_a_time(monkeypatch):
    sizes = []
    encode = ExplainerNet.encode
    monkeypatch.setattr(ExplainerNet, "encode", lambda net, inputs: sizes.append(len(inputs)) or encode(net, inputs))
    few_steps(accumulate=2, inner_epochs=1)
    assert set(sizes) == {2}
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 4, 2, 1, 0"):
        few_steps(accumulate=0)


@pytest.mark.parametrize(("kl_stop", "steps"), [(None, 12), (1e-9, 4), (1e9, 12)])
def test_kl_stop_ends_the_inner_epochs_before_the_next_update(kl_stop, steps):
    module = FEXModule(SmoothBox(), GRID, vit(), inner_epochs=3, kl_stop=kl_stop, optimizer=sgd)
    fit(module, Pictures(16, batch_size=4))
    assert module.trainer.global_step == steps  # 4 batches


def test_first_inner_epoch_reuses_the_rollout_and_queries_are_counted():
    box = SmoothBox()
    rows = fit(FEXModule(box, GRID, vit(), num_masks=5, optimizer=sgd), Pictures(16, batch_size=4))
    assert [row["train/queries"] for row in rows] == [
        1 + 24 * n for n in (1, 2, 3, 4)
    ]  # one blank, 4 x (1 + 5) a batch
    assert all(row["train/approx_kl"] == 0 and row["train/clip_fraction"] == 0 for row in rows)


def test_a_box_that_breaks_down_stops_the_run_by_name_and_leaves_the_checkpoint(tmp_path):
    save = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=2)
    module = FEXModule(NaNBox(after=1 + 3 * 24), GRID, vit(), num_masks=5, optimizer=sgd)
    with pytest.raises(ValueError, match="Black box 'broken_box' returned NaN or infinite scores for"):
        fit(module, Pictures(32, batch_size=4), [save], enable_checkpointing=True)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["state_dict"].values())


def test_rows_without_a_readable_image_have_no_weight():
    class Spoilt(Pictures):
        def setup(self, stage):
            super().setup(stage)
            for index, row in enumerate(self.datasets["train"]):
                row["valid"] = torch.tensor(index % 2 == 0)
                if index % 2 and self.seed == 0 and type(self).spoil:
                    row["inputs"] = torch.zeros_like(row["inputs"])

    outcomes = []
    for spoil in (False, True):
        Spoilt.spoil = spoil
        module = FEXModule(SmoothBox(), GRID, vit(), optimizer=sgd)
        fit(module, Spoilt(16, batch_size=8))
        outcomes.append(weights_of(module))
    assert torch.allclose(outcomes[0], outcomes[1], atol=1e-6)


def test_refuses_what_it_cannot_train_with():
    with pytest.raises(ValueError, match="must be at least 1, got 5, 0, 1"):
        FEXModule(SmoothBox(), GRID, vit(), inner_epochs=0)
    module = FEXModule(SmoothBox(), GRID, vit(), decay="cosine")
    with pytest.raises(ValueError, match=re.escape("set trainer.max_epochs or max_steps")):
        fit(module, Pictures(8, batch_size=4), max_epochs=-1)
    module = FEXModule(SmoothBox(), GRID, vit(), optimizer=lambda p: torch.optim.SGD(p, 1e30), gradient_clip=None)
    with pytest.raises(ValueError, match="The gradient became (nan|inf) at step .* Lower the learning rate"):
        fit(module, Pictures(16, batch_size=4))
