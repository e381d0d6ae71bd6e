"""Two processes with the same global batch train as one does."""

from functools import cache

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import HorizontalFlip, ResizedCrop
from fex.nets import ExplainerNet, PyramidEncoder, ShapleyNet, UNetEncoder, ViTEncoder
from fex.policy import (
    Antithetic,
    CompatibleControl,
    Correlated,
    MaskNoise,
    RandomBudget,
    ReferenceBudget,
    Replay,
    Retained,
)
from lightning_modules import FastSHAPModule, FEXModule
from tests.lightning_modules.processes import together
from tests.lightning_modules.small import GRID, VIT, Pictures, SmoothBox, fit, sgd, trainer, vit, weights_of

GLOBAL_BATCH = 8


def pyramid():
    torch.manual_seed(0)
    return ExplainerNet(PyramidEncoder("test_resnet", levels=(2, 3), dim=16, frozen=True), hidden=16)


def unet():
    torch.manual_seed(0)
    return ExplainerNet(UNetEncoder(depth=2, channels=(8, 8)), hidden=16)


def shapley():
    torch.manual_seed(0)
    return ShapleyNet(ViTEncoder("conv_vit_tiny", model_args=VIT), hidden=32)


class OwnNoise(MaskNoise):
    """As it was written before processes could draw their own rows."""

    def __call__(self, shape, generator, grid=None):
        return torch.rand(shape, generator=generator), torch.rand(shape[:2], generator=generator)


REFERENCE = {
    "reward": Retained(), "noise": Correlated(), "exploration": ReferenceBudget(), "control": CompatibleControl(),
    "entropy_weight": 0.02,
}  # fmt: skip
CASES = {
    "paper": (vit, {}),
    "recommended": (
        lambda: vit(value_degree=3),
        {
            "reward": Retained(),
            "noise": Antithetic(),
            "exploration": RandomBudget(),
            "control": CompatibleControl(),
            "entropy_weight": 0.02,
            "warmup": 0.3,
            "decay": "cosine",
        },
    ),
    "inner epochs": (vit, {"inner_epochs": 3, "kl_stop": 0.02, "surrogate": "per_feature"}),
    "minibatches": (vit, {"inner_epochs": 2, "minibatches": 2}),
    "skipped pictures": (vit, {"inner_epochs": 2, "minibatches": 2}),
    "pieces": (vit, {"inner_epochs": 2, "minibatches": 2, "accumulate": 2}),
    "own noise": (vit, {"noise": OwnNoise()}),
    "no class term": (vit, {"kl_weight": 0.0, "value_weight": 0.0}),
    "pyramid": (pyramid, {}),
    "unet": (unet, {}),
    "fastshap": (shapley, {}),
    "replay": (
        lambda: vit(value_degree=3),
        {**REFERENCE, "replay": Replay(masks=2, capacity=8, fresh=0.4, fresh_epochs=3)},
    ),
    "replay of a policy": (vit, {"replay": Replay(masks=4, capacity=8), "surrogate": "per_feature"}),
    "labels": (vit, {}),
    "fastshap, labels": (shapley, {"classes": "predicted"}),
    "replayed fastshap": (shapley, {"replay": Replay(masks=4, capacity=8, fresh=0.4)}),
}
EPOCHS = {name: 4 for name in CASES if "replay" in name}  # fmt: skip


class LabelBox(SmoothBox):
    """Three labels, of which none, some or all are there."""

    def __init__(self):
        super().__init__(multi_label=True)
        self.class_names = ["a", "b", "c"]

    def _score(self, inputs):
        seen = self.brightness(inputs)
        return torch.stack([seen @ self.weights.roll(5 * n) for n in range(3)], 1).sigmoid()


