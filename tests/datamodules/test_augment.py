import pytest
import torch

from datamodules import FlipCrop, HorizontalFlip, ResizedCrop


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


def test_a_resized_crop_shows_the_window_that_the_noise_says():
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    inputs = torch.stack([rows / 40, columns / 60, torch.zeros(40, 60)]).unsqueeze(0)
    crop = ResizedCrop((0.25, 1.0))
    whole = crop(inputs, torch.tensor([[1.0, 0.5, 0.5, 0.5, 0.9]]))
    assert torch.allclose(whole, inputs, atol=1e-5)
    assert torch.allclose(crop(inputs, torch.tensor([[1.0, 0.5, 0.5, 0.5, 0.1]])), inputs.flip(-1), atol=1e-5)
    corner = crop(inputs, torch.tensor([[0.0, 0.5, 0.0, 1.0, 0.9]]))  # a quarter of the area, left and bottom
    assert torch.allclose(corner[0, 1, 0], torch.linspace(-0.25, 29.25, 60).clamp_min(0) / 60, atol=1e-5)
    assert torch.allclose(corner[0, 0, :, 0], (20 + torch.linspace(-0.25, 19.25, 40)).clamp_max(39) / 40, atol=1e-5)


def test_a_resized_crop_has_the_share_of_the_area_and_a_mild_shape():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    inputs = torch.stack([rows, columns, columns]).expand(500, -1, -1, -1) / 32
    noise = torch.rand(500, 5)
    out = ResizedCrop((0.4, 0.8))(inputs, noise)
    height = (out[:, 0, 20, 0] - out[:, 0, 10, 0]).abs() * 32 / 10
    width = (out[:, 1, 0, 20] - out[:, 1, 0, 10]).abs() * 32 / 10
    assert torch.allclose(height * width, 0.4 + 0.4 * noise[:, 0], atol=1e-3)
    assert (width / height).min() >= 0.749
    assert (width / height).max() <= 1.334
    assert (out.amin() >= 0) & (out.amax() <= 1)
    each = torch.cat([ResizedCrop((0.4, 0.8))(inputs[i : i + 1], noise[i : i + 1]) for i in range(5)])
    assert torch.equal(each, out[:5])


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.8, 0.4), (0.5, 1.1)])
def test_the_scale_of_a_crop_is_checked(scale):
    with pytest.raises(ValueError, match="scale needs two shares of the area"):
        ResizedCrop(scale)
