import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import fex
from fex.baselines import Random
from fex.explainers import export_explainer, load_explainer
from fex.storage.weights import save_weights
from tests.explainers.tiny import CLASSES, tiny_box, tiny_explainer, write_checkpoint


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer()


@pytest.fixture
def inputs():
    return torch.rand(3, 3, 16, 16)


def test_checkpoint_gives_the_same_explainer_without_box_or_data(tmp_path, explainer, inputs):
    loaded = load_explainer(write_checkpoint(tmp_path / "x.ckpt", explainer))
    torch.testing.assert_close(loaded.attribute(inputs), explainer.attribute(inputs), rtol=0, atol=0)
    assert loaded.class_names == CLASSES
    assert loaded.preprocess == explainer.preprocess
    assert (loaded.method, loaded.removal, loaded.black_box) == ("FEX", "mean", "toy")


def test_export_keeps_the_attribution_within_bfloat16(tmp_path, explainer, inputs):
    export_explainer(write_checkpoint(tmp_path / "x.ckpt", explainer), tmp_path / "x.safetensors")
    loaded = load_explainer(tmp_path / "x.safetensors")
    torch.testing.assert_close(loaded.attribute(inputs, 1), explainer.attribute(inputs, 1), rtol=0, atol=0.05)


def test_folder_of_a_run_means_its_last_checkpoint(tmp_path, inputs):
    (tmp_path / "checkpoints").mkdir()
    write_checkpoint(tmp_path / "checkpoints" / "epoch=0.ckpt", tiny_explainer(1))
    last = tiny_explainer(2)
    write_checkpoint(tmp_path / "checkpoints" / "last.ckpt", last)
    torch.testing.assert_close(load_explainer(tmp_path).attribute(inputs), last.attribute(inputs))


class _Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_tampered_checkpoint_does_not_run(tmp_path, explainer, writer):
    marker, path = tmp_path / "ran", tmp_path / "x.ckpt"
    content = {"state_dict": {}, "fex": explainer.meta, "more": _Payload(marker)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=r"without running code from it"):
        load_explainer(path)
    assert not marker.exists()
    torch.load(tmp_path / "x.ckpt", weights_only=False) if writer == "torch" else pickle.loads(path.read_bytes())
    assert marker.exists()  # the payload does work where code is allowed


def test_an_encoder_of_elsewhere_is_refused(tmp_path, explainer):
    net = {**explainer.meta["net"], "encoder": {"class_path": "os.system", "init_args": {"command": "true"}}}
    with pytest.raises(ValueError, match=r"names the encoder 'os.system', expected one of"):
        load_explainer(write_checkpoint(tmp_path / "x.ckpt", net=net))


def test_checkpoint_of_another_backbone_names_what_differs(tmp_path, explainer):
    net = explainer.meta["net"]
    wider = {**net["encoder"]["init_args"], "model_args": {"img_size": 16, "embed_dim": 64, "depth": 1, "num_heads": 2}}
    changed = {**net, "encoder": {**net["encoder"], "init_args": wider}}
    with pytest.raises(ValueError, match=r"x\.ckpt do not fit ExplainerNet: \d+ differ in shape"):
        load_explainer(write_checkpoint(tmp_path / "x.ckpt", net=changed))


