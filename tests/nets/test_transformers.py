"""Networks of transformers as encoders: forward, where a token lies, what the classifier reads, and files."""

import pytest
import torch

from fex.black_box import TransformersBlackBox
from fex.explainers import explainer_meta, load_explainer
from fex.images import Mean, PatchGrid
from fex.nets import ExplainerNet, TransformersEncoder, rebuild
from tests.families import TRANSFORMERS, blobs, save_transformers

KINDS = ("vit", "deit", "beit", "dinov2", "swin", "convnext", "resnet")
COLOURS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    top = tmp_path_factory.mktemp("vision")
    return {kind: save_transformers(TRANSFORMERS[kind], top / kind.replace(" ", "_")) for kind in KINDS}


def side_of(kind):
    return 64 if kind in ("resnet", "convnext") else 32


@pytest.mark.parametrize("kind", KINDS)
def test_its_classes_are_the_classifiers_own_and_the_file_gives_the_same_answers(kind, folders, tmp_path):
    box = TransformersBlackBox(folders[kind])
    size = box.preprocess.size
    encoder = TransformersEncoder(folders[kind], mean=box.mean, std=box.std, class_head=True)
    inputs = blobs(3, size[0])
    found = encoder(inputs, (4, 4))
    assert found.tokens.shape == (3, 16, 256)
    torch.testing.assert_close(found.classes, box.differentiable(inputs), atol=1e-3, rtol=1e-3)
    assert found.local.shape == (3, 16, encoder.class_weight.shape[1])

    net = ExplainerNet(encoder, hidden=8).build(3, PatchGrid(4, 4))
    with torch.no_grad():
        net.weight.normal_()
        encoder.lateral[-1].weight.normal_()
    state = {f"explainer.{name}": tensor for name, tensor in net.state_dict().items()}
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, "fex": explainer_meta(net, box, Mean())}, path)
    loaded = load_explainer(path)
    torch.testing.assert_close(loaded.net.explain(inputs)[0], net.explain(inputs)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_lies_where_its_pixels_are(kind, folders):
    side = 4 * side_of(kind) if kind == "resnet" else side_of(kind)  # else each place sees most of the picture
    encoder = TransformersEncoder(folders[kind], **COLOURS)
    encoder.eval()
    inputs = torch.full((1, 3, side, side), 0.5)
    other = inputs.clone()
    other[..., : side // 2, side // 2 :] = blobs(1, side // 2)[0]  # top right
    with torch.no_grad():
        change = (encoder(other, (2, 2)).tokens - encoder(inputs, (2, 2)).tokens).norm(dim=-1)
    assert int(change.argmax()) == 1


def test_grids_that_are_not_square_keep_rows_and_columns():
    encoder = TransformersEncoder(
        config={"model_type": "convnext", "hidden_sizes": [8] * 4, "depths": [1] * 4, "num_labels": 3}, **COLOURS
    )
    inputs = torch.full((1, 3, 64, 128), 0.5)
    other = inputs.clone()
    other[..., :32, 96:] = 1.0
    with torch.no_grad():
        change = (encoder(other, (2, 4)).tokens - encoder(inputs, (2, 4)).tokens).norm(dim=-1)
    assert int(change.argmax()) == 3


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_a_vit_says_which_size_it_takes(kind, folders):
    assert TransformersEncoder(folders[kind], **COLOURS).size == (32, 32)
    assert TransformersEncoder(folders["resnet"], **COLOURS).size is None


def test_all_that_is_left_to_train_gets_a_gradient_and_a_frozen_one_keeps_its_weights(folders):
    for kind in ("vit", "swin", "resnet"):
        encoder = TransformersEncoder(folders[kind], class_head=True, **COLOURS)
        found = encoder(blobs(2, 32), (2, 2))
        (found.tokens.square().sum() + found.pooled.square().sum() + found.classes.sum() + found.local.sum()).backward()
        assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)
        frozen = TransformersEncoder(folders[kind], frozen=True, **COLOURS)
        assert not any(p.requires_grad for p in frozen.net.parameters())
        assert all(p.requires_grad for p in frozen.lateral.parameters())


def test_untrained_or_foreign_models_and_files_that_ask_for_one_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="either `model` or `config`"):
        TransformersEncoder(**COLOURS)
    with pytest.raises(OSError, match=r"is no folder of a transformers model \(it has no config.json\)"):
        TransformersEncoder(str(tmp_path), **COLOURS)
    net = ExplainerNet(TransformersEncoder(folders["vit"], **COLOURS), hidden=8).build(3, PatchGrid(2, 2))
    config = net.init_args
    config["encoder"]["init_args"] = {"model": "owner", **COLOURS}
    with pytest.raises(ValueError, match="asks for files or downloads"):
        rebuild(config, 3, PatchGrid(2, 2))


def test_the_classifier_of_two_heads_is_refused_for_class_head(tmp_path):
    folder = save_transformers(TRANSFORMERS["deit distilled"], tmp_path / "two")
    with pytest.raises(ValueError, match="class_head"):
        TransformersEncoder(folder, class_head=True, **COLOURS)
