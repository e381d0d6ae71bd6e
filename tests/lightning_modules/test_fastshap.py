"""FastSHAP end to end: it finds the Shapley values, its checkpoint explains alone, every knob does something."""

from functools import cache

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.images import ImageDataModule
from fex.explainers import load_explainer
from fex.images import Blur, Mean, PatchGrid, Preprocess
from fex.images import Noise as NoiseFill
from fex.masking import Masker, masked_probabilities
from fex.nets import ShapleyNet, UNetEncoder, ViTEncoder
from fex.policy import Independent, Replay
from lightning_modules import FastSHAPModule
from tests.lightning_modules.small import GRID, SIZE, VIT, Pictures, SmoothBox, fit, sgd, weights_of
from tests.lightning_modules.small import pictures as pictures_of
from tests.lightning_modules.tiny import TinyEncoder
from tests.shapley.exact import exact_shapley, values_of_all_masks
from tests.toys import ToyBox

TEN = PatchGrid(2, 5)
SHAPE = (16, 40)


class InteractionBox(ToyBox):
    """Ten patches, of which neighbours interact: no linear function, and each picture has its own values."""

    def __init__(self):
        super().__init__(TEN)
        self.preprocess = Preprocess(*SHAPE)

    def brightness_to_probability(self, brightness):
        linear = brightness @ torch.linspace(-2, 2, 10)
        pairs = brightness * brightness.roll(1, -1)
        return (linear + 4 * pairs @ torch.linspace(1, -1, 10).roll(3)).sigmoid()


def patches(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return TEN.expand(torch.rand(count, 3, 10, generator=generator), SHAPE)


class TenPatches(ImageDataModule):
    def __init__(self, count):
        super().__init__(preprocess=Preprocess(*SHAPE), batch_size=64)
        self.count = count

    def setup(self, stage):
        self.datasets = {"train": [{"inputs": row} for row in patches(self.count, 0)]}


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]


