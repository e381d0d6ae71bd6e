import pytest
import torch

from datamodules import FlipCrop, HorizontalFlip


def test_flip_mirrors_where_the_noise_is_low():
    inputs = torch.rand(2, 3, 4, 4)
    out = HorizontalFlip()(inputs, torch.tensor([[0.1], [0.9]]))
    assert torch.equal(out[0], inputs[0].flip(-1))
    assert torch.equal(out[1], inputs[1])


def test_crop_moves_the_window_by_up_to_the_padding():
    inputs = torch.rand(3, 3, 6, 6)
    noise = torch.tensor([[0.9, 0.5, 0.5], [0.9, 0.0, 0.999], [0.1, 0.5, 0.5]])
    out = FlipCrop(padding=2)(inputs, noise)
    assert torch.equal(out[0], inputs[0])  # the middle window is the picture
    assert torch.equal(out[1][:, 2:, :4], inputs[1][:, :4, 2:])  # up by 2, right by 2
    assert torch.equal(out[2], inputs[2].flip(-1))


def test_rows_are_augmented_one_by_one():
    inputs, noise = torch.rand(5, 3, 8, 8), torch.rand(5, 3)
    whole = FlipCrop(padding=3)(inputs, noise)
    each = torch.cat([FlipCrop(padding=3)(inputs[i : i + 1], noise[i : i + 1]) for i in range(5)])
    assert torch.equal(whole, each)


def test_padding_is_checked():
    with pytest.raises(ValueError, match="negative"):
        FlipCrop(padding=-1)