def test_missing_checkpoint_lists_shipped_names(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "fex.storage.checkpoint.manifest", lambda: {"fex_a": {"kind": "explainer"}, "a": {"kind": "black_box"}}
    )
    with pytest.raises(FileNotFoundError, match=r"nope\.ckpt; shipped explainers: fex_a\."):
        load_explainer(tmp_path / "nope.ckpt")
    with pytest.raises(FileNotFoundError, match=r"Found no checkpoint \(\*\.ckpt\)"):
        load_explainer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_damaged_files_are_told(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.ckpt could not be read as a checkpoint"):
        load_explainer(tmp_path / "x.ckpt")


def test_other_files_are_told(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"is no FEX checkpoint"):
        load_explainer(tmp_path / "x.ckpt")
    save_weights(tmp_path / "box.safetensors", {"a": torch.zeros(1)}, {"kind": "black_box"})
    with pytest.raises(ValueError, match=r"holds a 'black_box', expected an explainer: use fex.load_black_box"):
        load_explainer(tmp_path / "box.safetensors")


@pytest.mark.parametrize(("key", "value"), [("preprocess", {"length": 3}), ("net", {}), ("grid", 4)])
def test_damaged_descriptions_are_told(tmp_path, key, value):
    with pytest.raises(ValueError, match=r"description in .*x\.ckpt is damaged"):
        load_explainer(write_checkpoint(tmp_path / "x.ckpt", **{key: value}))


def test_explain_takes_pictures_paths_and_tensors(tmp_path, explainer):
    image = Image.effect_noise((20, 24), 80).convert("RGB")
    image.save(tmp_path / "a.png")
    tensor = explainer.preprocess(image)
    results = [explainer.explain(given)[0] for given in (image, tmp_path / "a.png", str(tmp_path / "a.png"), tensor)]
    expected, target, probabilities = explainer.explain_batch(tensor[None])
    for result in results:
        torch.testing.assert_close(result.attribution, expected[0], rtol=0, atol=0)
        assert result.target == int(target)
        assert result.probability == pytest.approx(float(probabilities[0, target]))
        assert (result.probability_of, result.queries) == ("explainer", 0)
    assert results[1].source == str(tmp_path / "a.png")


def test_arrays_and_lists_are_pictures_too(tmp_path, explainer):
    images = [Image.effect_noise((20, 24), 80).convert("RGB"), Image.effect_noise((30, 18), 80).convert("RGB")]
    images[1].save(tmp_path / "b.png")
    first, second = explainer.explain([np.asarray(images[0]), tmp_path / "b.png"])
    for result, image in ((first, images[0]), (second, images[1])):
        torch.testing.assert_close(result.attribution, explainer.explain(image)[0].attribution)
    assert (first.source, second.source) == ("", str(tmp_path / "b.png"))
    wrapped = fex.explain([str(tmp_path / "b.png")] * 2, Random(explainer.features), black_box=tiny_box())
    assert [found.source for found in wrapped] == [str(tmp_path / "b.png")] * 2
    for bad, kind, message in (
        (np.zeros((20, 24), np.uint8), ValueError, r"\(20, 24\), uint8; expected \(h, w, 3\)"),
        (np.zeros((20, 24, 3)), ValueError, r"float64; expected \(h, w, 3\), uint8"),
        (3, TypeError, r"Got a int, expected a path, a PIL image"),
        ([], ValueError, r"Got an empty list"),
    ):
        with pytest.raises(kind, match=message):
            explainer.explain(bad)


def test_top_k_gives_the_classes_of_a_batch_in_order(explainer, inputs):
    results = explainer.explain(inputs, top_k=2)
    order = explainer.predict(inputs).sort(1, descending=True).indices[:, :2]
    assert [r.target for r in results] == order.flatten().tolist()
    for result, row in zip(results, (0, 0, 1, 1, 2, 2), strict=True):
        single = explainer.attribute_features(inputs[row : row + 1], result.target)[0]
        torch.testing.assert_close(result.attribution, single)


def test_targets_by_name_and_index(explainer, inputs):
    by_name = explainer.explain(inputs, "Crane")
    assert [r.target for r in by_name] == [2, 2, 2]
    torch.testing.assert_close(by_name[1].attribution, explainer.explain(inputs, "2")[1].attribution)
    torch.testing.assert_close(by_name[1].attribution, explainer.explain(inputs, 2)[1].attribution)
    assert not torch.equal(by_name[0].attribution, explainer.explain(inputs, 1)[0].attribution)


def test_a_black_box_gives_classes_and_probability_for_one_query(explainer, inputs):
    box = tiny_box()
    results = explainer.explain(inputs, top_k=2, black_box=box)
    assert box.queries == 3
    probabilities = tiny_box()(inputs)
    top = probabilities.topk(2)
    assert [r.target for r in results] == top.indices.flatten().tolist()
    torch.testing.assert_close(torch.tensor([r.probability for r in results]), top.values.flatten())
    assert {(r.queries, r.probability_of) for r in results} == {(1, "black box")}


def test_wrong_use_is_told(tmp_path, explainer, inputs):
    with pytest.raises(ValueError, match=r"Unknown class 'grate wite shark'\. Closest .*: great white shark"):
        explainer.explain(inputs, "grate wite shark")
    with pytest.raises(ValueError, match=r"Unknown class 'shark'\. Closest .* great white shark"):
        explainer.explain(inputs, "shark")
    with pytest.raises(ValueError, match=r"Class 5 is outside 0 \.\.\. 4"):
        explainer.explain(inputs, 5)
    with pytest.raises(ValueError, match=r"give one of the two"):
        explainer.explain(inputs, 1, top_k=2)
    with pytest.raises(ValueError, match=r"top_k must lie in 1 \.\.\. 5"):
        explainer.explain(inputs, top_k=6)
    with pytest.raises(ValueError, match=r"Got pixels in .* expected RGB in \[0, 1\]"):
        explainer.explain(inputs * 4 - 2)
    with pytest.raises(ValueError, match=r"expected \(B, 3, 16, 16\)"):
        explainer.explain(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=r"Got 2 targets for 3 inputs"):
        explainer.attribute(inputs, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"takes \(8, 8\) pixels .* give the box that it was trained on"):
        explainer.explain(inputs, black_box=tiny_box(size=8))
    with pytest.raises(FileNotFoundError, match=r"Found no picture at"):
        explainer.explain(tmp_path / "none.png")
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"bad\.png cannot be read as a picture"):
        explainer.explain(tmp_path / "bad.png")


