"""A box whose classes are not exclusive: the explainer's own estimates are probabilities of each, not shares."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fex.explainers import load_explainer
from fex.nets import ExplainerNet, ShapleyNet, ViTEncoder
from fex.policy import Antithetic, CompatibleControl, RandomBudget, Retained
from lightning_modules import FastSHAPModule, FEXModule
from lightning_modules.drawing import explained_classes
from tests.lightning_modules.small import GRID, SIZE, VIT, Pictures, fit
from tests.lightning_modules.tiny import TinyEncoder
from tests.toys import ToyBox

ANSWER = torch.tensor([0.95, 0.90, 0.05])


class LabelBox(ToyBox):
    """Three labels of fixed probabilities, which sum to 1.9."""

    def __init__(self):
        super().__init__(GRID, SIZE, multi_label=True)
        self.class_names = ["cat", "sofa", "dog"]

    def brightness_to_probability(self, brightness):
        raise NotImplementedError

    def _score(self, inputs):
        return ANSWER.expand(len(inputs), 3)


def build(method, **options):
    torch.manual_seed(0)
    module, net = {"FEX": (FEXModule, ExplainerNet), "FastSHAP": (FastSHAPModule, ShapleyNet)}[method]
    encoder = ViTEncoder("conv_vit_tiny", model_args=VIT)
    return module(LabelBox(), GRID, net(encoder, hidden=8), num_masks=2, optimizer=adam, **options)


def train(module, folder, count=8):
    """Leaves last.ckpt in `folder`."""
    keep = ModelCheckpoint(folder, save_last=True)
    fit(module, Pictures(count, batch_size=4), callbacks=[keep], enable_checkpointing=True)


@pytest.mark.parametrize("divergence", ["black_box_to_explainer", "explainer_to_black_box"])
def test_fex_learns_the_probability_of_each_label(tmp_path, divergence):
    check(tmp_path, build("FEX", divergence=divergence))


def test_fastshap_learns_the_probability_of_each_label(tmp_path):
    check(tmp_path, build("FastSHAP", class_weight=1.0))


def adam(parameters):
    return torch.optim.Adam(parameters, 0.02)


def check(folder, module):
    train(module, folder, count=320)
    explainer = load_explainer(folder / "last.ckpt")
    assert explainer.meta["multi_label"] is True
    inputs = torch.rand(2, 3, SIZE, SIZE)
    torch.testing.assert_close(explainer.predict(inputs), ANSWER.expand(2, 3), atol=0.03, rtol=0)
    (found,) = explainer.explain(inputs[0], "sofa")
    assert found.probability == pytest.approx(0.90, abs=0.03)
    assert [each.target_name for each in explainer.explain(inputs[0], top_k=2)] == ["cat", "sofa"]


def test_labels_that_are_there_do_not_keep_every_feature(tmp_path):
    module = build("FEX")
    module.explainer.level.bias.data.fill_(5.0)
    lambdas = module(torch.rand(1, 3, SIZE, SIZE), torch.tensor([0]))
    torch.testing.assert_close(lambdas, torch.full((1, 16), 0.5))


def test_without_the_class_term_nothing_is_left_that_is_not_trained():
    module = build("FEX", kl_weight=0.0)
    fit(module, Pictures(8, batch_size=8))
    unused = [name for name, p in module.explainer.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []


def test_checkpoints_without_the_key_have_exclusive_classes(tmp_path):
    module = build("FEX")
    train(module, tmp_path)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del content["fex"]["multi_label"]
    torch.save(content, tmp_path / "old.ckpt")
    inputs = torch.rand(2, 3, SIZE, SIZE)
    torch.testing.assert_close(load_explainer(tmp_path / "old.ckpt").predict(inputs).sum(1), torch.ones(2))
    with pytest.raises(ValueError, match="multi_label is False there and True here"):
        module.on_load_checkpoint(content)


class TwoPlaces(LabelBox):
    """The first label goes by patch 5 and is always the stronger one, the second by patch 10; the third is rare."""

    def _score(self, inputs):
        seen = (2 * self.brightness(inputs)[:, [5, 10]]).clamp_max(1) * torch.tensor([0.9, 0.8]) + 0.05
        return torch.cat([seen, torch.full((len(inputs), 1), 0.1)], 1)


@pytest.mark.parametrize("method", ["FEX", "FastSHAP"])
def test_the_map_of_each_label_is_learnt(method):
    """Not that of the strongest alone."""
    torch.manual_seed(0)
    encoder = TinyEncoder(GRID.num_features)
    if method == "FEX":
        options = {"reward": Retained(), "noise": Antithetic(), "exploration": RandomBudget(), "kl_weight": 0.02}
        options |= {"control": CompatibleControl(), "entropy_weight": 0.2, "num_masks": 8, "optimizer": adam}
        module = FEXModule(TwoPlaces(), GRID, ExplainerNet(encoder), **options)
    else:
        module = FastSHAPModule(TwoPlaces(), GRID, ShapleyNet(encoder), classes="predicted", optimizer=adam)
    fit(module, Pictures(640, batch_size=16))
    inputs = torch.rand(4, 3, SIZE, SIZE)
    for label, place in ((0, 5), (1, 10)):
        found = module(inputs, torch.full((4,), label)).detach()
        others = found[:, [n for n in range(GRID.num_features) if n != place]]
        spread = others.amax() - others.amin()
        assert (found[:, place] - others.amax(1)).min() > spread, (label, found[0])


def test_which_label_is_explained_does_not_depend_on_the_run_before():
    module = build("FEX")
    module.black_box(torch.rand(2, 3, SIZE, SIZE))
    first = explained_classes(module, ANSWER.expand(400, 3))
    torch.rand(3)
    assert torch.equal(first, explained_classes(module, ANSWER.expand(400, 3)))
    assert set(first.tolist()) == {0, 1, 2}
    module.seed = 1
    assert not torch.equal(first, explained_classes(module, ANSWER.expand(400, 3)))
