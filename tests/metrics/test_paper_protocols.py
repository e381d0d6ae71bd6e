"""Protocols of RISE, DAX and IASSA on a black box whose answers are known."""

from dataclasses import replace

import pytest
import torch

from fex.black_box import CallableBlackBox
from fex.images import Black, PatchGrid
from fex.masking.sampling import incorrect_classes
from fex.metrics import Attributed, ProtocolScores, SaCo, get_protocol
from fex.metrics.functional import (
    activated_region,
    confusion,
    deletion_curve,
    f1_score,
    foreground_iou,
    insertion_curve,
    region_deletion_curve,
    salient_region,
    top_activated,
)

SIZE = 8


def box():
    """Class 0 by mean brightness; the picture is white, so the probability is the share of pixels kept."""
    return CallableBlackBox(lambda x: torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1), num_classes=2)


def data(maps, masks=None):
    inputs = torch.ones(len(maps), 3, SIZE, SIZE)
    return Attributed(inputs, PatchGrid(4, 4).pool(maps), maps, PatchGrid(4, 4), box()(inputs), None, masks)


def square():
    masks = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    masks[0, 2:6, 2:6] = True
    return masks


def test_regions_by_hand():
    maps = torch.zeros(2, SIZE, SIZE)
    maps[0, :2, :2] = 5.0  # mean 5 / 16, sd 5 sqrt(15) / 16
    assert torch.equal(salient_region(maps)[0], maps[0] > 0)
    assert not salient_region(maps)[1].any()
    assert not salient_region(torch.full((1, 7, 7), 0.1)).any()
    ramp = torch.arange(11.0).view(1, 1, 11)
    assert int(activated_region(ramp, 0.3).sum()) == 7  # 4 ... 10 of 0 ... 10
    assert top_activated(ramp).tolist() == [4.0]  # 7 ... 10
    assert top_activated(torch.zeros(1, 3, 3)).tolist() == [9.0]


def test_iou_and_f1_by_sets():
    generator = torch.Generator().manual_seed(0)
    predicted, masks = torch.rand(2, 5, SIZE, SIZE, generator=generator).gt(0.5).unbind(0)
    counts = confusion(predicted, masks)
    for row in range(5):
        a = set(predicted[row].flatten().nonzero().flatten().tolist())
        b = set(masks[row].flatten().nonzero().flatten().tolist())
        assert float(foreground_iou(counts)[row]) == pytest.approx(len(a & b) / len(a | b))
        assert float(f1_score(counts)[row]) == pytest.approx(2 * len(a & b) / (len(a) + len(b)))
    assert foreground_iou(confusion(masks & False, masks & False)).isnan().all()


def test_deletion_and_insertion_follow_the_share_of_pixels():
    maps = torch.rand(2, SIZE, SIZE)
    inputs, black_box = torch.ones(2, 3, SIZE, SIZE), box()
    fractions, common = (0.0, 0.25, 0.5, 1.0), (inputs, maps, torch.zeros(2, dtype=torch.int64), black_box(inputs))
    deleted = deletion_curve(black_box, Black(), *common, fractions=fractions)
    inserted = insertion_curve(black_box, Black(), *common, fractions=fractions)
    assert torch.allclose(deleted, 1 - torch.tensor(fractions).expand(2, -1), atol=1e-6)
    assert torch.allclose(inserted, torch.tensor(fractions).expand(2, -1), atol=1e-6)


def test_order_matters_where_the_evidence_is_in_one_place():
    """Class 0 by one pixel: deleting by the right map drops at once, inserting by it rises at once."""
    black_box = CallableBlackBox(lambda x: torch.stack([x[:, 0, 2, 3], 1 - x[:, 0, 2, 3]], 1), num_classes=2)
    inputs, maps = torch.ones(1, 3, SIZE, SIZE), torch.zeros(1, SIZE, SIZE)
    maps[0, 2, 3] = 1
    common = (inputs, maps, torch.zeros(1, dtype=torch.int64), black_box(inputs))
    fractions = [i / 64 for i in range(65)]
    assert deletion_curve(black_box, Black(), *common, fractions=fractions)[0].tolist() == [1.0] + [0.0] * 64
    assert insertion_curve(black_box, Black(), *common, fractions=fractions)[0].tolist() == [0.0] + [1.0] * 64


def test_rise_area_is_the_authors_rule():
    protocol = get_protocol("rise")
    curve = torch.rand(225)
    area = (curve.sum() - curve[0] / 2 - curve[-1] / 2) / 224
    assert torch.allclose(protocol.auc(curve), area, atol=1e-5)
    assert (protocol.fractions[0], protocol.fractions[-1]) == (0.0, 1.0)