def test_estimates_are_the_shapley_values_of_new_pictures():
    torch.manual_seed(0)
    arguments = {"img_size": SHAPE, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    net = ShapleyNet(ViTEncoder("vit_tiny_patch16_224", model_args=arguments), hidden=32)
    module = FastSHAPModule(
        InteractionBox(), TEN, net, num_masks=16, decay="cosine", optimizer=lambda p: torch.optim.AdamW(p, 3e-3)
    )
    fit(module, TenPatches(1024), max_epochs=12)
    inputs = patches(64, 1)
    truth = exact_shapley(values_of_all_masks(module.black_box, Masker(TEN, Mean(), module.black_box.mean), inputs))
    encoded = net.encode(inputs)
    for target in (0, 1):
        found = net.attribution(encoded, torch.full((64,), target)).detach()
        assert correlation(found, truth[:, target]) >= 0.95
        assert correlation(found - found.mean(0), (truth - truth.mean(0))[:, target]) >= 0.8  # beyond the mean map
        assert correlation(found.sum(1), truth[:, target].sum(1)) >= 0.95  # efficiency, by the network's own estimate
    predicted = net.class_logits(encoded).softmax(1).detach()
    assert (predicted - module.black_box(inputs)).abs().mean() < 0.1


def small(**options):
    torch.manual_seed(0)
    net = ShapleyNet(TinyEncoder(GRID.num_features), hidden=8)
    with torch.no_grad():
        net.build(2, GRID)
    options = {"optimizer": sgd, "num_masks": 4, **options}
    module = FastSHAPModule(SmoothBox(), options.pop("features", GRID), net, **options)
    with torch.no_grad():
        for parameter in (net.weight, net.total_out.weight, net.level.weight):
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return module


def few_steps(**options):
    module = small(**options)
    fit(module, Pictures(16, batch_size=4), max_epochs=1 + ("replay" in options))  # nothing is past in the first
    return weights_of(module)


KNOBS = {
    "features": {"features": PatchGrid(2, 8)},
    "removal": {"removal": NoiseFill()},
    "num_masks": {"num_masks": 6},
    "noise": {"noise": Independent()},
    "classes": {"classes": "predicted"},
    "total_weight": {"total_weight": 0.1},
    "class_weight": {"class_weight": 0.5},
    "optimizer": {"optimizer": lambda p: torch.optim.SGD(p, 0.01)},
    "warmup": {"warmup": 0.7},
    "decay": {"decay": "cosine"},
    "gradient_clip": {"gradient_clip": 0.01},
    "seed": {"seed": 1},
    "replay": {"replay": Replay()},
}


@cache
def outcome(epochs):
    """Without a knob: the same in every run."""
    found, again = (few_steps(**({"replay": None} if epochs == 2 else {})) for _ in range(2))
    assert torch.equal(found, again)
    return found


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_changes_the_outcome(name):
    start = outcome(epochs=1 + (name == "replay"))
    assert not torch.allclose(start, few_steps(**KNOBS[name]), rtol=1e-4, atol=1e-6)


def test_every_argument_of_the_module_has_a_knob_test():
    arguments = set(FastSHAPModule.__init__.__code__.co_varnames[1 : FastSHAPModule.__init__.__code__.co_argcount])
    assert arguments - {"black_box", "explainer", "accumulate"} == set(KNOBS)


def test_accumulated_gradients_are_those_of_the_large_batch():
    assert torch.allclose(few_steps(accumulate=3), few_steps(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("removal", "blank"), [(Mean(), 1), (Blur(), 16)])
def test_queries_are_counted(removal, blank):
    module = small(num_masks=6, removal=removal)
    rows = fit(module, Pictures(16, batch_size=4))
    assert rows[-1]["train/queries"] == blank + 16 * 7


def test_past_answers_are_the_boxs_own_and_are_learnt_from_without_a_query():
    module = small(replay=Replay(masks=4, capacity=4, fresh_epochs=1))
    rows = fit(module, Pictures(16, batch_size=4), max_epochs=2)
    assert rows[-1]["train/queries"] == module.black_box.queries == 1 + 16 * 5
    assert rows[-1]["train/shapley_loss"] > 0
    keys, inputs, table = torch.arange(16), pictures_of(16)[0], module.replaying.table
    past = table.past(keys, torch.arange(4).expand(16, -1))
    scores = masked_probabilities(module.black_box, module.masker, inputs, past["masks"])
    torch.testing.assert_close(past["scores"], scores)
    torch.testing.assert_close(table.clean(keys), module.black_box(inputs))
    torch.testing.assert_close(table.tensors["blank"], module._blank.probabilities(inputs))


def test_every_trainable_weight_has_a_gradient():
    """Or DDP would refuse to train."""
    module = small(classes="predicted")
    fit(module, Pictures(4, batch_size=4))
    assert [name for name, p in module.explainer.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("classes", ["all", "predicted"])
def test_the_loss_is_that_of_the_explainers_own_maps(classes):
    """The factorised sums over features and classes against the maps of every class, one by one."""
    from fex.shapley import centred, shapley_loss

    module = small(classes=classes, total_weight=0.0, class_weight=0.0)
    inputs, masks = torch.rand(3, 3, SIZE, SIZE), (torch.rand(3, 4, GRID.num_features) < 0.5).float()
    scores, clean, blank = torch.rand(3, 4, 2), torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), torch.rand(3, 2)
    weight = torch.tensor([0.5, 0.5, 0.0])
    found, _ = module._loss(inputs, masks, scores, clean, blank, clean.argmax(1), weight)
    encoded = module.explainer.encode(inputs)
    coefficients, share = centred(masks)
    expected = 0.0
    for row in range(2):
        for label in (0, 1) if classes == "all" else (int(clean[row].argmax()),):
            maps = module.explainer.target_scores(encoded, torch.full((3,), label))[row]
            sums = (coefficients[row] @ maps).view(1, -1, 1)
            one = [value[row : row + 1, ..., label : label + 1] for value in (scores, clean, blank)]
            expected = expected + 0.5 * shapley_loss(sums, share[row : row + 1], *one)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "encoder",
    [
        lambda: ViTEncoder("conv_vit_tiny", model_args=VIT),
        lambda: UNetEncoder("resnet18", depth=3, channels=(16, 8, 8)),
    ],
    ids=["vit", "unet"],
)
def test_the_checkpoint_explains_alone_and_like_every_other(encoder, tmp_path):
    save = ModelCheckpoint(tmp_path, save_last=True)
    module = FastSHAPModule(SmoothBox(), GRID, ShapleyNet(encoder(), hidden=8), num_masks=4)
    fit(module, Pictures(8, batch_size=4), [save], enable_checkpointing=True)
    explainer = load_explainer(tmp_path / "last.ckpt")
    inputs, target = torch.rand(2, 3, SIZE, SIZE), torch.tensor([1, 0])
    with torch.no_grad():
        expected = module.explainer.explain(inputs, target)[0]
        totals = module.explainer.totals(module.explainer.encode(inputs)).gather(1, target[:, None]).squeeze(1)
    found = explainer.attribute_features(inputs, target)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(1), totals, atol=1e-5, rtol=1e-4)
    assert explainer.attribute(inputs).shape == (2, SIZE, SIZE)
    explanation = explainer.explain(inputs[0], top_k=2)[1]
    assert (explanation.method, explanation.queries) == ("FastSHAP", 0)


def test_refuses_what_it_cannot_train():
    with pytest.raises(ValueError, match="at least 1 mask, 2 features and accumulate 1, got 4 masks, 1 features"):
        small(features=PatchGrid(1, 1))
    with pytest.raises(ValueError, match="Got classes='some', expected 'all' or 'predicted'"):
        small(classes="some")


def test_a_checkpoint_that_names_another_network_is_refused():
    from fex.nets import rebuild

    with pytest.raises(ValueError, match="names the network 'os.system', expected one of"):
        rebuild({"class_path": "os.system", "encoder": {}}, 2, GRID)
