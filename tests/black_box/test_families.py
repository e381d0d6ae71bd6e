"""Every family of image classifiers: the library's own pixels, and the same answer alone as in a batch."""

import numpy as np
import pytest
import timm
import torch
import transformers
from packaging.version import Version
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from fex.black_box import TimmBlackBox, TransformersBlackBox
from fex.black_box.timm import preprocess_of_timm
from tests.families import TIMM, TRANSFORMERS, blobs, save_transformers, timm_net

SIZES = ((500, 375), (333, 257), (257, 391))  # width, height


SLOW = {  # near relatives of others here
    "tiny vit", "coat", "mobilevit", "regnet", "densenet", "ghostnet", "efficientvit", "mobilenet v4", "davit",
    "vit msn", "deit distilled", "dinov2 of registers", "convnext v2", "hgnet", "siglip", "levit", "swin v2",
    "focalnet", "mobilenet v1", "bit",
}  # fmt: skip


def families(names):
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


def pictures():
    """Waves: a shift by one pixel shows."""
    for width, height in SIZES:
        y, x = np.mgrid[0:height, 0:width]
        waves = [np.sin(x / 17 + y / 29), np.cos(x / 37 - y / 19), np.sin((x + y) / 23)]
        yield Image.fromarray((np.stack(waves, 2) * 100 + 128).astype(np.uint8))


def check_batches(box, truth, *, varied=True):
    """Alone, in a batch and in chunks the box answers what the network says."""
    inputs = blobs(5, box.preprocess.height)
    answer = box(inputs)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (box.mean, box.std))
    with torch.no_grad():
        expected = truth((inputs - mean) / std).softmax(1)
    spread = float(answer.std(0).max())
    assert spread > 1e-4 or not varied  # else little is compared
    tolerance = 0.03 * spread if varied else 1e-3
    alone = torch.cat([box(row[None]) for row in inputs])
    box.chunk = 2
    for other in (expected, alone, box(inputs)):
        assert (other - answer).abs().max() < tolerance
    assert torch.allclose(answer.sum(1), torch.ones(5), atol=1e-5)


@pytest.mark.parametrize("family", families(TIMM))
def test_timm(family, tmp_path):
    family = TIMM[family]
    net = timm_net(family)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    arguments = {**family.args, "num_classes": 3}
    box = TimmBlackBox(family.model, weights=str(tmp_path / "net.pth"), model_args=arguments)
    size = {"input_size": (3, family.size, family.size)} if "img_size" in family.args else {}
    data = timm.data.resolve_model_data_config(net, size)
    transform = timm.data.create_transform(**{**data, "mean": (0, 0, 0), "std": (1, 1, 1)})
    for picture in pictures():
        assert torch.equal(box.preprocess(picture), transform(picture))
    box.preprocess = box.preprocess.__class__(family.size, family.size)
    check_batches(box, net)


GEOMETRIES = {
    (cfg.input_size, cfg.crop_pct, cfg.crop_mode, cfg.interpolation)
    for cfg in map(timm.get_pretrained_cfg, timm.list_models(pretrained=True))
    if cfg.crop_mode != "border" and max(cfg.input_size) < 400
}


def test_every_geometry_that_timms_weights_have():
    picture = list(pictures())[1]
    assert len(GEOMETRIES) > 50
    odd = (3, 96, 128)  # of no weights, but of `img_size`; older timm rounds its sides otherwise
    others = {(odd, 0.9, "squash", "box")}
    if Version(timm.__version__) >= Version("1.0.31"):
        others.add((odd, 0.9, "center", "bicubic"))
    for size, share, mode, interpolation in GEOMETRIES | others:
        data = {"input_size": size, "crop_pct": share, "crop_mode": mode, "interpolation": interpolation}
        transform = timm.data.create_transform(**data, mean=(0, 0, 0), std=(1, 1, 1))
        assert torch.equal(preprocess_of_timm(data)(picture), transform(picture)), data


def test_a_geometry_of_timm_that_is_not_known():
    with pytest.raises(ValueError, match="crop_mode 'border', which fex does not do: set `preprocess`"):
        preprocess_of_timm(
            {"input_size": (3, 8, 8), "crop_pct": 1.0, "crop_mode": "border", "interpolation": "bicubic"}
        )


@pytest.mark.parametrize("family", families(TRANSFORMERS))
def test_transformers(family, tmp_path):
    if family == "pvt" and Version(transformers.__version__) < Version("5"):
        pytest.skip("transformers 4 reads its own files of Pvt as if they had 1,000 classes")
    folder = save_transformers(TRANSFORMERS[family], tmp_path)
    box = TransformersBlackBox(folder)
    processor = AutoImageProcessor.from_pretrained(folder)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (box.mean, box.std))
    for picture in pictures():
        theirs = processor(picture, return_tensors="pt")["pixel_values"][0]
        theirs = theirs.flip(0) if box._flips else theirs
        ours = box.preprocess(picture)
        assert ours.shape == theirs.shape
        assert ((theirs * std + mean) - ours).abs().max() < 2.5 / 255  # PIL's kernels and torch's round differently
    net = AutoModelForImageClassification.from_pretrained(folder).eval()
    if TRANSFORMERS[family].model:
        net = type(box.module).from_pretrained(folder).eval()
    # The random networks of these two see next to no difference between inputs.
    varied = family not in ("mobilevit", "efficientnet")
    check_batches(box, lambda inputs: net(inputs.flip(1) if box._flips else inputs).logits, varied=varied)
