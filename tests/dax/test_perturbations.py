"""Coarse copies are the averages of the real ones less their fill; weights are inverse distances."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fex.black_box import CallableBlackBox
from fex.dax import SAM, SLIC, Grid, Perturbations, QuickShift
from fex.dax.neighbourhoods import Neighbourhoods
from fex.dax.nets import MaskNets, StudentNets
from fex.dax.perturbations import draw_kept, proximity_weights, working_size
from fex.dax.segmenters import paint_masks
from fex.images import Blur, Mean, Preprocess, Segments
from fex.masking import Masker


def box():
    return CallableBlackBox(
        lambda x: torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1),
        num_classes=2,
        preprocess=Preprocess(12, 12),
        mean=(0.2, 0.4, 0.6),
    )


@pytest.mark.parametrize("removal", [Mean(), Blur(1.0)])
def test_coarse_copies_are_averages_of_the_real_ones(removal):
    image, black_box = torch.rand(1, 3, 12, 12), box()
    segments = Grid(3, 5)(image[0])
    masker = Masker(segments, removal, black_box.mean)
    one = Perturbations.query(black_box, masker, image, torch.tensor([0]), count=20, resolution=6, seed=3)
    copies = masker(image, one.kept[None].float())
    averages = F.avg_pool2d(copies - masker.fill(image), 2)
    unit = F.avg_pool2d(image - masker.fill(image), 2).square().mean().sqrt()
    assert torch.allclose(Neighbourhoods([one]).pixels(torch.arange(20)) * unit, averages, atol=1e-5)
    assert torch.equal(copies[0], image[0])
    assert torch.allclose(one.scores, copies.mean((1, 2, 3)), atol=1e-5)
    assert black_box.queries == 20
    distance = (copies - image).flatten(1).norm(dim=1)[1:]
    assert torch.allclose(one.weights[1:] * distance, (one.weights[1] * distance[0]).expand(19), rtol=1e-3)
    assert one.weights[0] == one.weights.max()
    assert torch.allclose(one.weights.mean(), torch.tensor(1.0))


def test_instances_of_different_segment_counts_lie_side_by_side():
    images, black_box = torch.rand(2, 3, 12, 12), box()
    each = [
        Perturbations.query(
            black_box,
            Masker(Grid(n, n)(x[0]), Mean(), black_box.mean),
            x,
            torch.tensor([0]),
            count=8,
            resolution=12,
            seed=n,
        )
        for n, x in zip((2, 4), images.split(1), strict=True)
    ]
    together = Neighbourhoods(each).pixels(torch.arange(8)).unflatten(1, (2, 3))
    for row, one in enumerate(each):
        assert torch.allclose(together[:, row], Neighbourhoods([one]).pixels(torch.arange(8)))
    with pytest.raises(ValueError, match="must agree in samples and size"):
        Neighbourhoods([each[0], Perturbations(**{**each[1].__dict__, "scores": each[1].scores[:4]})])


def test_weights_where_nothing_can_be_removed():
    kept = draw_kept(10, 3, torch.Generator().manual_seed(0))
    assert kept[0].all()
    assert torch.equal(proximity_weights(kept, torch.zeros(3)), torch.ones(10))
    with pytest.raises(ValueError, match="budget of 1 samples"):
        draw_kept(1, 3, torch.Generator())


def test_copies_that_lose_only_what_is_next_to_the_fill_are_not_all_that_counts():
    kept = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]], dtype=torch.bool)
    ground, thing = 1e-12, 4.0
    weights = proximity_weights(kept.repeat(25, 1), torch.tensor([ground, thing]))
    assert weights.mean() == pytest.approx(1)
    lost = weights[2] + weights[3]
    assert weights[0] == weights[1]  # as near as can be
    assert 0.01 < lost / weights[:4].sum() < 0.5


def test_working_size_keeps_the_shape():
    assert working_size((224, 224), 56) == (56, 56)
    assert working_size((16, 16), 56) == (16, 16)
    assert working_size((400, 1), 2) == (40, 1)


@pytest.mark.parametrize("segmenter", [QuickShift(kernel_size=1, max_dist=4), SLIC(12), Grid(3, 4)])
def test_segments_follow_the_picture_and_cover_it(segmenter):
    image = torch.rand(3, 24, 32) * 0.05
    image[:, 4:14, 6:18] += 0.9
    first, second = segmenter(image), segmenter(image)
    assert torch.equal(first.labels, second.labels)
    assert first.num_features > 3
    if not isinstance(segmenter, Grid):
        inside = first.labels[6:12, 8:16].unique().tolist()
        outside = torch.cat([first.labels[16:].flatten(), first.labels[:, 20:].flatten()]).unique().tolist()
        assert not set(inside) & set(outside)


def test_masks_are_painted_small_over_large():
    large, small = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    large[:3], small[1, 1] = True, True
    labels = paint_masks([small, large], (4, 4))
    assert labels[1, 1] == 2
    assert labels[0, 0] == 1
    assert labels[3, 3] == 0
    assert not paint_masks([], (2, 2)).any()


def fake_transformers(monkeypatch, pipeline):
    """Importing the real pipelines takes seconds."""
    module = ModuleType("transformers")
    module.pipeline = pipeline
    monkeypatch.setitem(sys.modules, "transformers", module)


def test_sam_without_weights_says_what_to_do(monkeypatch):
    def missing(task, **options):
        raise OSError(f"no {options['model']}\nlong explanation")

    fake_transformers(monkeypatch, missing)
    with pytest.raises(OSError, match=r"'nowhere' \(no nowhere\).*set `model` to a folder that holds one"):
        SAM("nowhere")


def test_sam_paints_what_the_model_finds(monkeypatch):
    found = np.zeros((2, 8, 8), bool)
    found[0, :4], found[1, :2, :2] = True, True
    asked = {}

    def pipeline(task, **options):
        asked.update(task=task, **options)
        return lambda image, **more: asked.update(size=image.size, **more) or {"masks": list(found)}

    fake_transformers(monkeypatch, pipeline)
    segments = SAM("some/model", points_per_batch=5)(torch.rand(3, 8, 8))
    assert segments.num_features == 3
    assert segments.labels[0, 0] == 2
    assert segments.labels[3, 3] == 1
    assert asked["task"] == "mask-generation"
    assert (asked["model"], asked["size"], asked["points_per_batch"]) == ("some/model", (8, 8), 5)


def test_segments_expand_and_pool():
    segments = Segments(torch.tensor([[0, 1], [1, 2]]))
    assert segments.expand(torch.tensor([[1.0, 2.0, 3.0]]), (2, 2)).tolist() == [[[1, 2], [2, 3]]]
    assert segments.pool(torch.tensor([[[1.0, 2.0], [4.0, 5.0]]])).tolist() == [[1, 3, 5]]
    with pytest.raises(ValueError, match="without gaps"):
        Segments(torch.tensor([[0, 2]]))
    with pytest.raises(ValueError, match="the segments are of"):
        segments.expand(torch.zeros(3), (3, 3))
    with pytest.raises(ValueError, match="Got 2 values for 3 segments"):
        segments.expand(torch.zeros(2), (2, 2))


@pytest.mark.parametrize("size", [(16, 16), (11, 26)])
def test_layouts_are_the_pixels_laid_out(size):
    """Of networks of both strides, of several instances with different numbers of segments."""
    generator = torch.Generator().manual_seed(0)
    each = []
    for segments in (4, 7):
        labels = torch.arange(size[0] * size[1]).view(size) % segments
        kept = torch.rand(9, segments, generator=generator) < 0.5
        parts = torch.randn(segments, 3, *size, generator=generator)
        each.append(Perturbations(Segments(labels), kept, torch.rand(9), torch.ones(9), parts))
    data, rows = Neighbourhoods(each), torch.tensor([5, 0, 8])
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    nets = [MaskNets(generators, size, stride=stride) for stride in (1, 2)]
    nets += [StudentNets(generators, size, architecture=kind) for kind in ("fc2", "cnn2_fc2")]
    for net in nets:
        found = data.laid_out(net.prepare, torch.float32)(rows)
        torch.testing.assert_close(found, net.prepare(data.pixels(rows)))
