"""A modality from outside: trained, kept, loaded and explained without an edit inside `fex`."""

import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

import fex
from fex.baselines import LIME, RISE, KernelSHAP, Random
from fex.black_box import CachedBlackBox
from fex.images import Mean
from fex.masking import masker_for
from fex.modality import Modality, modality_of
from fex.nets import ExplainerNet
from fex.policy import Antithetic, CompatibleControl, Retained, TwoSidedBudget
from lightning_modules import FEXModule
from tests.table_modality import ColumnEncoder, LinearTableBox, TableDataModule, TableExplanation

WEIGHTS, NAMES = [0.0, 4.0, 0.0, 0.1, 0.0, 0.0], ["age", "dose", "height", "weight", "pulse", "room"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained module and its checkpoint."""
    pl.seed_everything(0)
    trained = FEXModule(
        LinearTableBox(WEIGHTS, NAMES), None, ExplainerNet(ColumnEncoder(6), hidden=16, value_degree=2),
        reward=Retained(), num_masks=8, noise=Antithetic(), exploration=TwoSidedBudget(-2, 2),
        control=CompatibleControl(), entropy_weight=0.05, kl_weight=0.1,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-2),
    )  # fmt: skip
    trainer = pl.Trainer(
        max_epochs=10, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        enable_checkpointing=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(trained, datamodule=TableDataModule(6))
    path = tmp_path_factory.mktemp("table") / "last.ckpt"
    trainer.save_checkpoint(path)
    return trained, path


def test_training_finds_the_column_that_counts(run):
    trained, _ = run
    inputs = torch.randn(200, 6, generator=torch.Generator().manual_seed(5))
    inputs = inputs[inputs[:, 1].abs() > 0.5]
    rates = trained(inputs, trained.black_box(inputs).argmax(1))
    assert (rates.argmax(1) == 1).float().mean() > 0.9


def test_a_checkpoint_is_enough(run, tmp_path):
    trained, path = run
    explainer = fex.load_explainer(path)
    assert isinstance(explainer, fex.AmortizedExplainer)
    inputs = torch.randn(3, 6)
    assert explainer.attribute(inputs, 1).equal(trained(inputs, torch.ones(3, dtype=torch.int64)))
    row = dict(zip(NAMES, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], strict=True))
    (found,) = explainer.explain(row, black_box=trained.black_box)
    assert isinstance(found, TableExplanation)
    assert (found.target_name, found.queries, found.method, found.removal) == ("yes", 1, "FEX", "typical value")
    assert found.to_dict()["columns"].keys() == set(NAMES)
    assert "dose" in found.save(tmp_path / "one.json").read_text()
    assert [each.target for each in fex.explain([row, row], explainer, top_k=2)][:2] in ([1, 0], [0, 1])
    with pytest.raises(ValueError, match=r"Got rows of shape \(1, 5\)"):
        explainer.attribute(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="has 6 numbers|reads its inputs by|give the box"):
        explainer.check_box(LinearTableBox([1.0] * 6))


@pytest.mark.parametrize(
    "method",
    [
        lambda box: Random(box.features),
        lambda box: RISE(box, box.features, num_masks=64),
        lambda box: LIME(box, box.features, num_masks=64),
        lambda box: KernelSHAP(box, box.features, num_masks=64),
    ],
)
def test_the_baselines_of_any_modality_explain_rows(method):
    box = LinearTableBox(WEIGHTS, NAMES)
    explainer = method(box)
    (found,) = fex.explain(torch.full((1, 6), 2.0), explainer, black_box=box)
    assert isinstance(found, TableExplanation)
    if not isinstance(explainer, Random):
        assert found.values.argmax() == 1


def test_what_is_of_images_alone_says_so():
    box = LinearTableBox(WEIGHTS)
    with pytest.raises(ValueError, match="takes tables"):
        CachedBlackBox(box)
    with pytest.raises(ValueError, match="of image features.* use Typical"):
        masker_for(box, box.features, Mean())


def test_a_checkpoint_names_nothing_that_is_imported(run):
    """In a process that did not import the modality its checkpoint is refused, and nothing of it is imported."""
    code = f"""
import sys, fex
try:
    fex.load_explainer({str(run[1])!r})
except ValueError as error:
    assert "'table' is not known here, only image, text: import the package" in str(error), error
else:
    raise SystemExit("loaded")
assert not any(name.startswith("tests") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_may_name_no_other_encoder(run, tmp_path):
    content = torch.load(run[1], weights_only=True)
    content["fex"]["net"]["encoder"]["class_path"] = "os.system"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="names the encoder 'os.system', expected one of"):
        fex.load_explainer(tmp_path / "other.ckpt")


def test_two_modalities_cannot_share_a_name():
    with pytest.raises(ValueError, match="'image' is that of .*ImageModality already"):
        type("Mine", (Modality,), {"name": "image"})
    with pytest.raises(ValueError, match="'video' is not known here"):
        modality_of("video")
