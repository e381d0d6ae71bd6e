import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    BertConfig,
    ConvNextImageProcessor,
    DeiTImageProcessor,
    EfficientNetImageProcessor,
    MobileNetV2ImageProcessor,
    MobileViTImageProcessor,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from fex.black_box import TransformersBlackBox
from fex.black_box.processors import normalisation_of, preprocess_of
from fex.images import Preprocess

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
CONFIG = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 8,
}
NAMES = {0: "cat", 1: "dog", 2: "owl"}


def save(folder, model_class=ViTForImageClassification, processor=True, **options):
    torch.manual_seed(0)
    config = ViTConfig(**CONFIG, id2label=NAMES, label2id={name: i for i, name in NAMES.items()}, **options)
    model_class(config).save_pretrained(folder)
    if processor:
        made = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=MEAN, image_std=STD)
        made.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("hub") / "tiny-vit")


def test_agrees_with_the_model_and_its_own_processor(folder):
    box = TransformersBlackBox(folder)
    picture = Image.fromarray(np.random.randint(0, 256, (32, 32, 3), dtype=np.uint8))  # noqa: NPY002
    pixels = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        truth = ViTForImageClassification.from_pretrained(folder).eval()(pixels).logits.softmax(1)
    assert torch.allclose(box(box.preprocess(picture)[None]), truth, atol=1e-5)


def test_metadata(folder):
    box = TransformersBlackBox(folder)
    assert box.class_names == ["cat", "dog", "owl"]
    assert (box.mean, box.std) == (pytest.approx(MEAN), pytest.approx(STD))
    assert box.preprocess == Preprocess(32, 32, interpolation="bilinear", squash=True)
    assert box.name == "tiny-vit"
    assert not box.multi_label
    assert not any(parameter.requires_grad for parameter in box.module.parameters())
    assert not box.module.training


def changed(folder, file="config.json", **changes):
    path = Path(folder) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize("count", [2, 5])
def test_a_head_of_another_shape_than_the_config_is_told_with_both(tmp_path, count):
    names = {str(number): f"class {number}" for number in range(count)}
    path = changed(save(tmp_path), id2label=names, label2id={name: int(key) for key, name in names.items()})
    with pytest.raises(ValueError, match=r"do not fit its config.json: classifier.bias has shape .*, the config makes"):
        TransformersBlackBox(path)


def test_pictures_that_the_network_does_not_take_are_told_with_both_sizes(tmp_path):
    path = changed(save(tmp_path), "preprocessor_config.json", size={"height": 48, "width": 48})
    with pytest.raises(ValueError, match="takes pictures of 32 x 32 pixels .* would be given 48 x 48: mend"):
        TransformersBlackBox(path)
    assert TransformersBlackBox(path, preprocess={"height": 32, "width": 32}).preprocess == Preprocess(32, 32)


def test_filters_that_do_not_work_are_told(tmp_path, monkeypatch):
    path = save(tmp_path)
    with pytest.raises(ValueError, match=r"Got resample=9 .* expected one of 0 \(nearest\), 1 \(lanczos\)"):
        TransformersBlackBox(changed(path, "preprocessor_config.json", resample=9))

    def failing(*_, **__):
        raise NotImplementedError("got box")

    monkeypatch.setattr(ViTImageProcessor, "preprocess", failing)
    with pytest.raises(ValueError, match=r"by the filter 'box', which .* set `resample` .* to 0 \(nearest\), 1"):
        TransformersBlackBox(changed(path, "preprocessor_config.json", resample=4))


def test_settings_win(folder):
    own = Preprocess(32, 32, 40)
    box = TransformersBlackBox(
        folder, class_names=["a", "b", "c"], preprocess=own, mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), name="mine"
    )
    assert (box.class_names, box.preprocess, box.mean, box.name) == (["a", "b", "c"], own, (0.5, 0.5, 0.5), "mine")
    with pytest.raises(ValueError, match="own names in another order"):
        TransformersBlackBox(folder, class_names=["owl", "cat", "dog"])
    with pytest.raises(ValueError, match="2 class_names and num_classes=3"):
        TransformersBlackBox(folder, class_names=["a", "b"])


def test_gradients(folder):
    box = TransformersBlackBox(folder)
    inputs = torch.rand(2, 3, 32, 32, requires_grad=True)
    logits = box.differentiable(inputs)
    assert torch.allclose(logits.softmax(1), box(inputs.detach()), atol=1e-5)
    logits.sum().backward()
    assert inputs.grad.abs().sum() > 0


