"""Windows and the saliency sum, against the expectation over all windows by enumeration."""

import pytest
import torch

from fex.iassa import saliency_sum, window_boxes, window_centres, window_masks
from fex.iassa.schedule import Sweep, centres_within, window_weights


@pytest.mark.parametrize(("size", "stride", "side"), [((9, 12), 2.0, 5), ((7, 7), 1.0, 1), ((10, 6), 2.6, 3)])
def test_every_pixel_is_seen_and_windows_are_of_their_size(size, stride, side):
    centres = window_centres(size, stride)
    boxes = window_boxes(centres, side, size)
    masks = window_masks(boxes, size)
    assert masks.any(0).all()
    inside = (centres - (side - 1) / 2 >= 0).all(1) & (centres + (side - 1) / 2 <= torch.tensor(size) - 1).all(1)
    assert (masks[inside].flatten(1).sum(1) == side * side).all()
    steps = centres[1:, 1] - centres[:-1, 1]
    assert torch.allclose(steps[steps > 0], torch.tensor(stride, dtype=torch.float64))


@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("stride", [1.0, 2.0])
def test_no_window_is_asked_twice(side, stride):
    centres = window_centres((32, 32), stride)
    masks = window_masks(window_boxes(centres, side, (32, 32)), (32, 32))
    assert len(masks.flatten(1).unique(dim=0)) == len(centres)


@pytest.mark.parametrize("window", ["keep", "remove"])
def test_the_saliency_sum_is_the_expectation_over_all_windows(window):
    size, side = (8, 11), 4
    boxes = window_boxes(window_centres(size, 1.7), side, size)
    scores = torch.rand(len(boxes))
    found = saliency_sum(boxes, scores, size, window)
    for row in range(size[0]):
        for column in range(size[1]):
            kept = [
                float(score)
                for (top, left, bottom, right), score in zip(boxes.tolist(), scores, strict=True)
                if (top <= row < bottom and left <= column < right) == (window == "keep")
            ]
            expected = sum(kept) / len(kept) if kept else 0.0
            assert float(found[row, column]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("window", ["keep", "remove"])
def test_windows_laid_more_densely_count_no_more(window):
    """The expectation over windows anywhere is not moved by where most of them were laid."""
    size, side = (24, 24), 6
    region = torch.zeros(size, dtype=torch.bool)
    region[6:16, 8:20] = True
    coarse = window_centres(size, 2.0)
    dense = centres_within(window_centres(size, 0.5 * 2), region)
    sweeps = [Sweep(coarse, None, 1 / 4), Sweep(dense, region, 1.0)]

    def score(centres):  # of a window, by where it is once it lies on whole pixels
        centres = (centres - (side - 1) / 2 + 0.5).floor() + (side - 1) / 2
        return torch.exp(-(centres - 11.5).square().sum(1) / 40)

    centres = torch.cat([coarse, dense])
    boxes = window_boxes(centres, side, size)
    exact_centres = window_centres(size, 1.0)
    exact = saliency_sum(window_boxes(exact_centres, side, size), score(exact_centres), size, window)
    weighted = saliency_sum(boxes, score(centres), size, window, window_weights(sweeps))
    counted = saliency_sum(boxes, score(centres), size, window)
    assert (weighted - exact).abs().mean() < 0.5 * (counted - exact).abs().mean()


def test_weights_of_one_sweep_are_alike_and_scale_away():
    centres = window_centres((9, 9), 3.0)
    weights = window_weights([Sweep(centres, None, 1 / 9)])
    assert torch.equal(weights, torch.ones(len(centres), dtype=torch.float64))
    boxes, scores = window_boxes(centres, 5, (9, 9)), torch.rand(len(centres))
    for window in ("keep", "remove"):
        plain = saliency_sum(boxes, scores, (9, 9), window)
        torch.testing.assert_close(saliency_sum(boxes, scores, (9, 9), window, 7 * weights), plain)
    some = torch.rand(len(centres), dtype=torch.float64) + 0.5
    masks = window_masks(boxes, (9, 9)).double()
    expected = torch.einsum("k,khw->hw", some * scores, masks) / torch.einsum("k,khw->hw", some, masks)
    torch.testing.assert_close(saliency_sum(boxes, scores, (9, 9), weights=some), expected.float())


def test_a_pixel_never_kept_is_zero():
    boxes = torch.tensor([[0, 0, 2, 2]])
    assert saliency_sum(boxes, torch.ones(1), (3, 3))[2, 2] == 0
    assert saliency_sum(boxes, torch.ones(1), (3, 3), "remove")[0, 0] == 0


def test_errors():
    with pytest.raises(ValueError, match=r"stride=0.5, expected at least 1"):
        window_centres((4, 4), 0.5)
    with pytest.raises(ValueError, match="window of 0 pixels"):
        window_boxes(torch.zeros(1, 2), 0, (4, 4))
    with pytest.raises(ValueError, match="one score a window"):
        saliency_sum(torch.zeros(2, 4, dtype=torch.int64), torch.zeros(3), (4, 4))
    with pytest.raises(ValueError, match="expected 'keep' or 'remove'"):
        saliency_sum(torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1), (4, 4), "drop")
