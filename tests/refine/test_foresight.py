"""Misses foreseen at no query: found where signs tell them, a constant where they do not; totals are never exceeded."""

import json
import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from fex.explainers import AmortizedExplainer
from fex.images import Black, PatchGrid
from fex.refine import Experience, Foresight, Refined, spend, worth_asking
from fex.refine.foresight import PENALTIES, SMALL, ridge, signs, worst_tenth
from tests.explainers.tiny import tiny_box, tiny_explainer
from tests.lightning_modules.test_texts import explainer as text_explainer
from tests.refine.test_refined import EFFECTS, Fixed
from tests.toys import LinearBox, white


def planted(count, seed, told=2.0):
    """Log misses go by sign 3 of 20, with noise."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, 20, generator=generator, dtype=torch.float64) * 0.3 + 5
    noise = torch.randn(count, generator=generator, dtype=torch.float64)
    return found, (-6 + told * (found[:, 3] - 5) / 0.3 + 0.5 * noise).exp()


def test_a_planted_sign_is_found():
    foresight = Foresight.learnt(*planted(200, 0))
    fresh, misses = planted(400, 1)
    told = foresight(fresh)
    assert worst_tenth(told, misses) > 0.9
    assert foresight.auroc > 0.9
    assert foresight.rank_correlation > 0.8
    assert not foresight.blind
    # In units of probability: over all inputs, and of the lower and the higher half apart.
    high = told > told.median()
    for rows in (high, ~high):
        assert float(told[rows].square().mean() / misses[rows].mean()) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_signs_that_tell_nothing_give_a_constant(seed):
    found, misses = planted(200, seed, told=0.0)
    foresight = Foresight.learnt(found, misses)
    assert foresight.blind
    assert (foresight.rank_correlation, foresight.auroc) == (0.0, 0.5)
    torch.testing.assert_close(foresight(found), misses.mean().sqrt().expand(200).float(), rtol=0.02, atol=0)


def test_few_inputs_and_equal_misses_give_a_constant():
    assert Foresight.learnt(*planted(10, 0)).blind
    foresight = Foresight.learnt(planted(50, 0)[0], torch.full((50,), 0.01))
    assert foresight.blind
    assert float(foresight(planted(1, 3)[0])) == pytest.approx(0.1, abs=1e-3)


def test_nothing_is_foreseen_beyond_what_was_seen():
    found, misses = planted(200, 0)
    told = Foresight.learnt(found, misses)(torch.full((1, 20), 1e4))
    assert float(told) <= 3 * float(misses.max()) ** 0.5


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("width", [3, 40])
def test_leave_one_out_is_that_of_brute_force(penalty, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(25, width, generator=generator, dtype=torch.float64)
    x, y = x - x.mean(0), torch.randn(25, generator=generator, dtype=torch.float64)
    weights, told = ridge(x, y, penalty)
    slopes = torch.cat([x, torch.ones(25, 1, dtype=torch.float64)], 1)
    free = torch.diag(torch.tensor([penalty] * width + [0.0], dtype=torch.float64))

    def fitted(rows):
        return torch.linalg.solve(slopes[rows].mT @ slopes[rows] + free, slopes[rows].mT @ y[rows])

    every = torch.arange(25)
    torch.testing.assert_close(weights, fitted(every)[:-1])
    torch.testing.assert_close(told, torch.stack([slopes[i] @ fitted(every[every != i]) for i in range(25)]))


def test_the_worst_tenth_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    told, found = torch.rand(2, 60, generator=generator).mul(20).round().div(20) + torch.tensor([[0.0], [1.0]])
    found = found + torch.arange(60) * 1e-6
    worst = torch.zeros(60, dtype=torch.bool)
    worst[found.argsort()[-6:]] = True
    assert worst_tenth(told, found) == pytest.approx(roc_auc_score(worst, told))


def test_it_survives_json():
    found, misses = planted(100, 0)
    foresight = Foresight.learnt(found, misses)
    again = Foresight.of(json.loads(json.dumps(foresight.to_dict())))
    assert torch.equal(again(found), foresight(found))
    assert Foresight.of(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"slopes": []}, {"slopes": [[1.0]]}, {"slopes": [math.nan]}, {"slopes": "a"}, {"slopes": [0.0] * 70_000},
        {"bias": math.inf}, {"low": 3.0, "high": 2.0}, {"high": 1e9}, {"auroc": 2.0}, {"rank_correlation": math.nan},
        {"inputs": None}, {"inputs": math.inf},
    ],
)  # fmt: skip
def test_damaged_data_is_refused(change):
    with pytest.raises(ValueError, match="damaged"):
        Foresight.of({**Foresight.learnt(*planted(30, 0)).to_dict(), **change})
    with pytest.raises(ValueError, match="damaged"):
        Foresight.of(3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="another explainer"):
        Foresight.learnt(*planted(30, 0))(torch.zeros(2, 19))
    with pytest.raises(ValueError, match="expected"):
        Foresight.learnt(torch.zeros(3, 2), torch.zeros(4))
    with pytest.raises(ValueError, match="finite"):
        Foresight.learnt(torch.full((3, 2), torch.nan), torch.zeros(3))


def test_signs_are_the_same_in_any_batch_and_at_any_length():
    explainer = tiny_explainer()
    inputs = torch.rand(3, 3, 16, 16)
    together = signs(explainer.net, inputs)
    assert together.shape == (3, SMALL + explainer.net.hidden)
    torch.testing.assert_close(together[1:2], signs(explainer.net, inputs[1:2]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together, signs(explainer.net, inputs, torch.full((3,), 4)))
    texts = text_explainer()
    reading = texts.modality.read(["a gem", "the film is a mess, so odd and so long"], texts.preprocess)
    ((_, both),) = reading.batches()
    alone = texts.modality.read("a gem", texts.preprocess).inputs
    assert both.shape[1] > alone.shape[1]
    torch.testing.assert_close(signs(texts.net, both)[:1], signs(texts.net, alone), rtol=1e-3, atol=1e-4)


def with_foresight(**changes):
    explainer = tiny_explainer()
    net = explainer.net
    inputs = torch.rand(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = signs(net, inputs)
    foresight = Foresight.learnt(found, (found[:, -1] - found[:, -1].min()) ** 2 * 0.1)
    assert not foresight.blind
    return AmortizedExplainer(net, {**explainer.meta, "foresight": foresight.to_dict(), **changes})


def test_an_explainer_foresees_or_says_why_not():
    inputs = torch.rand(4, 3, 16, 16)
    explainer = with_foresight()
    told = explainer.foresee(inputs)
    assert told.shape == (4,)
    assert float(told.std()) > 0
    own = explainer.predict(inputs).argmax(1)
    assert torch.equal(told, explainer.foresee(inputs, own))
    assert not torch.equal(told, explainer.foresee(inputs, "drum"))
    with pytest.raises(ValueError, match="has not learnt to foresee"):
        tiny_explainer().foresee(inputs)
    with pytest.raises(ValueError, match="one class for all inputs or one each"):
        explainer.foresee(inputs, torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="damaged"):
        with_foresight(foresight={"slopes": 3})


def test_experience_learns_it():
    grid = PatchGrid(3, 3)
    experience = Experience(Refined(Fixed(EFFECTS), LinearBox(grid, EFFECTS, size=9), Black(), queries=16))
    classes, maps = torch.ones(30, dtype=torch.int64), torch.rand(30, 9, generator=torch.Generator().manual_seed(0))
    brightness = torch.linspace(0.1, 1, 30)
    inputs = white(30, 9) * brightness.view(-1, 1, 1, 1)
    experience.add(inputs[:10], classes[:10], maps[:10], brightness[:10].log().unsqueeze(1))
    experience.add(inputs[10:], classes[10:], maps[10:], brightness[10:].log().unsqueeze(1))
    foresight = experience.foresight()
    assert foresight.inputs == 30
    assert foresight.rank_correlation > 0.6  # a darker picture has smaller scores, and smaller misses
    assert Experience(experience.refined).foresight() is None


@pytest.mark.parametrize(("total", "count"), [(0, 0), (7, 0), (8, 1), (17, 2), (40, 5), (10**9, 5)])
def test_a_total_goes_to_the_largest_misses(total, count):
    foreseen = torch.tensor([0.1, 0.3, 0.2, 0.3, 0.0])
    chosen = worth_asking(foreseen, 8, total)
    assert chosen.nonzero().squeeze(1).tolist() == sorted([1, 3, 2, 0, 4][:count])


@pytest.mark.parametrize("size", [2, 5, 12])
def test_a_total_is_spent_whatever_the_batch_and_never_exceeded(size):
    inputs = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    box, explainer = tiny_box(), with_foresight()
    refined = Refined(explainer, box, queries=8)
    steps = list(spend(refined, inputs.split(size), 30))
    assert box.queries == 24  # three inputs; 30 do not suffice for four
    asked = [fidelity.queries for step in steps for fidelity in step.fidelity]
    worst = explainer.foresee(inputs).argsort(descending=True)[:3]
    assert sorted(worst.tolist()) == [row for row, count in enumerate(asked) if count]
    attribution, std = (torch.cat([getattr(step, name) for step in steps]) for name in ("attribution", "std"))
    plain = explainer.attribute_features(inputs)
    target = explainer.predict(inputs).argmax(1)
    for row, count in enumerate(asked):
        if count:
            alone = refined.refine(inputs[row : row + 1], target[row : row + 1])
            torch.testing.assert_close(attribution[row], alone.attribution[0], rtol=1e-3, atol=1e-5)
        else:
            torch.testing.assert_close(attribution[row], plain[row], rtol=1e-4, atol=1e-5)
        assert bool(std[row].isnan().all()) is not bool(count)


def test_a_total_that_cannot_be_spent_well_is_refused():
    inputs, box = torch.rand(4, 3, 16, 16), tiny_box()
    refined = Refined(with_foresight(), box, queries=8)

    class Shuffled:
        turn = 0

        def __iter__(self):
            self.turn += 1
            return iter([inputs, inputs.flip(0)][self.turn % 2].split(2))

    blind = {**Foresight.learnt(*planted(10, 0)).to_dict(), "slopes": [0.0] * (SMALL + 8)}
    for given, batches, total, said in (
        (refined, iter([inputs]), 30, "no generator"),
        (refined, Shuffled(), 8, "does not shuffle"),
        (refined, [inputs], 7, "less than the 8"),
        (Refined(with_foresight(), box, queries=8, until=0.5), [inputs], 30, "leave `until` out"),
        (Refined(tiny_explainer(), box, queries=8), [inputs], 30, "cannot foresee"),
        (Refined(with_foresight(foresight=blind), box, queries=8), [inputs], 30, "at random"),
    ):
        with pytest.raises(ValueError, match=said):
            list(spend(given, batches, total))
