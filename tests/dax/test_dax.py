"""DAX on black boxes whose evidence is known, and on inputs that have none."""

import warnings
from dataclasses import replace

import pytest
import torch

from fex.black_box import CallableBlackBox
from fex.dax import (
    DAX,
    SLIC,
    Counterfactual,
    FitSettings,
    Grid,
    NoRegulariser,
    Perturbations,
    QuickShift,
    Sparsity,
    StudentLIME,
    StudentRISE,
    fit_instances,
)
from fex.dax.neighbourhoods import Neighbourhoods
from fex.iassa import IASSA, WindowSchedule
from fex.images import Black, Preprocess, Segments
from fex.masking import Masker
from fex.sounds import Silence

SIZE = 24
OBJECT = (slice(6, 12), slice(12, 18))  # segment 6 of the 4 x 4 grid


def sees_red(x):
    """Class 0 by the red of one square, which alone is red; class 2 never."""
    seen = x[(slice(None), 0, *OBJECT)].mean((1, 2))
    return torch.stack([0.1 + 0.8 * seen, 0.9 - 0.8 * seen, 0 * seen], 1)


def black_box(function=sees_red):
    return CallableBlackBox(function, num_classes=3, preprocess=Preprocess(SIZE, SIZE), chunk=256)


def picture(count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, 3, SIZE, SIZE, generator=generator) * 0.2
    image[:, 1:, :, :] += 0.6
    image[(slice(None), slice(None), *OBJECT)] = torch.tensor([0.95, 0.1, 0.1]).view(1, 3, 1, 1)
    return image


def fit(**changes):
    settings = {
        "mask_kernel": 3, "mask_width": 8, "student_width": 4, "hidden": 16, "batch_size": 32,
    }  # fmt: skip
    return FitSettings(**{**settings, **changes})


def dax(box=None, kind=DAX, *, settings=None, **options):
    options = {"num_samples": 400, "resolution": 12, "segmenter": Grid(4, 4)} | options
    return kind(box or black_box(), Black(), fit=settings or fit(), **options)


def contrast(attribution):
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[OBJECT] = True
    return float(attribution[inside].mean() - attribution[~inside].mean())


@pytest.mark.parametrize("regulariser", [Sparsity(), Counterfactual()])
def test_recovers_the_segment(regulariser):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a good mask is told nothing about
        result = dax(settings=fit(regulariser=regulariser)).explain_instances(picture(), 0)[0]
    # Of its own height: a mask that pays for its area need not reach 1.
    assert contrast(result.attribution / result.attribution.max()) > 0.3
    assert result.attribution.min() >= 0
    assert result.attribution.max() <= 1
    assert result.segments == 16
    losses = [epoch.train_loss for epoch in result.epochs]
    assert losses[-1] < losses[0]
    assert torch.isfinite(torch.tensor([epoch.val_loss for epoch in result.epochs])).all()


@pytest.mark.parametrize("regulariser", [pytest.param(Sparsity(), marks=pytest.mark.slow), Counterfactual()])
def test_recovers_the_segment_of_an_improbable_class(regulariser):
    """A class of probability 1e-5, as most of a thousand have, is explained like any other."""

    def hardly(x):
        return torch.cat([1e-5 * sees_red(x)[:, :1], 1 - 1e-5 * sees_red(x)[:, :1], 0 * x[:, :1, 0, 0]], 1)

    attribution = dax(black_box(hardly), settings=fit(regulariser=regulariser)).attribute(picture(), 0)[0]
    assert contrast(attribution / attribution.max()) > 0.3


@pytest.mark.parametrize("kind", [StudentRISE, StudentLIME])
def test_the_student_alone_knows_the_segment(kind):
    box = black_box()
    options = {"num_masks": 500, "cells": 4} if kind is StudentRISE else {"num_draws": 500}
    attribution = dax(box, kind, **options).attribute(picture(), 0)[0]
    scaled = (attribution - attribution.min()) / (attribution.max() - attribution.min())
    assert contrast(scaled) > 0.4
    assert box.queries == 400  # the student's are free


def test_instances_fitted_together_are_those_fitted_alone():
    images = torch.cat([picture(seed=1), picture(seed=2)])
    together = dax(settings=fit(max_epochs=2)).attribute(images, torch.tensor([0, 1]))
    alone = [dax(settings=fit(max_epochs=2)).attribute(images[i : i + 1], i)[0] for i in (0, 1)]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-3)


