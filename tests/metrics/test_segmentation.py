import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score

from fex.images import PatchGrid
from fex.metrics import Attributed, ProtocolScores, get_protocol
from fex.metrics.functional import (
    average_precision,
    confusion,
    foreground,
    mean_iou,
    normalise_maps,
    pixel_accuracy,
    pointing_game,
    two_class_average_precision,
)


@pytest.fixture
def scene():
    """Maps with ties (few levels) and masks of any size."""
    maps = (torch.rand(6, 9, 7) * 5).round() / 5
    masks = torch.rand(6, 9, 7) < torch.tensor([0.05, 0.2, 0.5, 0.8, 0.95, 0.5])[:, None, None]
    masks[:, 0, 0] = True
    return maps, masks


def test_average_precision_is_scikit_learns(scene):
    maps, masks = scene
    expected = [average_precision_score(t.flatten(), s.flatten()) for s, t in zip(maps, masks, strict=True)]
    torch.testing.assert_close(average_precision(maps, masks), torch.tensor(expected).float())


def test_two_class_average_precision_is_scikit_learns(scene):
    maps, masks = scene
    scaled = normalise_maps(maps)
    expected = [
        average_precision_score(
            np.concatenate([(~t).flatten(), t.flatten()]), np.concatenate([(1 - s).flatten(), s.flatten()])
        )
        for s, t in zip(scaled, masks, strict=True)
    ]
    torch.testing.assert_close(two_class_average_precision(maps, masks), torch.tensor(expected).float())


def test_accuracy_and_iou_over_the_data_set_are_scikit_learns(scene):
    maps, masks = scene
    predicted = foreground(maps)
    counts = confusion(predicted, masks).sum(0)
    truth, guess = masks.flatten().numpy(), predicted.flatten().numpy()
    assert float(pixel_accuracy(counts)) == pytest.approx(accuracy_score(truth, guess))
    assert float(mean_iou(counts)) == pytest.approx(jaccard_score(truth, guess, average="macro"))


def test_foreground_is_above_the_mean_of_the_map():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 9.0]], [[5.0, 5.0], [5.0, 5.0]]])
    assert foreground(maps).tolist() == [[[False, False], [False, True]], [[False, False], [False, False]]]
    assert torch.equal(foreground(100 * maps - 7), foreground(maps))


def test_a_class_that_is_nowhere_leaves_the_other():
    assert float(mean_iou(torch.tensor([0, 0, 0, 9]))) == 1.0
    assert float(mean_iou(torch.tensor([0, 3, 0, 6]))) == pytest.approx((0 + 6 / 9) / 2)


def test_images_without_foreground_have_no_precision():
    maps, empty = torch.rand(1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool)
    assert average_precision(maps, empty).isnan().all()
    assert pointing_game(maps, empty).isnan().all()


def test_pointing_game():
    maps, masks = torch.zeros(1, 7, 7), torch.zeros(1, 7, 7, dtype=torch.bool)
    maps[0, 2, 2] = 1
    masks[0, 4, 4] = True  # sqrt(8) = 2.83 pixels away
    assert [float(pointing_game(maps, masks, tolerance)) for tolerance in (0, 2, 3)] == [0, 0, 1]
    maps[0, 4, 4] = 1
    assert float(pointing_game(maps, masks)) == 0.5


def scores(*parts):
    """Protocol `seg` of maps and masks (and pixels that are not counted), gathered as ranks are."""
    gathered, first = None, 0
    for maps, masks, ignored in parts:
        given = {"masks": masks, "ignored": ignored}
        data = Attributed(maps, maps.flatten(1), maps, PatchGrid(*maps.shape[1:]), maps, **given)
        own = ProtocolScores("seg")
        own.update(get_protocol("seg").evaluate(None, data), torch.arange(first, first + len(maps)))
        if gathered is not None:
            own.merge_state(gathered)
        gathered = own
        first += len(maps)
    return gathered.compute()


def test_sums_of_two_ranks_are_those_of_one(scene):
    maps, masks = scene
    masks = masks.clone()
    masks[5] = False  # an image without foreground
    got, expected = scores((maps[:3], masks[:3], None), (maps[3:], masks[3:], None)), scores((maps, masks, None))
    assert set(got) == {
        "pixel_accuracy",
        "mean_iou",
        "average_precision",
        "two_class_average_precision",
        "pointing_game",
    }
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)
    torch.testing.assert_close(expected["average_precision"], average_precision(maps[:5], masks[:5]).mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confusion(torch.ones(1, 2, 2) > 0, torch.ones(1, 2, 3) > 0), r"\(1, 2, 2\) and masks of shape"),
        (lambda: average_precision(torch.rand(1, 2), torch.ones(1, 2)), "masks of torch.float32, expected bool"),
        (lambda: average_precision(torch.full((1, 2), torch.nan), torch.ones(1, 2) > 0), "NaN or infinite"),
        (lambda: pointing_game(torch.rand(1, 2, 2), torch.ones(1, 2, 2) > 0, -1), "tolerance=-1"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ignored_pixels_are_as_if_they_were_not_there(scene):
    """Against scikit-learn, and against the same maps with those pixels cut out."""
    maps, masks = scene
    ignored = torch.rand(masks.shape) < 0.3
    ignored[:, 0, 0] = False
    predicted = foreground(maps)
    for row in range(len(maps)):
        kept, one = ~ignored[row], slice(row, row + 1)
        truth, own = masks[row][kept], maps[row][kept]
        skipped = (maps[one], masks[one], ignored[one])
        assert float(average_precision(*skipped)) == pytest.approx(average_precision_score(truth, own))
        scaled = normalise_maps(maps[one])[0][kept]
        both = average_precision_score(np.concatenate([~truth, truth]), np.concatenate([1 - scaled, scaled]))
        assert float(two_class_average_precision(*skipped)) == pytest.approx(both)
        counts = confusion(predicted[one], masks[one], ignored[one])
        assert torch.equal(counts, confusion(predicted[row][kept][None], truth[None]))
        top = own == own.max()
        hit = float((truth & top).sum() / top.sum())
        assert float(pointing_game(maps[one], masks[one], ignored=ignored[one])) == pytest.approx(hit)


def test_ignored_pixels_change_nothing_whatever_their_values(scene):
    maps, masks = scene
    ignored = torch.zeros_like(masks)
    ignored[:, 3:5] = True
    metric, other = scores((maps, masks, ignored)), scores((maps, masks ^ ignored, ignored))
    assert {k: float(v) for k, v in metric.items()} == {k: float(v) for k, v in other.items()}
    everything = torch.ones_like(masks)
    assert average_precision(maps, masks, everything).isnan().all()
    assert two_class_average_precision(maps, masks, everything).isnan().all()
    assert pointing_game(maps, masks, 2, everything).isnan().all()
    assert not confusion(foreground(maps), masks, everything).any()


def test_ignored_pixels_of_another_shape():
    with pytest.raises(ValueError, match="ignored pixels of shape"):
        confusion(torch.ones(1, 2, 2) > 0, torch.ones(1, 2, 2) > 0, torch.ones(1, 2) > 0)
