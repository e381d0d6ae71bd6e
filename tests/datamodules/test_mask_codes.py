"""What the values of ground-truth masks mean: told where that is certain, refused by name where it is not."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import Segmentation
from datamodules.mask_codes import MaskCode, read_mask
from fex.images import Preprocess

SIZE = (30, 40)  # (h, w)
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def shape(value, border=None, dtype=np.uint8):
    """An object of `value` at rows 5 ... 19, columns 8 ... 23, perhaps with a border of two pixels around it."""
    mask = np.zeros(SIZE, dtype)
    if border is not None:
        mask[3:22, 6:26] = border
    mask[5:20, 8:24] = value
    return mask


def palette(mask, colours=VOC):
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([v for colour in colours for v in colour] + [224, 224, 192] * (256 - len(colours)))
    return image


def written(root, masks, suffix="png"):
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for number, mask in enumerate(masks):
        image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        image.save(root / "masks" / f"{number}.{suffix}")
        Image.new("RGB", image.size, (200, 10, 10)).save(root / "images" / f"{number}.jpg")
    return root


def batch_of(root, **options):
    data = Segmentation(str(root), preprocess=Preprocess(*SIZE, squash=True), batch_size=8, **options)
    data.setup("test")
    found = next(iter(data.test_dataloader()))
    count = len(data.datasets["test"])
    return data, found["masks"][:count], found["ignored"][:count]


OBJECT = torch.from_numpy(shape(1) == 1)
BORDER = torch.from_numpy(shape(1, 2) == 2)


@pytest.mark.parametrize(
    ("mask", "border"),
    [
        (shape(255), False),
        (shape(1), False),
        (shape(1, 255), True),
        (shape(255).astype(bool), False),
        (shape(65535, dtype=np.uint16), False),
        (shape(1, dtype=np.uint16), False),
        (palette(shape(2)), False),
        (palette(shape(2, 255)), True),
        (palette(shape(255, 0)), None),
        (palette(shape(2, 1), [(0, 0, 0), (255, 255, 255), (255, 255, 255)]), "inside"),  # two indices of one colour
        (palette(1 - shape(1), [(255, 255, 255), (0, 0, 0)]), False),  # black and white, in the other order
        (np.stack([shape(255)] * 3, -1), False),
        (np.stack([shape(255), np.full(SIZE, 255, np.uint8)], -1), False),
    ],
    ids=["white", "ones", "ones_void", "bits", "white16", "ones16", "voc", "voc_void", "voc_only_void", "same_colour",
         "inverse", "rgb", "grey_alpha"],
)  # fmt: skip
def test_codes_that_are_told_from_the_masks(mask, border, tmp_path):
    root = written(tmp_path, [mask])
    if border is None:
        with pytest.raises(ValueError, match="None of 1 masks has a foreground.*values are 0, 255"):
            batch_of(root)
        return
    _, masks, ignored = batch_of(root)
    assert torch.equal(masks[0], OBJECT | BORDER if border == "inside" else OBJECT)
    assert torch.equal(ignored[0], BORDER if border is True else torch.zeros_like(OBJECT))


def test_grey_edges_count_from_half_of_white(tmp_path):
    mask = shape(255)
    mask[4, 8:24] = np.linspace(10, 240, 16)
    _, masks, ignored = batch_of(written(tmp_path, [mask, shape(255)]))
    expected = OBJECT.clone()
    expected[4, 8:24] = torch.from_numpy(mask[4, 8:24] > 127)
    assert torch.equal(masks[0], expected)
    assert not ignored.any()


def test_a_jpeg_is_noisy_black_and_white(tmp_path):
    _, masks, _ = batch_of(written(tmp_path, [shape(255)], "jpg"))
    assert (masks[0] == OBJECT).float().mean() > 0.99


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([shape(15, 255)], "0.png has values 0, 15, 255, which can mean several things"),
        ([shape(2, 3)], "has values 0, 2, 3, which can mean"),
        ([shape(255), shape(1)], "two codes: .*0.png is black and white, .*1.png indices"),
        ([shape(255), palette(shape(2))], "two codes"),
        ([shape(0), shape(0)], "None of 2 masks has a foreground, such as .*0.png: their values are 0,"),
        ([np.stack([shape(128), shape(0), shape(64)], -1)], r"2 colours \(RGB: \(0, 0, 0\), \(128, 0, 64\)\)"),
        ([np.stack([shape(255)] * 3 + [shape(255)], -1)], "has transparent pixels"),
    ],
)  # fmt: skip
def test_other_codes_are_refused_with_the_values_found(masks, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        batch_of(written(tmp_path, masks))


@pytest.mark.parametrize(
    ("options", "mask", "border"),
    [
        ({"foreground": 15}, shape(15, 255), True),
        ({"foreground": [15, 16]}, shape(16, 255), True),
        ({"foreground": "nonzero"}, shape(15, 255), True),
        ({"foreground": 1, "ignore": 3}, shape(1, 3), True),
        ({"foreground": 2, "ignore": None}, shape(2, 1), False),
        ({"foreground": 255}, shape(255, 1), False),
        ({"ignore": 128}, shape(255, 128), True),
        ({"foreground": "bright", "ignore": None}, shape(200, 100), False),
        ({"foreground": 2}, palette(shape(2, 1)), False),
    ],
)
def test_what_the_values_mean_can_be_said(options, mask, border, tmp_path):
    _, masks, ignored = batch_of(written(tmp_path, [mask]), **options)
    assert torch.equal(masks[0], OBJECT)
    assert torch.equal(ignored[0], BORDER if border else torch.zeros_like(OBJECT))


@pytest.mark.parametrize("foreground", ["white", [], [1, -1], True, 1.5])
def test_a_foreground_that_no_mask_can_have(foreground):
    with pytest.raises(ValueError, match="Got foreground=.*expected values >= 0, 'nonzero' or 'bright', or null"):
        MaskCode(foreground)


def test_a_later_mask_of_another_code_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("datamodules.mask_codes.SAMPLED", 2)
    root = written(tmp_path, [shape(255), shape(1), shape(255)])
    with pytest.raises(ValueError, match="1.png has values 0, 1, others are black and white"):
        batch_of(root)


def test_masks_without_foreground_are_named_and_counted(tmp_path, caplog):
    corner = np.zeros((40, 80), np.uint8)
    corner[:5, :5] = 255  # outside the central square
    root = written(tmp_path, [shape(255), shape(0), corner])
    data = Segmentation(str(root), preprocess=Preprocess(20, 20), batch_size=4)
    data.setup("test")
    with caplog.at_level(logging.WARNING, "datamodules"):
        list(data.test_dataloader())
        list(data.test_dataloader())
    assert [record.getMessage() for record in caplog.records] == [
        "The mask of 1.jpg has no foreground (it has none in the file).",
        "The mask of 2.jpg has no foreground (the crop has cut it off).",
    ]
    (remark,) = data.remarks()
    assert remark.startswith("2 of the 3 masks of the test data have no foreground")


def test_images_that_a_list_names(tmp_path):
    root = written(tmp_path, [palette(shape(1)), palette(shape(2)), palette(shape(2))])
    (root / "masks" / "1.png").unlink()  # an image without a mask, as most of VOC's are
    (root / "val.txt").write_text("0\n2 1\n\n")
    data, masks, _ = batch_of(root, listed="val.txt")
    assert data.datasets["test"].names == ["0.jpg", "2.jpg"]
    assert masks.any((1, 2)).all()
    (root / "val.txt").write_text("7\n")
    with pytest.raises(FileNotFoundError, match="val.txt names '7', which is not in 'images'"):
        batch_of(root, listed="val.txt")
    with pytest.raises(FileNotFoundError, match="no list of images"):
        batch_of(root, listed="train.txt")


@pytest.mark.data
def test_ecssd_is_black_and_white(data_dir):
    files = sorted((data_dir / "seg_ecssd" / "masks").iterdir())
    assert MaskCode().settled(files) == MaskCode("bright", told=True)
    assert read_mask(files[0]).found == {0, 255}
