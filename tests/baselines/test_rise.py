import pytest
import torch

from fex.baselines import RISE, SmoothRISE
from fex.baselines.rise import mean_score_of_kept
from fex.images import Black, Blur, PatchGrid
from fex.masking import Masker, smooth_masks
from tests.toys import LinearBox, all_masks, white

GRID = PatchGrid(2, 3)
WEIGHTS = torch.tensor([0.05, 0.3, 0.1, 0.2, 0.15, 0.1])
EXACT = 0.1 + WEIGHTS + (WEIGHTS.sum() - WEIGHTS) / 2  # E[f | m_i = 1] under independent halves


def linear(**options):
    return LinearBox(GRID, WEIGHTS, bias=0.1, size=12, **options)


def test_all_masks_give_the_conditional_expectation():
    masker, target = Masker(GRID, Black()), torch.tensor([1, 0])
    got = mean_score_of_kept(linear(), masker, white(2, 12), target, all_masks(6).split(7))
    torch.testing.assert_close(got[0], EXACT)
    torch.testing.assert_close(got[1], 1 - EXACT)


def test_sampled_masks_come_near_it():
    rise = RISE(linear(), GRID, Black(), num_masks=4000)
    got = rise.attribute_features(white(1, 12), 1)[0]
    spread = (WEIGHTS.square().sum() / 4).sqrt()  # of f under the masks
    assert ((got - EXACT).abs() < 4 * spread / 2000**0.5).all()


def test_a_feature_never_kept_gets_zero():
    masks = torch.ones(5, 6)
    masks[:, 2] = 0
    got = mean_score_of_kept(linear(), Masker(GRID, Black()), white(1, 12), torch.tensor([1]), [masks])
    assert got[0, 2] == 0
    assert (got[0, [0, 1, 3, 4, 5]] > 0.8).all()


@pytest.mark.parametrize("keep_rate", [0.2, 0.8])
def test_the_keep_rate_is_used(keep_rate):
    rise = RISE(linear(), GRID, Black(), num_masks=3000, keep_rate=keep_rate)
    exact = 0.1 + WEIGHTS + (WEIGHTS.sum() - WEIGHTS) * keep_rate
    torch.testing.assert_close(rise.attribute_features(white(1, 12), 1)[0], exact, atol=0.03, rtol=0)


def test_smooth_rise_is_the_weighted_mean_of_its_masks():
    box, inputs = linear(), torch.rand(2, 3, 12, 12)
    rise = SmoothRISE(box, Black(), num_masks=40, cells=3, seed=5)
    masks = smooth_masks(rise.cells, rise.shifts, (12, 12))
    expected = torch.zeros(2, 12, 12)
    for image, out in zip(inputs, expected, strict=True):
        scores = torch.stack([box(image[None] * mask)[0, 1] for mask in masks])
        out.copy_((scores[:, None, None] * masks).sum(0) / masks.sum(0))
    torch.testing.assert_close(rise.attribute(inputs, 1), expected)


@pytest.mark.parametrize("make", [lambda b: RISE(b, GRID, Blur(2.0)), lambda b: SmoothRISE(b, Blur(2.0), num_masks=30)])
def test_chunks_bound_what_is_held_and_change_nothing(make, monkeypatch):
    inputs = torch.rand(3, 3, 12, 12)
    whole = make(linear()).attribute(inputs, 1)
    held = []
    rows = Masker.rows

    def spy(self, *args):
        held.append(len(args[-1]))
        return rows(self, *args)

    monkeypatch.setattr(Masker, "rows", spy)
    torch.testing.assert_close(make(linear(chunk=7)).attribute(inputs, 1), whole)
    assert max(held) <= 7


def test_queries_are_the_masks_and_the_unnamed_target():
    box = linear()
    RISE(box, GRID, num_masks=11).attribute(torch.rand(2, 3, 12, 12), 1)
    assert box.queries == 22
    SmoothRISE(box, num_masks=9).attribute(torch.rand(2, 3, 12, 12))
    assert box.queries == 22 + 18 + 2


def test_errors():
    with pytest.raises(ValueError, match="Got 0 masks"):
        RISE(linear(), GRID, num_masks=0)
    with pytest.raises(ValueError, match="keep_rate=0"):
        SmoothRISE(linear(), keep_rate=0)
    with pytest.raises(ValueError, match="outside the 2 classes"):
        RISE(linear(), GRID).attribute(white(1, 12), 2)