def _spectrogram_like(seed, segments):
    """Perturbations that need no image: parts of 11 x 26 pixels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(11 * 26).view(11, 26) % segments
    parts = torch.randn(segments, 3, 11, 26, generator=generator)
    kept = torch.rand(120, segments, generator=generator) < 0.5
    scores = 0.2 + 0.5 * kept[:, 1].float()
    return Perturbations(Segments(labels), kept, scores, torch.rand(120, generator=generator) + 0.5, parts)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", ["fc2", "cnn2_fc1", "cnn2_fc2"])
@pytest.mark.parametrize("mask_stride", [1, 2])
def test_together_is_alone_in_every_shape(mask_stride, architecture, precision):
    """Unequal numbers of segments, sides that blocks do not divide."""
    each = [_spectrogram_like(0, 9), _spectrogram_like(1, 14), _spectrogram_like(2, 5)]
    settings = fit(mask_stride=mask_stride, architecture=architecture, precision=precision, max_epochs=2)
    together = fit_instances(each, settings, [3, 4, 5])[1]
    for one, seed, found in zip(each, [3, 4, 5], together, strict=True):
        (alone,) = fit_instances([one], settings, [seed])[1]
        tolerance = 1e-3 if precision == "fp32" else 3e-2
        torch.testing.assert_close(found.mask, alone.mask, atol=tolerance, rtol=0)


def test_the_networks_are_those_of_the_best_epoch():
    each = [_spectrogram_like(0, 9), _spectrogram_like(1, 14)]
    nets, fitted = fit_instances(each, fit(max_epochs=20, patience=4, learning_rate=0.3), [3, 4])
    assert fitted[0].best != fitted[1].best  # one of them at least is not the last epoch
    masks = nets.mask(nets.mask.prepare(Neighbourhoods(each).pixels(torch.tensor([0]))))[0]
    for row, one in enumerate(fitted):
        torch.testing.assert_close(masks[row], one.mask, atol=1e-5, rtol=0)


def test_queries_and_target():
    box = black_box()
    named = dax(box, num_samples=50, settings=fit(max_epochs=1)).attribute(picture(), 0)
    assert box.queries == 50
    result = dax(box, num_samples=50, settings=fit(max_epochs=1)).explain_instances(picture())[0]
    assert (box.queries, result.queries) == (101, 51)
    assert torch.equal(named[0], result.attribution)


def test_early_stop():
    epochs = (
        dax(settings=fit(learning_rate=1e-9, mask_learning_rate=1e-9, patience=1))
        .explain_instances(picture(), 0)[0]
        .epochs
    )
    assert len(epochs) < 10


def test_the_mask_is_that_of_the_best_epoch():
    explainer = dax(settings=fit(max_epochs=20, patience=4, learning_rate=0.3), num_samples=40)
    instances, seeds = explainer.perturb(picture(), torch.tensor([0]))
    (one,) = fit_instances(instances, explainer.settings, seeds)[1]
    losses = [epoch.val_loss for epoch in one.epochs[6:]]  # after the warm-up
    assert 6 < one.best == 6 + losses.index(min(losses)) < len(one.epochs) - 1
    assert torch.equal(one.mask, one.epochs[one.best].mask)


def test_the_mask_waits_for_the_student():
    epochs = dax(settings=fit(warm_up=0.3, max_epochs=10)).explain_instances(picture(), 0)[0].epochs
    assert all(torch.equal(epoch.mask, epochs[0].mask) for epoch in epochs[:3])
    assert not torch.equal(epochs[3].mask, epochs[0].mask)
    assert epochs[2].train_loss < epochs[0].train_loss  # of the student alone
    first = dax(settings=fit(warm_up=0.0, max_epochs=1)).explain_instances(picture(), 0)[0].epochs[0]
    assert not torch.equal(first.mask, epochs[0].mask)


@pytest.mark.parametrize(
    "architecture", ["fc2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cnn2_fc1", "cnn2_fc2"))]
)
def test_no_student_is_stuck_at_the_ends_of_its_sigmoid(architecture):
    """All inputs positive and all scores near 1: one step of a rate for single weights would saturate it."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(1000, 40, generator=generator) < 0.5
    scores = 0.8 + 0.1 * kept[:, 7].float() + 0.05 * kept[:, 21].float()
    segments = Grid(5, 8)(torch.rand(3, 40, 64, generator=generator))
    parts = torch.zeros(40, 3, 40 * 64)
    parts.scatter_(2, torch.arange(40 * 64).view(5, 8, 8, 8).transpose(1, 2).reshape(40, 1, 64).expand(-1, 3, -1), 1.0)
    one = Perturbations(segments, kept, scores, torch.ones(1000), parts.view(40, 3, 40, 64))
    settings = FitSettings(NoRegulariser(), architecture=architecture, max_epochs=20, patience=20)
    nets, _ = fit_instances([one], settings, [0])
    copies = Neighbourhoods([one]).pixels(torch.arange(500))
    with torch.no_grad():
        predicted = nets.student(nets.student.prepare(copies))[:, 0]
    assert float((predicted - scores[:500]).square().mean()) < 0.2 * float(scores.var())


