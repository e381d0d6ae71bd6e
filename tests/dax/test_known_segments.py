"""DAX as it is by default, on pictures of many unlike places: the one that the black box looks at is found."""

import pytest
import torch

from fex.black_box import CallableBlackBox
from fex.dax import DAX, Counterfactual, FitSettings, QuickShift, Sparsity, fit_instances
from fex.images import Preprocess
from fex.metrics.functional.regions import foreground_iou, salient_region
from fex.metrics.functional.segmentation import confusion

SIZE, CELL = 64, 16


def mosaic(seed=0):
    """4 x 4 places, each with a colour and a texture of its own: (1, 3, 64, 64)."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.tensor([0.1, 0.9])
    colours = torch.cartesian_prod(levels, levels, levels)  # eight, twice
    colours = torch.cat([colours, colours * 0.6 + 0.1])[torch.randperm(16, generator=generator)]
    plain = colours.view(4, 4, 3).permute(2, 0, 1).repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)
    return (plain + 0.04 * torch.randn(3, SIZE, SIZE, generator=generator)).clamp(0, 1)[None]


def place(number):
    row, column = CELL * (number // 4), CELL * (number % 4)
    return slice(row, row + CELL), slice(column, column + CELL)


def looks_at(picture, number):
    """Probability by how much of the colour of one place is still there."""
    at = (slice(None), slice(None), *place(number))
    own = picture[at].mean((2, 3))

    def scores(x):
        gone = (x[at].mean((2, 3)) - own).norm(dim=1) / (own - 0.5).norm()
        first = 0.05 + 0.9 * (1 - gone).clamp(0, 1)
        return torch.stack([first, 1 - first], 1)

    return CallableBlackBox(scores, num_classes=2, preprocess=Preprocess(SIZE, SIZE), chunk=512)


# Not place 6 with `Counterfactual`: it marks that and, weaker, its neighbour (looks decide what a mask keeps).
@pytest.mark.parametrize(
    ("number", "regulariser"),
    [
        (2, Counterfactual()),
        pytest.param(13, Counterfactual(), marks=pytest.mark.slow),
        pytest.param(6, Sparsity(), marks=pytest.mark.slow),
        pytest.param(13, Sparsity(), marks=pytest.mark.slow),
    ],
)
def test_the_segment_that_counts_is_found(number, regulariser, monkeypatch):
    picture, fits = mosaic(), []

    def fit_once(*given):  # the means are taken of the same mask, which is learnt for some time
        fits.extend([] if fits else [fit_instances(*given)])
        return fits[0]

    monkeypatch.setattr("fex.dax.explainer.fit_instances", fit_once)
    labels = QuickShift()(picture[0]).labels
    truth = (labels == labels[place(number)].mode().values.mode().values)[None]
    box = looks_at(picture, number)
    mask, means = (
        DAX(box, num_samples=1000, fit=FitSettings(regulariser, segment_means=each)).attribute(picture, 0)
        for each in (False, True)
    )
    # The mask is right about where, and free to keep a part of what is only ever removed as a whole.
    inside, outside, _, _ = confusion(salient_region(mask), truth)[0].tolist()
    assert inside / (inside + outside) > 0.8
    assert bool(truth.flatten()[mask.flatten().argmax()])
    assert float(foreground_iou(confusion(salient_region(means), truth))) > 0.9
    torch.testing.assert_close(means.mean(), mask.mean())
