from itertools import permutations

import pytest
import torch

from fex.images import Black, PatchGrid
from fex.masking import Masker, masked_probabilities
from tests.toys import LinearBox, PatchBox, TableBox, all_masks, white

GRID = PatchGrid(2, 2)


def scores(box, masks):
    return masked_probabilities(box, Masker(GRID, Black(), box.mean), white(1), masks[None])[0, :, 1]


def test_all_masks():
    masks = all_masks(3)
    assert masks.shape == (8, 3)
    assert masks[6].tolist() == [0, 1, 1]
    assert len({tuple(row) for row in masks.tolist()}) == 8


def test_patch_box_sees_its_patch_alone():
    masks = all_masks(4)
    assert torch.allclose(scores(PatchBox(GRID, 2), masks), torch.where(masks[:, 2] == 1, 0.95, 0.05))


def test_table_box_is_its_table():
    table = torch.rand(16)
    assert torch.allclose(scores(TableBox(GRID, table), all_masks(4)), table)
    with pytest.raises(ValueError, match="2\\^N"):
        TableBox(GRID, table[:8])


def test_linear_box_shapley_values_by_permutations():
    box = LinearBox(GRID, [0.1, -0.2, 0.4, 0.0], bias=0.3)
    inputs = torch.rand(1, 3, 8, 8)
    masker = Masker(GRID, Black(), box.mean)
    total = torch.zeros(4)
    for order in permutations(range(4)):
        masks = torch.zeros(5, 4)
        for step, feature in enumerate(order):
            masks[step + 1 :, feature] = 1
        values = masked_probabilities(box, masker, inputs, masks[None])[0, :, 1]
        total[list(order)] += values.diff()
    assert torch.allclose(box.shapley(inputs, masker.blank(inputs))[0], total / 24, atol=1e-6)
    with pytest.raises(ValueError, match="4 weights"):
        LinearBox(GRID, [0.9, 0.9, 0.0, 0.0])
