"""Chunked attention against the explicit matrix, and its memory."""

import pytest
import torch

from fex.iassa import BackboneFeatures, SpatialAttention, fuse_levels, spatial_attention


@pytest.mark.parametrize("chunk", [1, 7, 512])
@pytest.mark.parametrize("scale", [1.0, 5.0, 50.0])  # the last is beyond what a symmetric kernel can hold
def test_equals_the_explicit_matrix(chunk, scale):
    features, values = torch.randn(30, 8), torch.rand(30)
    matrix = (scale * features.double() @ features.double().T).softmax(1)
    assert torch.allclose(matrix.sum(1), torch.ones(30, dtype=torch.float64))
    found = spatial_attention(features, values, scale=scale, chunk=chunk)
    assert torch.allclose(found.double(), matrix @ values.double(), atol=1e-5)


def test_what_is_kept_gives_the_next_maps():
    features = torch.nn.functional.normalize(torch.randn(300, 8), dim=1) * 2
    attention, maps = SpatialAttention(features, chunk=64, keep=True), torch.rand(3, 300)
    found = [attention(values) for values in maps]
    assert len(attention._kept) == 5
    assert all(part.dtype == torch.float16 for part in attention._kept)
    for values, one in zip(maps, found, strict=True):
        torch.testing.assert_close(one, spatial_attention(features, values), atol=1e-4, rtol=0)
    assert torch.equal(found[0], spatial_attention(features, maps[0], chunk=64))
    assert not SpatialAttention(torch.zeros(12_700, 1), keep=True).keep  # more than 160 MB


@pytest.mark.parametrize("longest", [2.0, 7.8])
def test_what_is_kept_is_right_for_places_of_other_lengths_too(longest):
    """exp(-23) is nothing in half precision, and yet most of what the short place attends to is the long one."""
    features = torch.tensor([[1.0], [longest], [0.5]])
    attention, values = SpatialAttention(features, keep=True), torch.tensor([0.0, 1.0, 0.3])
    expected = (features @ features.T).softmax(1) @ values
    for _ in range(2):
        torch.testing.assert_close(attention(values), expected, atol=1e-3, rtol=0)
    assert bool(attention._kept) == (longest == 2.0)


def test_places_alike_share_their_values():
    features = torch.eye(2).repeat_interleave(torch.tensor([3, 5]), 0) * 20
    values = torch.tensor([1.0, 0.0, 0.5, 0, 0, 0, 0, 1.0])
    expected = torch.tensor([0.5] * 3 + [0.2] * 5)
    assert torch.allclose(spatial_attention(features, values), expected, atol=1e-5)


def test_levels_are_brought_to_the_first_and_normalised():
    levels = [torch.randn(2, 3, 8, 6), torch.randn(2, 5, 4, 3)]
    fused = fuse_levels(levels)
    assert fused.shape == (2, 8, 8, 6)
    assert torch.allclose(fused[:, :3].square().sum(1), torch.ones(2, 8, 6), atol=1e-5)
    assert torch.allclose(fused[:, 3:].square().sum(1), torch.ones(2, 8, 6), atol=1e-5)
    assert torch.equal(fuse_levels(levels, normalise=False)[:, :3], levels[0])


def test_errors():
    with pytest.raises(ValueError, match="one value a place"):
        spatial_attention(torch.zeros(3, 2), torch.zeros(4))
    with pytest.raises(ValueError, match="at least 1 row"):
        spatial_attention(torch.zeros(3, 2), torch.zeros(3), chunk=0)
    with pytest.raises(ValueError, match="at least one level"):
        fuse_levels([])
    with pytest.raises(ValueError, match=r"feature maps 0 \.\.\. 4, got levels \[7\]"):
        BackboneFeatures("resnet10t", levels=(7,))


def test_a_backbone_gives_one_vector_a_place():
    backbone = BackboneFeatures("resnet10t", levels=(1, 2))
    inputs = torch.rand(2, 3, 32, 32)
    found = backbone(inputs)
    assert found.shape[-2:] == (8, 8)
    assert torch.allclose(found.square().sum(1), torch.full((2, 8, 8), 2.0), atol=1e-4)
    assert not found.requires_grad
    torch.testing.assert_close(backbone(inputs[:1]), found[:1], atol=1e-5, rtol=1e-4)
