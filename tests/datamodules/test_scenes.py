import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from datamodules.scenes import SCENE_CLASSES, Scenes, make_scene
from fex.images import Preprocess


@pytest.fixture(scope="module")
def scenes():
    data = [make_scene(0, "train", index) for index in range(1200)]
    images, labels, masks = (np.stack(part) for part in zip(*data, strict=True))
    return images, labels, masks


def test_same_arguments_same_pixels_and_others_differ():
    image, label, mask = make_scene(3, "val", 41)
    again = make_scene(3, "val", 41)
    assert np.array_equal(image, again[0])
    assert label == again[1] == 41 % 8
    assert np.array_equal(mask, again[2])
    for other in [(4, "val", 41), (3, "test", 41), (3, "val", 49)]:
        assert not np.array_equal(image, make_scene(*other)[0])


def test_datamodule_holds_the_instances_made_alone():
    data = Scenes(num_train=16, num_val=8, num_test=9, data_seed=5, batch_size=4)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [len(batch["labels"]) for batch in batches] == [4, 4, 4]
    assert torch.cat([batch["valid"] for batch in batches]).sum() == 9
    image, label, mask = make_scene(5, "test", 6)
    assert torch.equal(batches[1]["inputs"][2], torch.from_numpy(image).float() / 255)
    assert batches[1]["labels"][2] == label
    assert torch.equal(batches[1]["masks"][2], torch.from_numpy(mask))


def test_classes_balanced(scenes):
    assert np.bincount(scenes[1]).tolist() == [150] * len(SCENE_CLASSES)


def test_masks_are_of_plausible_size_and_inside(scenes):
    masks = scenes[2]
    rows, columns = masks.any(2), masks.any(1)
    extent = np.maximum(rows.sum(1), columns.sum(1))
    assert extent.min() >= 9
    assert extent.max() <= 32
    border = masks[:, [0, -1]].any() or masks[:, :, [0, -1]].any()
    assert not border
    assert 0.01 < masks.mean() < 0.12


def test_mask_is_where_the_class_is_painted(scenes):
    """The same random numbers with another class change the picture at the two objects and nowhere else."""
    from datamodules.scene_painter import paint_scene

    for seed in range(20):
        one, mask_one = paint_scene(2, 64, np.random.default_rng(seed))
        two, mask_two = paint_scene(6, 64, np.random.default_rng(seed))
        changed = np.abs(one.astype(int) - two).max(0) > 40
        union = mask_one | mask_two
        assert changed.sum() > 10
        # A shadow or a blurred edge reaches a little farther.
        grown = np.zeros_like(union)
        for dy in range(-6, 7):
            for dx in range(-6, 7):
                grown |= np.roll(union, (dy, dx), (0, 1))
        assert not (changed & ~grown).any()
        assert (mask_one & ~mask_two).any()


def test_colour_does_not_tell_the_class(scenes):
    images, labels, _ = scenes
    pixels = images.reshape(len(images), 3, -1)
    mean = pixels.mean(2) / 255
    histogram = np.stack([((pixels >= low) & (pixels < low + 32)).mean(2) for low in range(0, 256, 32)], 1)
    for features in (mean, histogram.reshape(len(images), -1)):
        model = LogisticRegression(max_iter=500).fit(features[:900], labels[:900])
        assert model.score(features[900:], labels[900:]) < 0.3


def test_shape_tells_the_class(scenes):
    """The task can be learnt: what is under the mask, centred, separates the classes well above colour."""
    images, labels, masks = scenes
    profile = []
    for image, mask in zip(images, masks, strict=True):
        y, x = np.nonzero(mask)
        radius = np.hypot(y - y.mean(), x - x.mean())
        edges = np.linspace(0, radius.max() + 1e-6, 7)
        profile.append(np.histogram(radius, edges)[0] / len(y))
        grey = image.mean(0)[mask]
        profile[-1] = np.append(profile[-1], grey.std() / 64)
    model = LogisticRegression(max_iter=2000, C=100).fit(profile[:900], labels[:900])
    assert model.score(profile[900:], labels[900:]) > 0.6


@pytest.mark.parametrize(("preprocess", "size"), [(None, 64), (Preprocess(96, 96), 96), (Preprocess(32, 48), None)])
def test_geometry_of_the_black_box(preprocess, size):
    data = Scenes(num_train=8, num_val=8, num_test=8, batch_size=8, preprocess=preprocess)
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    shape = (size, size) if size else (32, 48)
    assert batch["inputs"].shape == (8, 3, *shape)
    assert batch["masks"].shape == (8, *shape)
    assert 0 <= batch["inputs"].min() <= batch["inputs"].max() <= 1


def test_other_size():
    image, _, mask = make_scene(0, "train", 3, size=128)
    assert image.shape == (3, 128, 128)
    assert 20 <= mask.any(0).sum() <= 64


@pytest.mark.parametrize(
    ("arguments", "message"), [({"size": 8}, "at least 32"), ({"data_seed": -1}, "must not be negative")]
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**arguments)