def test_a_box_that_counts_its_classes_otherwise_is_refused():
    explainer = tiny_explainer()
    image = torch.rand(3, 16, 16)
    explainer.explain(image, black_box=tiny_box())
    explainer.explain(image, black_box=tiny_box(classes=[str(number) for number in range(5)]))  # without names
    explainer.explain(image, black_box=tiny_box(classes=[name.upper() for name in CLASSES]))
    with pytest.raises(ValueError, match="has class 'crane' in another place than this explainer: give the box"):
        explainer.explain(image, black_box=tiny_box(classes=[CLASSES[2], *CLASSES[:2], *CLASSES[3:]]))


def test_public_names(tmp_path, explainer, inputs):
    path = write_checkpoint(tmp_path / "x.ckpt", explainer)
    result = fex.explain(inputs[0], path, target=1)[0]
    torch.testing.assert_close(result.attribution, fex.load_explainer(path).attribute_features(inputs[:1], 1)[0])
    assert isinstance(result, fex.Explanation)
    assert set(fex.__all__) <= set(dir(fex))
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'"):
        fex.nothing  # noqa: B018


def test_explain_wraps_baselines_and_counts_their_queries(inputs):
    from fex.images import PatchGrid

    box = tiny_box()
    random = Random(PatchGrid(2, 2))
    with pytest.raises(ValueError, match=r"Random does not know what it explains: give `black_box`"):
        fex.explain(inputs, random)
    results = fex.explain(inputs, random, top_k=2, black_box=box)
    assert [r.target for r in results] == box(inputs).topk(2).indices.flatten().tolist()
    torch.testing.assert_close(results[2].attribution, random.attribute_features(inputs)[1])
    assert results[0].queries == 1
    assert results[0].method == "Random"


def test_explain_takes_explainers_of_pixels(inputs):
    from fex.baselines import SmoothRISE

    box = tiny_box()
    rise = SmoothRISE(box, num_masks=5, cells=2)
    result = fex.explain(inputs, rise, 1)[0]
    assert result.features.num_features == inputs.shape[-1] * inputs.shape[-2]
    torch.testing.assert_close(result.pixels(), rise.attribute(inputs, 1)[0])
    assert result.queries == 6