def test_multi_label_config(tmp_path):
    box = TransformersBlackBox(save(tmp_path, problem_type="multi_label_classification"))
    inputs = torch.rand(2, 3, 32, 32)
    assert box.multi_label
    assert torch.allclose(box(inputs), box.differentiable(inputs).sigmoid(), atol=1e-5)


def test_no_processor(tmp_path):
    folder = save(tmp_path, processor=False)
    with pytest.raises(ValueError, match="no preprocessor_config.json .*set `preprocess`, `mean` and `std`"):
        TransformersBlackBox(folder)
    box = TransformersBlackBox(folder, preprocess=Preprocess(32, 32), mean=MEAN, std=STD)
    assert box(torch.rand(1, 3, 32, 32)).shape == (1, 3)


def test_headless_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lack 2 tensors of ViTForImageClassification .first: classifier.bias."):
        TransformersBlackBox(save(tmp_path, model_class=ViTModel))


def test_unreachable_hub():
    with pytest.raises(OSError, match="(?s)Could not get 'nobody/nothing' from the hub .*give a local folder"):
        TransformersBlackBox("nobody/nothing")


def test_empty_folder(tmp_path):
    with pytest.raises(OSError, match="no folder of a transformers model .it has no config.json.: expected"):
        TransformersBlackBox(str(tmp_path))


def test_folder_without_weights(folder, tmp_path):
    (tmp_path / "config.json").write_text((Path(folder) / "config.json").read_text())
    with pytest.raises(OSError, match="no folder of a transformers model .*as `save_pretrained` writes them"):
        TransformersBlackBox(str(tmp_path))


def test_model_of_another_task(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is no image classifier that transformers can build .*BertConfig"):
        TransformersBlackBox(str(tmp_path))


def test_code_of_a_model_is_never_run(tmp_path):
    folder = save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.update(model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForImageClassification": "evil.M"})
    (tmp_path / "config.json").write_text(json.dumps(config))
    mark = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w')")
    with pytest.raises(ValueError, match="is no image classifier that transformers can build"):
        TransformersBlackBox(folder)
    assert not mark.exists()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda box: pickle.loads(pickle.dumps(box))])
def test_copies(folder, copied):
    box = TransformersBlackBox(folder)
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.equal(copied(box)(inputs), box(inputs))


PROCESSORS = {
    "squash": ViTImageProcessor(size={"height": 20, "width": 20}),
    "crop": MobileNetV2ImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 20, "width": 20}),
    "crop share": ConvNextImageProcessor(size={"shortest_edge": 20}, crop_pct=0.8),
    "squash from 384": ConvNextImageProcessor(size={"shortest_edge": 384}, crop_pct=0.8),
    "divided twice": EfficientNetImageProcessor(size={"height": 20, "width": 20}, image_std=(0.4, 0.5, 0.6)),
    "offset": EfficientNetImageProcessor(
        size={"height": 20, "width": 20}, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False
    ),
    "neither": ViTImageProcessor(size={"height": 20, "width": 20}, do_rescale=False, do_normalize=False),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_processors_are_reproduced(kind):
    """The derived resize, crop and normalisation give what the processor itself gives, on a smooth picture."""
    processor = PROCESSORS[kind]
    rows, columns = np.mgrid[0:36, 0:50]
    picture = Image.fromarray(np.stack([rows * 4, columns * 4, 200 - rows - columns], 2).astype(np.uint8))
    truth = processor(picture, return_tensors="pt")["pixel_values"][0]
    plain = processor.to_dict()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalisation_of(plain))
    got = (preprocess_of(plain)(picture) - mean) / std
    assert got.shape == truth.shape
    assert ((got - truth).abs() * std).mean() < 0.01  # pixels in [0, 1]; the resizing kernels differ a little


def test_squash_before_a_crop():
    plain = DeiTImageProcessor(size={"height": 24, "width": 24}, crop_size={"height": 20, "width": 20}).to_dict()
    assert preprocess_of(plain) == Preprocess(20, 20, (24, 24), "bicubic", squash=True, corner="floor")


def test_size_left_open():
    assert preprocess_of({"do_resize": False}) is None
    assert preprocess_of({"do_resize": True, "size": {"longest_edge": 20}}) is None
    assert preprocess_of({"do_resize": True, "size": 20, "resample": 3}) == Preprocess(20, 20, squash=True)


def test_channel_order_is_flipped(folder, tmp_path):
    flipped = save(tmp_path, processor=False)
    MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(flipped)
    box = TransformersBlackBox(flipped)
    inputs = torch.rand(2, 3, 32, 32)
    plain = TransformersBlackBox(folder, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert torch.allclose(box(inputs), plain(inputs.flip(1)), atol=1e-5)
    assert not torch.allclose(box(inputs), plain(inputs), atol=1e-5)
