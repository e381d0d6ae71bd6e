import pytest
import torch

from fex.baselines import Random
from fex.images import PatchGrid
from fex.metrics import PROTOCOLS, Attributed, ProtocolScores, get_protocol
from fex.metrics.functional import average_precision, bootstrap_interval, foreground, mean_iou
from tests.toys import LinearBox, PatchBox, white

GRID = PatchGrid(10, 10)
SIZE = 20


def attributed(box, inputs, scores, *, grid=GRID, **truth):
    maps = grid.smooth(scores, (inputs.shape[-2], inputs.shape[-1]))
    return Attributed(inputs, scores, maps, grid, box(inputs), **truth)


def test_fex_is_the_mean_of_ten_points_for_both_orders():
    # Class 1 while more than half of the 100 equal patches are left: 0, 10, 20, 30, 40 % removed agree.
    box = LinearBox(GRID, [0.01] * 100, size=SIZE)
    data = attributed(box, white(3, SIZE), torch.rand(3, 100))
    curves = get_protocol("fex").evaluate(box, data)
    expected = [1.0] * 5 + [0.0] * 5
    assert curves["positive_curve"][:, [0, 1, 2, 3, 4, 6, 7, 8, 9]].tolist() == [expected[:5] + expected[6:]] * 3
    torch.testing.assert_close(curves["positive_curve"][:, :5], curves["negative_curve"][:, :5])
    assert box.queries == 3 + 2 * 9 * 3


def test_fex_scores_the_boxs_own_prediction_and_chefer_the_label():
    box = PatchBox(GRID, 0, size=SIZE)
    data = attributed(box, white(1, SIZE), torch.zeros(1, 100), labels=torch.tensor([0]))
    assert get_protocol("fex").evaluate(box, data)["positive_curve"][0, 0] == 1
    assert get_protocol("chefer").evaluate(box, data)["positive_curve"][0, 0] == 0
    assert get_protocol("chefer_predicted").evaluate(box, data)["positive_curve"][0, 0] == 1


def test_chefer_removes_pixels_and_integrates_by_trapezoids():
    # The box looks at the bottom right quarter of 2 x 2 patches; the map knows it.
    grid = PatchGrid(2, 2)
    box = PatchBox(grid, 3, size=SIZE)
    data = attributed(box, white(1, SIZE), torch.tensor([[0.0, 0.0, 0.0, 1.0]]), grid=grid, labels=torch.tensor([1]))
    protocol = get_protocol("chefer")
    curves = protocol.evaluate(box, data)
    # The box changes its mind with half of its 100 pixels, 1/8 of all, gone.
    assert curves["positive_curve"].tolist() == [[1, 1, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert curves["negative_curve"].tolist() == [[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]]
    assert float(protocol.auc(curves["positive_curve"])) == pytest.approx(0.15)
    assert float(protocol.auc(curves["negative_curve"])) == pytest.approx(0.85)


@pytest.mark.parametrize("constant", [False, True])
def test_random_and_constant_maps_have_no_direction(constant):
    # The box looks at the top half alone: a grid bias in either order would show.
    weights = torch.cat([torch.full((50,), 0.018), torch.full((50,), 0.002)])
    box = LinearBox(GRID, weights, size=SIZE)
    inputs = 1 - 0.001 * torch.rand(300, 3, SIZE, SIZE)
    scores = torch.zeros(300, 100) if constant else Random(GRID).attribute_features(inputs)
    protocol = get_protocol("fex")
    curves = protocol.evaluate(box, attributed(box, inputs, scores))
    difference = protocol.auc(curves["positive_curve"]) - protocol.auc(curves["negative_curve"])
    _, low, high = bootstrap_interval(difference, resamples=2000)
    assert low <= 0 <= high
    assert high - low < 0.05
    # A map in the order of the grid does have one.
    ordered = protocol.evaluate(box, attributed(box, inputs, -torch.arange(100.0).expand(300, -1)))
    assert (protocol.auc(ordered["negative_curve"]) - protocol.auc(ordered["positive_curve"])).mean() > 0.2


def test_seg_is_made_of_its_functions():
    box = PatchBox(GRID, 0, size=SIZE)
    masks = torch.rand(4, SIZE, SIZE) < 0.3
    data = attributed(box, torch.rand(4, 3, SIZE, SIZE), torch.rand(4, 100), masks=masks)
    before = box.queries
    scores = ProtocolScores("seg")
    scores.update(get_protocol("seg").evaluate(box, data), torch.arange(4))
    assert box.queries == before
    got = scores.compute()
    torch.testing.assert_close(got["average_precision"], average_precision(data.maps, masks).mean())
    predicted = foreground(data.maps)
    counts = torch.stack([(predicted & masks).sum(), (predicted & ~masks).sum(), (~predicted & masks).sum()])
    background = (~predicted & ~masks).sum()
    torch.testing.assert_close(got["mean_iou"], mean_iou(torch.cat([counts, background[None]])))


def test_errors():
    box = PatchBox(GRID, 0, size=SIZE)
    data = attributed(box, white(1, SIZE), torch.zeros(1, 100))
    with pytest.raises(ValueError, match="'chefer' scores the true label; the data has no labels"):
        get_protocol("chefer").evaluate(box, data)
    with pytest.raises(ValueError, match="'seg' compares maps with ground-truth masks; the data has no masks"):
        get_protocol("seg").evaluate(box, data)
    with pytest.raises(
        ValueError, match="Got protocol 'roar', expected one of .*chefer, chefer_predicted, .*eraser, .*fex, .*seg"
    ):
        get_protocol("roar")


def test_another_removal_is_part_of_the_name():
    protocol = get_protocol("fex/black")
    assert protocol.describe(GRID)["removal"] == "black"
    assert (protocol.name, protocol.fractions) == ("fex/black", get_protocol("fex").fractions)
    # The box's mean colour is black here, and the picture white: mean and black fill are the same, noise is not.
    box = LinearBox(GRID, [0.01] * 100, size=SIZE)
    data = attributed(box, white(2, SIZE), torch.rand(2, 100))
    same, other = (get_protocol(f"fex/{fill}").evaluate(box, data)["positive_curve"] for fill in ("black", "blur"))
    torch.testing.assert_close(same, get_protocol("fex").evaluate(box, data)["positive_curve"])
    assert other.mean() == 1  # a white picture's blur is white
    with pytest.raises(ValueError, match="'seg/black': another removal is written NAME/REMOVAL, with NAME one of fex"):
        get_protocol("seg/black")
    with pytest.raises(ValueError, match="and REMOVAL one of mean, black, blur, noise"):
        get_protocol("fex/hole")


def test_protocols_say_what_they_remove():
    assert get_protocol("fex").describe(GRID) == {"removal": "mean", "unit": "10x10 patches"}
    assert get_protocol("chefer").describe(GRID) == {"removal": "black", "unit": "pixels"}


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_every_protocol_has_figures_of_its_steps_or_none(name):
    protocol = get_protocol(name)
    classes = 2
    means = {
        component: torch.rand(()) if width == 1 else torch.rand(width or 3 * classes * len(protocol.counts))
        for component, width in protocol.components.items()
    }
    figures = protocol.curves(means)
    stepped = {"fex", "chefer", "chefer_predicted", "rise", "dax", "text-insertion", "text-insertion-long"}
    assert bool(figures) == (name in stepped)
    for curve in figures.values():
        assert len(curve.x) == len(curve.y) > 1
        assert list(curve.x) == sorted(curve.x)