@pytest.mark.parametrize("budget", [2, 10, 40])
def test_budgets_below_one_batch_and_more_segments_than_samples(budget):
    found = dax(num_samples=budget, segmenter=Grid(12, 12), settings=fit(max_epochs=2)).attribute(picture(), 0)
    assert found.isfinite().all()


def test_a_picture_of_one_segment():
    found = dax(segmenter=Grid(1, 1), num_samples=30).attribute(torch.full((1, 3, SIZE, SIZE), 0.7), 0)
    assert found.isfinite().all()
    assert float(found.std()) < 1e-3  # no border appears where the picture has none


@pytest.mark.parametrize("segmenter", [QuickShift(), SLIC()])
def test_a_picture_of_one_colour_has_a_map(segmenter):
    everywhere = black_box(lambda x: torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3)), 0 * x[:, 0, 0, 0]], 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mask that is full or empty is told of
        explainer = dax(everywhere, segmenter=segmenter, num_samples=100, settings=fit(max_epochs=8))
        found = explainer.attribute(torch.full((1, 3, SIZE, SIZE), 0.7), 0)
    assert found.isfinite().all()
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@pytest.mark.parametrize(("kind", "options"), [(StudentRISE, {"num_masks": 0}), (StudentLIME, {"num_draws": 1})])
def test_hybrids_are_refused_before_anything_is_asked(kind, options):
    with pytest.raises(ValueError, match="expected at least"):
        dax(kind=kind, **options)


def test_nothing_to_explain_is_zero_with_a_warning():
    images = torch.cat([picture(), torch.zeros(1, 3, SIZE, SIZE)])  # the second equals its fill
    with pytest.warns(UserWarning, match="1 of 2 instances keep one score whatever is removed"):
        found = dax(num_samples=40, settings=fit(max_epochs=8)).explain_instances(images, 0)
    assert found[0].attribution.any()
    assert not found[1].attribution.any()
    assert found[1].epochs == []
    with pytest.warns(UserWarning, match="Check the target class"):
        assert not dax(num_samples=40).attribute(picture(), 2).any()  # a class of probability 0


def test_a_mask_that_is_the_same_everywhere_is_told():
    dear = fit(regulariser=Counterfactual(area=1000.0), warm_up=0.0, mask_learning_rate=0.1, max_epochs=40)
    with pytest.warns(UserWarning, match=r"1 of 1 masks are nearly the same everywhere.*Give more samples than 60"):
        found = dax(num_samples=60, settings=dear).attribute(picture(), 0)
    assert float(found.amax() - found.amin()) < 0.05


def test_a_silent_clip_has_nothing_to_explain():
    """Its spectrogram is 0 everywhere, which is what silence puts in the place of sound."""
    clip = torch.zeros(1, 3, SIZE, SIZE)
    with pytest.warns(UserWarning, match="1 of 1 instances keep one score"):
        found = DAX(black_box(), Silence(), Grid(4, 4), num_samples=20, resolution=12, fit=fit()).attribute(clip, 0)
    assert not found.any()
    iassa = IASSA(black_box(), None, Silence(), schedule=WindowSchedule(window=8, stride=4), iterations=2)
    with pytest.warns(UserWarning, match="All windows have one score"):
        flat = iassa.attribute(clip, 0)
    assert flat.isfinite().all()
    assert float(flat.std()) < 1e-6


def test_nan_scores_are_refused_by_name():
    with pytest.raises(ValueError, match="NaN or infinite scores"):
        dax(black_box(lambda x: torch.full((len(x), 3), torch.nan))).attribute(picture(), 0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode):
    expected = dax(num_samples=60, settings=fit(max_epochs=1)).attribute(picture(), 0)
    with mode():
        found = dax(num_samples=60, settings=fit(max_epochs=1)).attribute(picture(), 0)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", [DAX, StudentLIME])