def test_region_deletion_removes_the_region_and_no_more():
    black_box = CallableBlackBox(  # class 0 while more than 60 of 64 pixels are there
        lambda x: torch.stack([(x.mean((1, 2, 3)) > 60 / 64).float(), (x.mean((1, 2, 3)) <= 60 / 64).float()], 1),
        num_classes=2,
    )
    inputs, maps = torch.ones(2, 3, SIZE, SIZE), torch.zeros(2, SIZE, SIZE)
    maps[0, 0, :8] = 1.0  # 8 pixels: half of them is one too many
    maps[1, 0, :3] = 1.0  # 3 pixels: never
    curve = region_deletion_curve(
        black_box, Black(), inputs, maps, torch.zeros(2, dtype=torch.int64), levels=(0.0, 0.25, 0.5, 1.0)
    )
    assert curve.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    with pytest.raises(ValueError, match="shares of the salient region"):
        region_deletion_curve(black_box, Black(), inputs, maps, torch.zeros(2, dtype=torch.int64), levels=(2.0,))


def test_dax_iou_reports_mean_and_deviation():
    masks = square().expand(2, -1, -1).clone()
    maps = masks.float()
    maps[1] = 0
    maps[1, 2:4, 2:6] = 1  # half of it
    scores = ProtocolScores("dax-iou")
    scores.update(get_protocol("dax-iou").evaluate(box(), data(maps, masks)), torch.arange(2))
    assert {name: float(value) for name, value in scores.compute().items()} == pytest.approx(
        {"iou": 0.75, "iou_sd": 0.25, "precision": 1.0, "recall": 0.75}
    )


def test_dax_iou_tells_a_region_elsewhere_from_one_that_is_too_small():
    masks = square().expand(3, -1, -1)
    maps = torch.zeros(3, SIZE, SIZE)
    maps[0, 2, 2] = 1  # one pixel of the object's 16
    maps[1, 2:6, 4:7] = 1  # 8 of its 16 pixels, and 4 beside it
    found = get_protocol("dax-iou").evaluate(box(), data(maps, masks))  # the last marks nothing
    assert found["precision"].tolist() == pytest.approx([1, 8 / 12, 0])
    assert found["recall"].tolist() == pytest.approx([1 / 16, 8 / 16, 0])


def test_interval_iou_is_one_dimensional():
    masks = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    masks[..., 2:4] = True
    maps = torch.zeros(1, SIZE, SIZE)
    maps[0, 3, 2] = 4.0  # one band of the event's first frame
    found = get_protocol("interval-iou").evaluate(box(), data(maps, masks))["iou_moments"]
    assert found[0].tolist() == pytest.approx([0.5, 0.25])


def test_iassa_at_image_and_pixel_level():
    masks = square()
    maps = masks.float() + 0.01 * torch.rand(1, SIZE, SIZE)
    black_box = box()
    found = get_protocol("iassa").evaluate(black_box, data(maps, masks))
    assert black_box.queries == 2 * 28
    assert float(found["f1"]) == float(found["iou"]) == float(found["pointing_game"]) == 1.0
    assert float(found["iou_per_pixel"]) == pytest.approx(1 / 16)
    grey = sum(black_box.mean) / 3  # what is left when everything is deleted
    assert float(found["deletion"]) == pytest.approx((1 + grey) / 2, abs=0.02)
    assert float(found["insertion"]) == pytest.approx(1.0)  # blurring a white picture leaves it white
    assert set(found) == set(get_protocol("iassa").components)


@pytest.mark.parametrize("name", ["dax-iou", "dax-iou-incorrect", "interval-iou", "iassa"])
def test_data_without_masks_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' compares maps with ground-truth masks"):
        get_protocol(name).evaluate(box(), data(torch.rand(1, SIZE, SIZE)))


@pytest.mark.parametrize("name", ["rise", "dax", "dax-iou", "interval-iou", "iassa"])
def test_components_have_the_width_they_promise(name):
    protocol = get_protocol(name)
    found = protocol.evaluate(box(), data(torch.rand(2, SIZE, SIZE), square().expand(2, -1, -1)))
    widths = {key: 1 if value.ndim == 1 else value.shape[1] for key, value in found.items()}
    assert widths == dict(protocol.components)
    assert set(protocol.describe(PatchGrid(4, 4))) == {"removal", "unit"}


def test_the_explained_class_is_scored_where_it_is_not_the_predicted_one():
    maps = torch.rand(2, SIZE, SIZE)
    predicted, other = data(maps), replace(data(maps), target=torch.tensor([1, 1]))
    for name, key in (("rise", "deletion_curve"), ("rise", "insertion_curve"), ("dax", "deletion_curve")):
        first, second = (get_protocol(name).evaluate(box(), each)[key] for each in (predicted, other))
        torch.testing.assert_close(second, 1 - first, atol=1e-5, rtol=0)  # the other of two classes


