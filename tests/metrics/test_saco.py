import pytest
import torch

from fex.images import PatchGrid
from fex.metrics import Attributed, SaCo, get_protocol
from fex.metrics.functional import group_masks, group_means, salience_coefficient
from tests.toys import LinearBox, white

GRID = PatchGrid(2, 4)
WEIGHTS = torch.tensor([0.2, 0.05, 0.15, 0.1, 0.12, 0.08, 0.01, 0.09])


def attributed(box, scores, inputs=None):
    inputs = white(len(scores)) if inputs is None else inputs
    return Attributed(inputs, scores, GRID.smooth(scores, (8, 8)), GRID, box(inputs))


def by_pairs(saliences, effects):
    """The authors' double loop."""
    vote = total = 0.0
    for i in range(len(saliences)):
        for j in range(i + 1, len(saliences)):
            weight = saliences[i] - saliences[j]
            vote += weight if effects[i] >= effects[j] else -weight
            total += weight
    return vote / total


def test_coefficient_is_the_vote_of_all_pairs():
    saliences = torch.rand(6, 9).sort(1, descending=True).values
    effects = (torch.rand(6, 9) * 5).round() / 5  # with ties
    expected = [by_pairs(s, e) for s, e in zip(saliences.double().tolist(), effects.tolist(), strict=True)]
    assert salience_coefficient(saliences, effects).tolist() == pytest.approx(expected, abs=1e-6)


def test_groups_are_cut_from_the_ranking():
    ranks = torch.tensor([[4, 0, 2, 1, 3]])
    masks = group_masks(ranks, 2)
    assert (~masks).int().tolist() == [[[0, 1, 1, 1, 0], [1, 0, 0, 0, 1]]]
    assert group_means(torch.tensor([[1.0, 9.0, 4.0, 5.0, 2.0]]), ranks, 2).tolist() == [[6.0, 1.5]]


def test_a_linear_box_is_explained_by_its_weights_and_refuted_by_their_negative():
    box = LinearBox(GRID, WEIGHTS, bias=0.2)
    protocol = SaCo("saco", groups=8)
    before = box.queries
    scores = torch.stack([WEIGHTS, -WEIGHTS])
    result = protocol.evaluate(box, attributed(box, scores))["coefficient"]
    assert result.tolist() == [1, -1]
    assert box.queries - before == 2 + 2 * 8  # clean, and each group
    # Sizes count, not only the order: squeezing the largest keeps the order and so the coefficient of a right map.
    assert protocol.evaluate(box, attributed(box, WEIGHTS.sqrt()[None]))["coefficient"].tolist() == [1]


def test_one_wrong_pair_costs_its_weight():
    box = LinearBox(GRID, WEIGHTS, bias=0.2)
    scores = WEIGHTS.clone()
    scores[[0, 6]] = scores[[6, 0]]  # the largest and the smallest change places
    got = SaCo("saco", groups=8).evaluate(box, attributed(box, scores[None]))["coefficient"].item()
    order = scores.argsort(descending=True)
    assert got == pytest.approx(by_pairs(scores[order].tolist(), WEIGHTS[order].tolist()), abs=1e-5)
    assert -1 < got < 1


def test_constant_maps_have_no_coefficient():
    box = LinearBox(GRID, WEIGHTS, bias=0.2)
    assert get_protocol("saco").evaluate(box, attributed(box, torch.ones(1, 8)))["coefficient"].isnan().all()


def test_errors():
    with pytest.raises(ValueError, match=r"Got 9 groups for 8 features, expected 2 ... 8"):
        group_masks(torch.arange(8)[None], 9)
    with pytest.raises(ValueError, match="saliences that rise"):
        salience_coefficient(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"\(1, 2\) and effects of \(1, 3\)"):
        salience_coefficient(torch.zeros(1, 2), torch.zeros(1, 3))


def test_effects_that_are_all_the_same_give_no_coefficient():
    """Nothing that is removed changes anything: any order would fit, that of Random too."""
    saliences = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    found = salience_coefficient(saliences, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]]))
    assert found[0].isnan()
    assert found[1].tolist() == pytest.approx((1 - 2 - 1) / 4)
