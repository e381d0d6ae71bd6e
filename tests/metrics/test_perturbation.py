import pytest
import torch

from fex.images import Black, PatchGrid
from fex.masking import Masker
from fex.metrics.functional import mean_auc, perturbation_curve, rank_features, removal_masks, trapezoid_auc
from tests.toys import LinearBox, PatchBox, white

GRID = PatchGrid(2, 2)
WEIGHTS = [0.1, 0.4, 0.2, 0.3]
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
FIRST, LAST = "most_important_first", "least_important_first"


def curve(box, scores, *, inputs=None, order=FIRST, **options):
    inputs = white(len(scores)) if inputs is None else inputs
    options = {"fractions": QUARTERS, "measure": "probability", **options}
    return perturbation_curve(box, Masker(box.grid, Black()), inputs, scores, order=order, **options)


def test_a_linear_box_has_the_known_curves():
    box = LinearBox(GRID, WEIGHTS)
    one = torch.tensor([1])
    positive = curve(box, torch.tensor([WEIGHTS]), target=one)
    torch.testing.assert_close(positive, torch.tensor([[1.0, 0.6, 0.3, 0.1, 0.0]]))
    negative = curve(box, torch.tensor([WEIGHTS]), target=one, order=LAST)
    torch.testing.assert_close(negative, torch.tensor([[1.0, 0.9, 0.7, 0.4, 0.0]]))


def test_the_negated_map_is_the_other_order():
    box = LinearBox(GRID, WEIGHTS)
    scores = torch.rand(5, 4)
    torch.testing.assert_close(curve(box, -scores), curve(box, scores, order=LAST))


def test_agreement_is_with_the_clean_top_class():
    box = LinearBox(GRID, WEIGHTS)  # class 1 while more than half of the weight is left
    got = curve(box, torch.tensor([WEIGHTS]), measure="agreement")
    assert got.tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0]]
    against_zero = curve(box, torch.tensor([WEIGHTS]), measure="agreement", target=torch.tensor([0]))
    assert against_zero.tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0]]


def test_the_perfect_map_beats_any_other_at_every_point():
    box = LinearBox(PatchGrid(4, 4), torch.softmax(torch.randn(16), 0))
    inputs, perfect = white(64), box.weights.expand(64, -1)
    for fraction in (0.25, 0.5, 0.75):
        options = {"inputs": inputs, "fractions": (fraction,), "target": torch.ones(64, dtype=torch.int64)}
        best, others = curve(box, perfect, **options), curve(box, torch.rand(64, 16), **options)
        assert (best <= others + 1e-6).all()
        assert best.mean() < others.mean() - 0.05
        assert (curve(box, perfect, order=LAST, **options) >= others - 1e-6).all()


def test_the_clean_point_is_asked_once_and_shared():
    box = LinearBox(GRID, WEIGHTS)
    inputs, scores = white(3), torch.rand(3, 4)
    curve(box, scores, inputs=inputs)
    assert box.queries == 3 + 3 * 4
    clean = box(inputs)
    box.queries = 0
    for order in (FIRST, LAST):
        curve(box, scores, inputs=inputs, order=order, clean=clean)
    assert box.queries == 2 * 3 * 4


def test_counts_removed_are_rounded():
    ranks = torch.arange(64).unsqueeze(0)
    masks = removal_masks(ranks, [i / 10 for i in range(10)], FIRST)
    assert (~masks).sum(2).tolist() == [[0, 6, 13, 19, 26, 32, 38, 45, 51, 58]]


def test_ties_are_broken_at_random_and_by_the_instance():
    inputs = torch.rand(400, 3, 8, 8)
    scores = torch.zeros(400, 4)
    box = PatchBox(GRID, 0)
    black = Masker(GRID, Black())
    seeds = list(range(400))
    ranks = rank_features(scores, seeds)
    assert torch.equal(ranks, rank_features(scores, seeds))
    # Each feature is first in a quarter of the instances, within 4 standard errors.
    share = (ranks == 0).float().mean(0)
    assert ((share - 0.25).abs() < 4 * (0.25 * 0.75 / 400) ** 0.5).all()
    # In batches of one the same order.
    options = {"fractions": (0.5,), "order": FIRST, "target": torch.tensor(1)}
    together = perturbation_curve(box, black, inputs, scores, **options)
    alone = [perturbation_curve(box, black, x[None], s[None], **options) for x, s in zip(inputs, scores, strict=True)]
    assert torch.equal(together, torch.cat(alone))
    other = perturbation_curve(box, black, inputs, scores, seed=1, **options)
    assert not torch.equal(together, other)


def test_only_ties_are_shuffled():
    ranks = rank_features(torch.tensor([[0.5, 2.0, 0.5, 1.0, 0.5]]), [7])
    assert ranks[0, [1, 3]].tolist() == [0, 1]
    assert sorted(ranks[0, [0, 2, 4]].tolist()) == [2, 3, 4]


def test_scores_beyond_bf16_are_still_told_apart():
    scores = 1 + torch.arange(8) * 1e-5
    assert rank_features(scores[None], [0]).tolist() == [[7, 6, 5, 4, 3, 2, 1, 0]]


@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_chunks_do_not_change_the_curve(chunk):
    box = LinearBox(GRID, WEIGHTS, chunk=chunk)
    scores = torch.tensor([WEIGHTS, WEIGHTS[::-1]])
    reference = curve(LinearBox(GRID, WEIGHTS), scores)
    torch.testing.assert_close(curve(box, scores), reference)


def test_areas():
    points = torch.tensor([[1.0, 0.5, 0.0]])
    assert mean_auc(points).item() == pytest.approx(0.5)
    assert trapezoid_auc(points, (0.0, 0.4, 0.8)).item() == pytest.approx(0.4 * 0.75 + 0.4 * 0.25)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_features(torch.tensor([[0.0, torch.nan]]), [0]), "NaN in 1 of 1 instances"),
        (lambda: rank_features(torch.rand(2, 3), [0]), r"shape \(2, 3\) and 1 seeds"),
        (lambda: removal_masks(torch.zeros(1, 4).long(), (0.5, 1.5), FIRST), r"fractions \(0.5, 1.5\), expected"),
        (lambda: removal_masks(torch.zeros(1, 4).long(), (0.5,), "upwards"), "order 'upwards', expected"),
        (lambda: curve(LinearBox(GRID, WEIGHTS), torch.rand(2, 3)), r"scores of shape \(2, 3\), expected \(2, 4\)"),
        (lambda: curve(LinearBox(GRID, WEIGHTS), torch.rand(2, 4), measure="loss"), "measure 'loss', expected"),
        (lambda: trapezoid_auc(torch.rand(3, 4), (0.0, 1.0)), "4 points for 2 fractions"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