class SkippedPictures(Pictures):
    """Some cannot be read: not equally many in each process's share of a batch."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch["valid"] = batch["index"] % 3 == 0
        return batch


def train(name, **options):
    net, settings = CASES[name]
    kind = FastSHAPModule if "fastshap" in name else FEXModule
    box = LabelBox() if "labels" in name else SmoothBox()
    module = kind(box, GRID, net(), **{"optimizer": sgd, "num_masks": 4, **settings})
    world = options.get("devices", 1)
    kind, changes = (SkippedPictures if name == "skipped pictures" else Pictures), {}
    if name == "replay":
        changes = {"augment": ResizedCrop(), "views": 2}
    data = kind(32, batch_size=GLOBAL_BATCH // world, **changes)
    rows = fit(module, data, max_epochs=EPOCHS.get(name, 1), **options)
    replaying = module.replaying
    return {
        "rows": rows,
        "table": None if replaying is None else replaying.table.tensors,
        "weights": weights_of(module),
        "steps": module.trainer.global_step,
        "agreement": module.trainer.test(module, Pictures(13, batch_size=GLOBAL_BATCH // world), verbose=False)[0]
        if name == "paper"
        else {},
    }


def recommended(**options):
    """A run of two epochs whose checkpoints can be resumed."""
    settings = CASES["recommended"][1]
    module = FEXModule(SmoothBox(), GRID, vit(value_degree=3), optimizer=sgd, num_masks=4, **settings)
    data = Pictures(32, batch_size=GLOBAL_BATCH // options.get("devices", 1), augment=HorizontalFlip())
    ckpt = options.pop("ckpt_path", None)
    trainer(*options.pop("callbacks", ()), max_epochs=2, **options).fit(module, datamodule=data, ckpt_path=ckpt)
    return weights_of(module)


def train_all(folder):
    keep = ModelCheckpoint(folder, every_n_train_steps=3, save_top_k=-1)
    recommended(devices=2, strategy="ddp", callbacks=[keep], enable_checkpointing=True)
    torch.save(
        {name: train(name, devices=2, strategy="ddp") for name in CASES}, f"{folder}/{torch.distributed.get_rank()}.pt"
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    together(train_all, folder, folder=folder)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@cache
def train_alone(name):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = train(name)
    torch.set_num_threads(threads)
    return found


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(both, name):
    alone, (first, second) = train_alone(name), (found[name] for found in both)
    assert torch.equal(first["weights"], second["weights"])
    assert torch.allclose(first["weights"], alone["weights"], rtol=1e-3, atol=1e-5)
    assert first["steps"] == alone["steps"]
    assert len(first["rows"]) == len(alone["rows"]) == 4 * EPOCHS.get(name, 1)
    for mine, theirs in zip(first["rows"], alone["rows"], strict=True):
        extra = 1 if name not in ("recommended", "replay") else 0  # each process asks once about the blank input
        assert mine["train/queries"] == theirs["train/queries"] + extra
        assert mine | {"train/queries": 0} == pytest.approx(theirs | {"train/queries": 0}, rel=1e-3, abs=1e-5)
    assert first["agreement"] == pytest.approx(alone["agreement"])


def test_a_run_of_two_processes_goes_on_in_one(both, tmp_path_factory):
    folders = [path.parent for path in tmp_path_factory.getbasetemp().glob("ddp*/1.pt")]
    half = next(path for folder in folders for path in folder.glob("*step=3.ckpt"))
    assert torch.allclose(recommended(ckpt_path=half), recommended(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", EPOCHS)
def test_two_processes_keep_the_same_table(both, name):
    first, second = (found[name]["table"] for found in both)
    alone = train_alone(name)["table"]
    for key, tensor in first.items():
        assert torch.equal(tensor.nan_to_num(-1.0), second[key].nan_to_num(-1.0)), key
        assert torch.allclose(tensor.float().nan_to_num(-1.0), alone[key].float().nan_to_num(-1.0), atol=1e-2), key
    assert torch.equal(first["count"], alone["count"])
    assert len(first["count"].unique()) > 1 or name != "replay"  # each visit of a row asked or did not


def test_kl_stop_was_put_to_work(both):
    assert 4 < both[0]["inner epochs"]["steps"] < 12
