import pytest
import torch

from fex.masking import hard_masks, smooth_cells, smooth_masks
from fex.seeding import pixel_seeds


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("keep_rate", [0.2, 0.5, 0.9])
def test_hard_masks_keep_at_their_rate(keep_rate):
    masks = hard_masks(4000, 5, generator(), keep_rate=keep_rate)
    assert masks.shape == (4000, 5)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    error = (keep_rate * (1 - keep_rate) / 4000) ** 0.5
    assert ((masks.mean(0) - keep_rate).abs() < 4 * error).all()


def test_masks_are_a_function_of_the_seed():
    assert torch.equal(hard_masks(9, 7, generator(3)), hard_masks(9, 7, generator(3)))
    assert not torch.equal(hard_masks(9, 7, generator(3)), hard_masks(9, 7, generator(4)))


def test_smooth_masks_have_the_keep_rate_everywhere():
    cells, shifts = smooth_cells(3000, generator(), cells=4, keep_rate=0.3)
    masks = smooth_masks(cells, shifts, (14, 10))
    assert masks.shape == (3000, 14, 10)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert (masks.mean(0) - 0.3).abs().max() < 4 * (0.3 * 0.7 / 3000) ** 0.5


def test_smooth_masks_move_by_their_shift():
    # One cell is 4 pixels: a shift of half a cell is 2 pixels down.
    cells = torch.rand(1, 3, 3, generator=generator())
    still = smooth_masks(cells, torch.tensor([[0.0, 0.0]]), (12, 12))
    moved = smooth_masks(cells, torch.tensor([[0.5, 0.25]]), (12, 12))
    torch.testing.assert_close(moved[:, :-2, :-1], still[:, 2:, 1:])


def test_smooth_masks_are_bilinear_between_cells():
    # Two columns, 0 and 1, upsampled to three cells of 4 pixels: the ramp rises evenly between the cells' centres.
    masks = smooth_masks(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.zeros(1, 2), (8, 8))
    centres = (torch.arange(8) + 0.5) * 2 / 12 - 0.5  # in cells, as the three cells' 12 pixels stretch over two
    torch.testing.assert_close(masks[0, 3], centres.clamp(0, 1))


def test_pixel_seeds_do_not_depend_on_the_batch():
    inputs = torch.rand(4, 3, 5, 5)
    together = pixel_seeds(inputs, 1)
    assert together == [pixel_seeds(row.unsqueeze(0), 1)[0] for row in inputs]
    assert len(set(together)) == 4
    assert set(together).isdisjoint(pixel_seeds(inputs, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hard_masks(0, 3, generator()), "Got 0 masks, expected at least 1"),
        (lambda: hard_masks(2, 3, generator(), keep_rate=1.0), "keep_rate=1.0, expected a probability strictly"),
        (lambda: smooth_cells(2, generator(), cells=0), "cells=0, expected at least 1"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