@pytest.mark.parametrize("name", ["dax-iou", "interval-iou"])
def test_an_instance_without_the_event_has_no_iou(name):
    masks = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    masks[0, 2:6, 3:5] = True
    maps = masks[:1].float().expand(2, -1, -1)
    protocol = get_protocol(name)
    moments = protocol.evaluate(box(), data(maps, masks))["iou_moments"]
    assert moments[0].tolist() == [1.0, 1.0]
    assert moments[1].isnan().all()
    scores = ProtocolScores(protocol)
    scores.update(protocol.evaluate(box(), data(maps, masks)), torch.arange(2))
    assert {scores.intervals(resamples=10)[name][1] for name in ("precision", "recall")} == {1}
    interval, count = scores.intervals(resamples=10)["iou"]
    assert (interval.value, count) == (1.0, 1)
    found = get_protocol("iassa").evaluate(box(), data(maps, masks))
    for value in ("f1", "iou", "pointing_game"):
        assert found[value].isnan().tolist() == [False, True]


@pytest.mark.parametrize("protocol", [SaCo("saco", groups=8), get_protocol("infidelity")], ids=lambda each: each.name)
def test_effects_are_those_on_the_explained_class(protocol):
    """The other of two classes has the opposite effects: a map is as right as its negative for the other class."""
    maps = torch.rand(2, 4, 4).repeat_interleave(2, 1).repeat_interleave(2, 2)
    inputs, values = torch.rand(2, 3, SIZE, SIZE), []
    for target, sign in ((0, 1), (1, -1)):
        given = replace(data(sign * maps), inputs=inputs, clean=box()(inputs), target=torch.tensor([target, target]))
        values.append(next(iter(protocol.evaluate(box(), given).values())))
    assert values[0].isfinite().all()
    torch.testing.assert_close(*values)


def test_incorrect_iou_is_that_of_the_explanation_of_another_class():
    """A method that ignores the class scores as in `dax-iou`, one that points elsewhere for other classes 0."""
    masks = square().expand(4, -1, -1)
    own, elsewhere = masks.float(), (~masks).float()
    clean = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    asked = []

    def blind(inputs, target):
        asked.append(target)
        return own.flatten(1), own

    def discriminating(inputs, target):
        return elsewhere.flatten(1), elsewhere

    given = replace(data(own, masks), inputs=torch.rand(4, 3, SIZE, SIZE), clean=clean)
    protocol = get_protocol("dax-iou-incorrect")
    first = protocol.evaluate(box(), replace(given, explain=blind))
    again = get_protocol("dax-iou").evaluate(box(), given)
    torch.testing.assert_close(first["iou_moments"], again["iou_moments"], rtol=0, atol=0)
    assert (asked[0] != clean.argmax(1)).all()
    other = protocol.evaluate(box(), replace(given, explain=discriminating))["iou_moments"]
    assert other.tolist() == [[0, 0]] * 4
    scores = ProtocolScores(protocol)
    scores.update(first, torch.arange(4))
    assert {name: float(value) for name, value in scores.compute().items()} == {
        "incorrect_iou": 1.0, "incorrect_iou_sd": 0.0
    }  # fmt: skip
    with pytest.raises(ValueError, match="asks the explainer again"):
        protocol.evaluate(box(), given)


def test_incorrect_classes_are_any_but_the_predicted_one_with_equal_chances():
    inputs, clean = torch.rand(3000, 1, 2, 2), torch.tensor([[0.1, 0.6, 0.2, 0.1]]).expand(3000, -1)
    found = incorrect_classes(inputs, clean, 0)
    counts = found.bincount(minlength=4).tolist()
    assert counts[1] == 0
    assert all(900 < counts[index] < 1100 for index in (0, 2, 3))
    assert torch.equal(incorrect_classes(inputs[7:9], clean[:2], 0), found[7:9])  # whatever the batch
    assert not torch.equal(incorrect_classes(inputs, clean, 1), found)
    with pytest.raises(ValueError, match="at least 2 classes, this one has 1"):
        incorrect_classes(inputs, torch.ones(3000, 1), 0)


@pytest.mark.parametrize("name", ["dax-iou", "interval-iou", "iassa", "seg"])
def test_ignored_pixels_change_no_score(name):
    """Whatever the masks say there; without them, they do."""
    maps, masks = torch.rand(2, SIZE, SIZE), torch.rand(2, SIZE, SIZE) < 0.4
    ignored = torch.zeros_like(masks)
    ignored[:, :, 2:] = True
    masks[:, 0, 0] = True
    found = [
        get_protocol(name).evaluate(box(), replace(data(maps, masks & given), ignored=ignored))
        for given in (torch.ones_like(masks), ~ignored)
    ]
    for key in found[0]:
        torch.testing.assert_close(found[0][key], found[1][key], equal_nan=True)
    whole = get_protocol(name).evaluate(box(), data(maps, masks | ignored))
    assert any(not torch.equal(whole[key], found[0][key]) for key in whole)
