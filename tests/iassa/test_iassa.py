"""IASSA on black boxes whose evidence is known."""

import pytest
import torch

from fex.black_box import CallableBlackBox
from fex.iassa import IASSA, WindowSchedule, highest_activated, relative_change
from fex.images import Black, Preprocess
from fex.metrics.functional.segmentation import normalise_maps

SIZE = 32
OBJECT = (slice(8, 16), slice(18, 26))


def looks_at_the_object(x):
    """Class 0 by the brightness of one square; class 2 is impossible."""
    seen = x[(..., *OBJECT)].mean((1, 2, 3))
    return torch.stack([0.9 * seen, 1 - 0.9 * seen, 0 * seen], 1)


def black_box(function=looks_at_the_object, chunk=64):
    return CallableBlackBox(function, num_classes=3, preprocess=Preprocess(SIZE, SIZE), chunk=chunk)


def schedule(**changes):
    return WindowSchedule(**{"window": 9, "stride": 3, "window_step": 1, "stride_step": 0.4, "min_window": 4} | changes)


def explainer(box=None, features=None, **options):
    options = {"iterations": 6, "tolerance": 0.0, "schedule": schedule(), "window": "keep"} | options
    return IASSA(box or black_box(), features, Black(), **options)


def white(count=1):
    return torch.rand(count, 3, SIZE, SIZE) * 0.1 + 0.9


@pytest.mark.parametrize("window", ["keep", "remove", "both"])
def test_finds_the_object_and_keeps_it(window):
    truth = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    truth[OBJECT] = True
    steps = explainer(window=window).explain_instances(white(), 0)[0]

    def iou(saliency):
        found = highest_activated(saliency, 0.5)
        return float((found & truth).sum() / (found | truth).sum())

    assert truth.flatten()[steps[-1].attribution.flatten().argmax()]
    assert iou(steps[-1].attribution) > 0.45
    # More windows where the map is high do not make it grow or shrink there.
    assert iou(steps[-1].attribution) > 0.9 * iou(steps[0].attribution)


def test_the_map_can_be_asked_for_at_any_time():
    box = black_box()
    iterations = explainer(box).iterate(white(), 0)
    first = next(iterations)
    assert box.queries == first.queries  # the rest is spent only when it is asked for
    second = next(iterations)
    assert second.queries == box.queries > first.queries
    assert (first.window, second.window, second.stride) == (9, 8, 2.6)


def test_queries_stay_in_the_budget_even_below_one_batch():
    for budget in (1, 5, 150, 400):
        box = black_box()
        steps = explainer(box, budget=budget).explain_instances(white(), 0)[0]
        assert box.queries == steps[-1].queries <= budget
        assert steps[-1].attribution.isfinite().all()
    assert box.queries == 400  # spent where there is more to look at
    assert torch.equal(
        explainer(budget=30).attribute(white() * 0 + 1, 0), explainer(budget=30).attribute(white() * 0 + 1, 0)
    )


def test_both_questions_are_the_mean_of_the_two_maps_on_one_scale():
    x, once = white(), {"iterations": 0}
    keep, remove, both = (explainer(window=kind, **once).attribute(x, 0) for kind in ("keep", "remove", "both"))
    assert not torch.allclose(keep, remove, atol=0.1)
    torch.testing.assert_close(both, (normalise_maps(keep) + normalise_maps(remove)) / 2)
    box = black_box()
    steps = explainer(box, window="both", budget=301).explain_instances(x, 0)[0]
    assert box.queries == steps[-1].queries == 300  # a window costs two


def test_a_window_that_covers_everything_is_refused():
    with pytest.raises(ValueError, match="window of 96 pixels covers all of an input of 32 x 32"):
        explainer(schedule=WindowSchedule()).attribute(white(), 0)
    usual = explainer(schedule=None, iterations=0).explain_instances(white(), 0)[0]
    assert usual[0].window == 14  # in proportion to the input


def test_a_target_that_the_box_does_not_have_and_no_instances():
    with pytest.raises(ValueError, match="outside the 3 classes"):
        next(explainer().iterate(white(), 3))
    with pytest.raises(ValueError, match="no instances"):
        explainer().explain_instances(white(0), 0)


def test_stops_at_convergence():
    x = white()
    whole = explainer(tolerance=0.0, iterations=6).explain_instances(x, 0)[0]
    changes = [step.change for step in whole]
    assert len(whole) == 7
    assert changes[0] == 1.0
    # Between the largest and the least change after the first pass: it stops at the first that falls below.
    tolerance = sum(sorted(changes[1:])[:2]) / 2
    steps = explainer(tolerance=tolerance, iterations=6).explain_instances(x, 0)[0]
    assert len(steps) == 1 + next(number for number, change in enumerate(changes) if change < tolerance)
    assert len(steps) >= 2
    assert torch.equal(steps[-1].attribution, whole[len(steps) - 1].attribution)
    with pytest.raises(ValueError, match="tolerance in \\[0, 1\\)"):
        explainer(tolerance=10.0)