def test_bf16_learns_from_the_weights_of_each_step(kind):
    """Nothing of a caller's autocast, which keeps cast weights, is left in the fit."""
    make = dax(num_samples=60, kind=kind, settings=fit(precision="bf16", max_epochs=3))
    (one,), seeds = make.perturb(picture(), torch.tensor([0]))
    alone = make._fit([one], seeds, (SIZE, SIZE))[1][0]
    with torch.autocast("cpu", torch.bfloat16):
        assert [e.val_loss for e in make._fit([one], seeds, (SIZE, SIZE))[1][0]] == [e.val_loss for e in alone]
    whole = make.explain_instances(picture(), 0)[0].epochs
    assert [e.val_loss for e in whole] == [e.val_loss for e in alone]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size, max_epochs and patience"),
        ({"val_fraction": 1.0}, "val_fraction=1.0"),
        ({"precision": "fp64"}, "expected 'fp32' or 'bf16'"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        fit(**changes)


def test_other_settings_out_of_range():
    with pytest.raises(ValueError, match="at least 2 queries"):
        dax(num_samples=1)
    box = black_box()
    for settings, message in (
        ({"architecture": "mlp"}, "expected 'cnn2_fc1', 'fc2' or 'cnn2_fc2'"),
        ({"mask_kernel": 4}, "odd kernel"),
        ({"regulariser": NoRegulariser()}, "a regulariser with a mask"),
    ):
        with pytest.raises(ValueError, match=message):
            dax(box, num_samples=10, settings=fit(**settings)).attribute(picture(), 0)
    with pytest.raises(ValueError, match="lower `resolution`"):
        dax(box, num_samples=10, resolution=200).attribute(torch.rand(1, 3, 200, 200))
    assert box.queries == 0  # nothing is spent on what cannot be fitted


def test_a_picture_that_is_its_fill_has_nothing_to_explain_however_the_box_rounds():
    rounding = CallableBlackBox(
        lambda x: torch.tensor([[len(x) / 99, 1 - len(x) / 99, 0]]).repeat(len(x), 1),
        num_classes=3,
        preprocess=Preprocess(SIZE, SIZE),
        chunk=16,
    )
    with pytest.warns(UserWarning, match="nothing to explain"):
        assert not dax(rounding, num_samples=40).attribute(torch.zeros(1, 3, SIZE, SIZE), 0).any()


@pytest.mark.parametrize("regulariser", [pytest.param(Sparsity(), marks=pytest.mark.slow), Counterfactual()])
def test_recovers_the_segment_that_counts_of_two_alike(regulariser):
    """Two squares of one colour; each class looks at one of them, so the pixels alone say nothing.

    The paper's mask, two convolutions of the picture, cannot: what looks alike has one value.
    """
    other = (slice(18, 24), slice(0, 6))
    image = picture()
    image[(slice(None), slice(None), *other)] = image[(slice(None), slice(None), *OBJECT)]

    def sees_one_each(x):
        first, second = (x[(slice(None), 0, *place)].mean((1, 2)) for place in (OBJECT, other))
        return torch.stack([0.4 * first, 0.4 * second, 1 - 0.4 * first - 0.4 * second], 1)

    def margins(**settings):
        explainer = dax(black_box(sees_one_each), settings=fit(regulariser=regulariser, **settings))
        maps = explainer.attribute(image.expand(2, -1, -1, -1), torch.tensor([0, 1]))
        scaled = maps / maps.amax((1, 2), keepdim=True)
        (a, b), (c, d) = ((float(one[OBJECT].mean()), float(one[other].mean())) for one in scaled)
        return a - b, d - c

    assert min(margins(mask_places=True)) > 0.3
    assert min(margins(mask_places=False)) < 0.3


def test_what_is_near_weighs_more():
    """gamma reaches the fit: other weights of the same copies and scores are another explanation."""
    masker = Masker(Grid(4, 4)(picture()[0]), Black(), (0.0,) * 3)
    copies = Perturbations.query(black_box(), masker, picture(), torch.tensor([0]), count=100, resolution=12, seed=0)
    assert copies.weights.std() > 0.05
    even = replace(copies, weights=torch.ones_like(copies.weights))
    first, second = (fit_instances([each], fit(max_epochs=4), [0])[1][0].mask for each in (copies, even))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("kind", [DAX, StudentLIME])
def test_one_segment_has_nothing_to_compare(kind):
    explainer = dax(num_samples=10, kind=kind, segmenter=Grid(1, 1))
    with pytest.warns(UserWarning, match="1 of 1 instances have one segment.* finds more in them than Grid"):
        (found,) = explainer.explain_instances(picture(), 0)
    assert (found.segments, found.epochs, found.attribution.abs().max()) == (1, [], 0)
