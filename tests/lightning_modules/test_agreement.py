"""How often the explainer's own class is the box's is measured in validation and goes with the checkpoint."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules.text_rows import TextRows
from fex.explainers import load_explainer
from fex.explanations.agreement import Agreement
from fex.refine import Refined
from fex.refine.foresight import signs
from lightning_modules import FEXModule
from lightning_modules.callbacks import PredictionWriter, Trust
from tests.lightning_modules import test_texts as on_texts
from tests.lightning_modules.small import GRID, Pictures, SmoothBox, fit, pictures, sgd, trainer, vit
from tests.texts.tiny import sentences


def module():
    found = FEXModule(SmoothBox(), GRID, vit(), num_masks=2, optimizer=sgd)
    with torch.no_grad():
        found.explainer.level.bias.copy_(torch.tensor([5.0, -5.0]))  # says class 0, whatever the input
    return found


def share_of_class_0(count):
    return float(SmoothBox()(pictures(count)[0]).argmax(1).eq(0).float().mean())


def test_a_checkpoint_knows_it_and_its_explanations_say_it(tmp_path):
    trained = module()
    keep = ModelCheckpoint(tmp_path, save_last=True)
    options = {"enable_checkpointing": True, "limit_val_batches": None, "num_sanity_val_steps": 1}
    data = Pictures(30, batch_size=8)  # the last batch is padded
    fit(trained, data, callbacks=[keep], **options, limit_train_batches=1)
    explainer = load_explainer(tmp_path / "last.ckpt")
    assert explainer.agreement == Agreement(pytest.approx(share_of_class_0(30), abs=1e-4), 30)
    assert 0.1 < explainer.agreement.share < 0.9
    (found,) = explainer.explain(pictures(1)[0][0])
    assert found.chosen_by == "explainer"
    assert found.to_dict()["agreement"] == {"share": explainer.agreement.share, "inputs": 30}
    assert "of 30 held-out inputs" in found.doubt
    (asked,) = explainer.explain(pictures(1)[0][0], black_box=SmoothBox())
    (named,) = explainer.explain(pictures(1)[0][0], 1)
    assert (asked.chosen_by, asked.doubt, named.chosen_by, named.doubt) == ("black box", "", "user", "")

    again = module()
    again.on_load_checkpoint(torch.load(tmp_path / "last.ckpt", weights_only=True))
    content = {}
    again.on_save_checkpoint(content)
    assert content["fex"]["agreement"] == {"share": explainer.agreement.share, "inputs": 30}


def test_without_validation_it_is_unknown(tmp_path):
    keep = ModelCheckpoint(tmp_path, save_last=True)
    fit(module(), Pictures(8, batch_size=8), callbacks=[keep], enable_checkpointing=True)
    explainer = load_explainer(tmp_path / "last.ckpt")
    assert explainer.agreement is None
    assert "was not measured" in explainer.explain(pictures(1)[0][0])[0].doubt


@pytest.mark.parametrize(
    "found", [None, 3, {}, {"share": 2.0, "inputs": 5}, {"share": 0.5, "inputs": 0}, {"share": "a"}]
)
def test_what_is_no_agreement_is_unknown(found):
    assert Agreement.of(found) is None


def test_predictions_are_of_the_box_that_is_at_hand(tmp_path):
    model, data = module(), Pictures(12, batch_size=4)
    data.setup("predict")
    data.datasets["predict"] = data.datasets["test"]
    run = trainer(PredictionWriter(formats=["json"]), default_root_dir=tmp_path)
    found = run.predict(model, data.test_dataloader() if hasattr(data, "test_dataloader") else data)
    clean = SmoothBox()(pictures(12)[0])
    assert torch.equal(torch.cat([batch["target"] for batch in found]), clean.argmax(1))
    torch.testing.assert_close(torch.cat([batch["probability"] for batch in found]), clean.amax(1))
    torch.testing.assert_close(found[0]["attribution"], model(pictures(12)[0][:4], clean[:4].argmax(1)).detach())
    assert model.black_box.queries == 12


def test_trust_and_fidelity_of_the_maps_go_with_the_checkpoint(tmp_path):
    keep = ModelCheckpoint(tmp_path, save_last=True)
    options = {"enable_checkpointing": True, "limit_val_batches": None, "num_sanity_val_steps": 1}
    callbacks = [keep, Trust(queries=8, limit=20)]
    fit(module(), Pictures(30, batch_size=8), callbacks=callbacks, **options, limit_train_batches=1)
    explainer = load_explainer(tmp_path / "last.ckpt")
    assert float(explainer.trust.weights.sum()) == pytest.approx(1, abs=1e-2)
    assert explainer.meta["fidelity"]["inputs"] == 20
    assert Refined(explainer, SmoothBox()).trust is explainer.trust
    again = module()
    again.on_load_checkpoint(torch.load(tmp_path / "last.ckpt", weights_only=True))
    content = {}
    again.on_save_checkpoint(content)
    assert content["fex"]["trust"] == explainer.meta["trust"]
    assert content["fex"]["foresight"] == explainer.meta["foresight"]
    assert explainer.foresight.inputs == 20
    inputs = pictures(4)[0]
    torch.testing.assert_close(explainer.foresee(inputs), explainer.foresight(signs(explainer.net, inputs)))
    with pytest.raises(ValueError, match="queries >= 4"):
        Trust(queries=2)


def test_an_explainer_of_texts_learns_to_foresee_too(tmp_path):
    class Validated(on_texts.Sentences):
        def setup(self, stage):
            self.datasets = {part: TextRows(sentences(40), self.preprocess) for part in ("train", "val")}

    keep = ModelCheckpoint(tmp_path, save_last=True)
    options = {"enable_checkpointing": True, "limit_val_batches": None, "num_sanity_val_steps": 1}
    fit(on_texts.module(), Validated(batch_size=16), callbacks=[keep, Trust(queries=8, limit=30)], **options)
    explainer = load_explainer(tmp_path / "last.ckpt")
    assert explainer.foresight.inputs == 30  # batches of other lengths have as many signs
    assert explainer.meta["fidelity"]["inputs"] == 30
    told = explainer.foresee(explainer.tokenize(["a gem", "the film is a mess"]))
    assert bool((told > 0).all())