def test_a_class_of_probability_zero_has_the_map_zero():
    with pytest.warns(UserWarning, match="nothing to explain"):
        steps = explainer().explain_instances(white(), 2)[0]
    assert len(steps) == 1
    assert not steps[-1].attribution.any()


def test_a_picture_of_one_colour_and_a_box_without_opinion():
    flat = black_box(lambda x: torch.full((len(x), 3), 1 / 3))
    with pytest.warns(UserWarning, match="nothing to explain"):
        found = explainer(flat).attribute(torch.full((1, 3, SIZE, SIZE), 0.5), 0)
    assert found.isfinite().all()


def test_a_picture_of_one_colour_that_is_not_its_fill_is_explained():
    truth = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    truth[OBJECT] = True
    found = explainer().attribute(torch.full((1, 3, SIZE, SIZE), 0.5), 0)[0]
    assert truth.flatten()[found.flatten().argmax()]


@pytest.mark.parametrize("window", ["keep", "remove", "both"])
def test_nothing_to_explain_is_a_constant_map_under_the_attention_too(window):
    """Rounding, of the attention or of a box that scores chunks of other sizes otherwise, is no salient place."""

    def attends(inputs):
        return torch.rand(1, 5, SIZE // 2, SIZE // 2, generator=torch.Generator().manual_seed(0))

    flat = black_box(lambda x: torch.tensor([[0.37, 0.53, 0.1]]).repeat(len(x), 1))
    with pytest.warns(UserWarning, match="nothing to explain"):
        steps = explainer(flat, attends, window=window).explain_instances(white(), 0)[0]
    assert len(steps) == 1
    assert steps[0].attribution.unique().numel() == 1
    rounding = black_box(lambda x: torch.tensor([[len(x) / 99, 1 - len(x) / 99, 0]]).repeat(len(x), 1), chunk=16)
    black = torch.zeros(1, 3, SIZE, SIZE)  # its own fill
    with pytest.warns(UserWarning, match="nothing to explain"):
        steps = explainer(rounding, attends, window=window).explain_instances(black, 0)[0]
    assert steps[0].attribution.unique().numel() == 1


def test_nan_scores_are_refused_by_name():
    broken = black_box(lambda x: torch.full((len(x), 3), torch.nan))
    with pytest.raises(ValueError, match="NaN or infinite scores"):
        explainer(broken).attribute(white(), 0)


def test_the_attention_spreads_over_places_alike():
    x = white()

    def halves(inputs):
        side = torch.zeros(len(inputs), 2, 8, 8)
        side[:, 0, :, :4], side[:, 1, :, 4:] = 50.0, 50.0
        return side

    alone = explainer(iterations=0).attribute(x, 0)[0]
    spread = explainer(features=halves, iterations=0, beta=0.0).attribute(x, 0)[0]
    assert spread[:, 22:].std() < 1e-3 < alone[:, 22:].std()
    torch.testing.assert_close(spread[:, 22:].mean(), alone[:, 16:].mean(), atol=0.02, rtol=0.1)
    kept = explainer(features=halves, iterations=0, beta=1.0).attribute(x, 0)[0]
    assert torch.equal(kept, alone)


def test_schedule_and_change():
    paper = WindowSchedule.paper()
    assert paper.at(0) == (45, 8.0)
    assert paper.at(25) == (8, 3.0)
    assert paper.at(100) == (8, 1.0)
    a = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    assert relative_change(2 * a + 3, a) == 0
    assert relative_change(a, torch.ones(2, 2)) == 1
    assert relative_change(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), a) == pytest.approx(0.5 / 1.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "a budget of at least 1 query"),
        ({"beta": 1.5}, "beta=1.5"),
        ({"window": "hide"}, "expected 'keep', 'remove' or 'both'"),
        ({"window": "both", "budget": 1}, "'both' asks 2 queries a window"),
        ({"iterations": -1}, "iterations=-1"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        explainer(**options)


def test_schedules_out_of_range():
    with pytest.raises(ValueError, match="pixels that no window covers"):
        schedule(stride=10)
    with pytest.raises(ValueError, match="min_window >= 1"):
        schedule(min_window=0)
    with pytest.raises(ValueError, match="windows shrink"):
        schedule(window_step=-1)


def test_places_that_no_later_window_covers_keep_what_was_found_there():
    steps = explainer(
        black_box(lambda x: looks_at_the_object(x) * 0.8 + torch.tensor([0.1, 0.1, 0.0]))
    ).explain_instances(white(), 0)[0]
    assert len(steps) > 2
    corner = [float(step.saliency[-1, 0]) for step in steps]
    assert corner[0] == pytest.approx(0.1, abs=1e-4)  # of class 0 where nothing is seen
    assert corner == [corner[0]] * len(steps)
