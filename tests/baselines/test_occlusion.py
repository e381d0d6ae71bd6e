import pytest
import torch

from fex.baselines import Occlusion, SlidingWindow
from fex.images import Black, Blur, PatchGrid
from tests.toys import LinearBox, TableBox, white

GRID = PatchGrid(2, 3)
WEIGHTS = torch.tensor([0.05, 0.3, -0.1, 0.2, 0.15, 0.1])


def linear(**options):
    return LinearBox(GRID, WEIGHTS, bias=0.1, size=12, **options)


def test_a_linear_box_loses_the_weight_of_each_feature():
    box, inputs = linear(), torch.rand(2, 3, 12, 12)
    found = Occlusion(box, GRID, Black()).attribute_features(inputs, torch.tensor([1, 0]))
    expected = WEIGHTS * box.brightness(inputs)
    torch.testing.assert_close(found, torch.stack([expected[0], -expected[1]]))
    assert box.queries == 2 * 7


def test_interactions_are_seen_from_the_full_input_only():
    table = torch.rand(64)
    found = Occlusion(TableBox(GRID, table, size=12), GRID, Black()).attribute_features(white(1, 12), 1)[0]
    torch.testing.assert_close(found, torch.stack([table[63] - table[63 - 2**n] for n in range(6)]))


@pytest.mark.parametrize(("size", "window", "stride"), [((12, 12), 4, 4), ((12, 12), 5, 3), ((12, 9), 9, 2)])
@pytest.mark.parametrize("removal", [Black(), Blur(2.0)])
def test_windows_are_those_of_a_loop(size, window, stride, removal):
    box, inputs = linear(), torch.rand(2, 3, *size)
    found = SlidingWindow(box, removal, window=window, stride=stride).attribute(inputs, 1)
    fill, clean = removal(inputs, torch.zeros(3)).expand_as(inputs), box(inputs)[:, 1]
    fall, covered = torch.zeros(2, *size), torch.zeros(size)
    queries = 0
    for top in {*range(0, size[0] - window, stride), size[0] - window}:
        for left in {*range(0, size[1] - window, stride), size[1] - window}:
            part = (..., slice(top, top + window), slice(left, left + window))
            occluded = inputs.clone()
            occluded[part] = fill[part]
            fall[part] += (clean - box(occluded)[:, 1])[:, None, None]
            covered[part] += 1
            queries += 1
    assert covered.min() > 0
    torch.testing.assert_close(found, fall / covered, atol=1e-6, rtol=1e-4)
    counted = linear()
    SlidingWindow(counted, removal, window=window, stride=stride).attribute(inputs, 1)
    assert counted.queries == 2 * (queries + 1)


@pytest.mark.parametrize("make", [lambda b: Occlusion(b, GRID), lambda b: SlidingWindow(b, window=4, stride=2)])
def test_chunks_change_nothing(make):
    inputs = torch.rand(3, 3, 12, 12)
    torch.testing.assert_close(make(linear(chunk=5)).attribute(inputs, 1), make(linear()).attribute(inputs, 1))


def test_errors():
    with pytest.raises(ValueError, match="1 <= stride <= window, got stride=9 and window=8"):
        SlidingWindow(linear(), stride=9)
    with pytest.raises(ValueError, match="A window of 8 pixels does not fit an image of 12 x 7"):
        SlidingWindow(linear()).attribute(torch.rand(1, 3, 12, 7), 1)
