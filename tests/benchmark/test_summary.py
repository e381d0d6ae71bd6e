"""Significance, grid bias, break-even."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from fex.baselines import RISE, Random
from fex.benchmark.cost import break_even, training_cost
from fex.benchmark.runner import Candidate, Store, compare, evaluate_explainers
from fex.benchmark.significance import _differs, against_best, grid_bias
from fex.benchmark.store import ResultStore
from fex.benchmark.summary import summarise
from fex.metrics.functional.bootstrap import Interval, paired_difference
from fex.metrics.protocols import PROTOCOLS, get_protocol
from fex.report.tables import DIRECTIONS
from tests.benchmark.test_runner import GRID, Oracle, batches, box


class Worse(Oracle):
    """The oracle turned round."""

    def attribute_features(self, inputs, target=None):
        return -super().attribute_features(inputs, target)


@pytest.fixture(scope="module")
def evaluations():
    black_box = box()
    candidates = [
        Candidate("Worse", Worse()), Candidate("Oracle", Oracle()), Candidate("Twin", Oracle()),
        Candidate("Random", Random(GRID)),
    ]  # fmt: skip
    return evaluate_explainers(candidates, batches(), black_box, GRID, ["fex", "class_discrimination"], resamples=50)


def test_each_row_is_weighed_against_the_best_of_its_column(evaluations):
    found = against_best(evaluations, resamples=200)
    best = found["Oracle", "fex", "positive_auc"]
    assert best == {"best": "Oracle", "to_best": 0.0, "to_best_ci95": [0.0, 0.0], "differs": False}
    assert not found["Twin", "fex", "positive_auc"]["differs"]
    worse = found["Worse", "fex", "positive_auc"]
    expected = compare(evaluations[0], evaluations[1], "fex", "positive_auc", resamples=200)
    assert (worse["to_best"], worse["to_best_ci95"], worse["differs"]) == (expected.value, [*expected[1:]], True)
    # The higher the better: the same oracle is best there too; all maps ignore the class.
    assert found["Worse", "fex", "negative_auc"]["best"] == "Oracle"
    assert found["Worse", "class_discrimination", "class_correlation"]["to_best"] == 0


def test_a_few_easy_instances_make_no_best(evaluations):
    few = replace(copy.deepcopy(evaluations[1]), method="Few")
    for row in few.rows:
        row["method"] = "Few"
        if row["protocol"] == "class_discrimination":
            row["n"], row["value"] = 1, -1.0
    found = against_best([evaluations[0], few], resamples=20)
    assert found["Few", "class_discrimination", "class_correlation"]["best"] == "Worse"


def test_one_missing_value_unmakes_no_best(evaluations):
    nearly = replace(copy.deepcopy(evaluations[1]), method="Nearly")
    for row in nearly.rows:
        row["method"], row["n"] = "Nearly", row["n"] - 1
    found = against_best([evaluations[0], nearly], resamples=20)
    assert found["Worse", "fex", "positive_auc"]["best"] == "Nearly"


@pytest.mark.parametrize(("unequal", "expected"), [(3, False), (4, None), (5, None), (6, True), (60, True)])
def test_a_few_unequal_pairs_make_no_difference(unequal, expected):
    """Of 200 hits and misses all but these are equal; a sign test of five says p = 0.06."""
    a, b = torch.zeros(200), torch.zeros(200)
    b[:unequal] = 1
    interval = paired_difference(a, b, resamples=4000, seed=0)
    assert _differs(interval, a, b) is expected
    assert _differs(interval, a[:5], b[:5]) is None


def test_without_an_instance_in_common_nothing_is_said(evaluations, monkeypatch):
    nothing = Interval(math.nan, math.nan, math.nan)
    monkeypatch.setattr("fex.benchmark.significance.compare", lambda *_, **__: nothing)
    monkeypatch.setattr("fex.benchmark.significance.shared", lambda *_: (torch.zeros(0), torch.zeros(0)))
    found = against_best(evaluations)
    assert found["Worse", "fex", "positive_auc"]["differs"] is None
    assert found["Oracle", "fex", "positive_auc"]["differs"] is False


@pytest.mark.parametrize(("count", "differs"), [(1, None), (5, None), (6, True)])
def test_a_handful_of_instances_makes_no_difference(count, differs):
    candidates = [Candidate("Worse", Worse()), Candidate("Oracle", Oracle())]
    few = evaluate_explainers(candidates, batches(), box(), GRID, ["fex"], limit=count)
    found = against_best(few)["Worse", "fex", "positive_auc"]
    assert found["to_best_ci95"][0] > 0  # all go one way, whose bootstrap knows nothing else
    assert found["differs"] is differs


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_every_score_has_a_direction(protocol):
    without = {"iou_sd", "incorrect_iou_sd", "shuffled_weights_correlation"}
    assert set(get_protocol(protocol).summaries) - without <= set(DIRECTIONS)


def test_a_summary_is_plain_finite_and_complete(evaluations):
    report = summarise(
        evaluations, failed={"Gone": "FileNotFoundError: no"}, training={"Oracle": {"queries": 100}},
        removals={"Oracle": "mean"}, reference="Random", random=[], resamples=50,
    )  # fmt: skip
    assert [row["method"] for row in report["rows"] if row.get("error")] == ["Gone"]
    oracle = next(row for row in report["rows"] if row["method"] == "Oracle")
    assert oracle["break_even"] == {"queries": None}  # Random asks nothing either
    assert {d["a"] for d in report["differences"]} == {"Worse"}
    assert report["removal_matrix"] == []
    curve = next(c for c in report["curves"] if (c["method"], c["curve"]) == ("Oracle", "negative_curve"))
    assert curve["mean"] == [1.0] * 10


def test_numbers_that_do_not_exist_are_none():
    black_box = box()
    evaluations = evaluate_explainers(
        [Candidate("Random", Random(GRID))], batches(), black_box, GRID, ["model_randomisation"], resamples=10
    )
    report = summarise(
        evaluations, failed={}, training={}, removals={}, reference=None, random=["Random"], resamples=10
    )
    row = report["rows"][0]
    assert (row["value"], row["ci95"], row["n"]) == (None, [None, None], 0)
    assert report["warnings"] == []


class GridOrder(Random):
    """The first features of the grid first: a map without information that has a direction."""

    def attribute_features(self, inputs, target=None):
        return -torch.arange(16.0).expand(len(inputs), -1)


def test_a_biased_grid_is_warned_of_and_an_even_one_not():
    black_box = box()
    biased, even = evaluate_explainers(
        [Candidate("Biased", GridOrder(GRID)), Candidate("Random", Random(GRID))],
        batches(40), black_box, GRID, ["fex"], resamples=50,
    )  # fmt: skip
    assert grid_bias(even) == []
    (warning,) = grid_bias(biased)
    assert "Biased's positive and negative AUC of protocol 'fex' differ by -" in warning
    assert "favours one direction" in warning
    # Of a few instances an interval excludes 0 by chance.
    few, _ = evaluate_explainers(
        [Candidate("Biased", GridOrder(GRID)), Candidate("Random", Random(GRID))],
        batches(7), black_box, GRID, ["fex"], resamples=50,
    )  # fmt: skip
    assert grid_bias(few) == []


@pytest.mark.parametrize(
    ("training", "own", "reference", "count"),
    [(1000, 0, 100, 10), (1000, 1, 100, 11), (0, 5, 1, 0), (10, 1, 1, None), (10, 2, 1, None), (0.3, 0.0, 0.1, 3)],
)
def test_break_even(training, own, reference, count):
    assert break_even(training, own, reference) == count
    if count:
        assert training + count * own <= count * reference + 1e-9
        assert training + (count - 1) * own > (count - 1) * reference


def test_training_cost_is_checked():
    assert training_cost(Oracle()) is None
    assert training_cost(Oracle(), {"queries": 3}) == {"queries": 3.0}
    with pytest.raises(ValueError, match="expected `queries` and `seconds`"):
        training_cost(Oracle(), {"hours": 3})
    for broken in ({"queries": "many"}, {"seconds": None}, {"seconds": -1}, "an hour"):
        with pytest.raises(ValueError, match="expected `queries` and `seconds`"):
            training_cost(Oracle(), broken)
    assert training_cost(Oracle(), {"seconds": 1}) == {"seconds": 1.0}


def test_a_method_is_built_anew_around_a_shuffled_box_once():
    from fex.benchmark.build import build_candidate
    from tests.metrics.test_explaining_again import net_box

    black_box = net_box()
    built = []
    inputs = [{"inputs": torch.rand(3, 3, 8, 8)} for _ in range(2)]
    spec = {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 30}}
    candidate = build_candidate("RISE", spec, {"black_box": black_box, "features": GRID, "seed": 0}, "")
    blind = build_candidate("Random", {"class_path": "fex.baselines.Random"}, {"features": GRID, "seed": 0}, "")
    assert blind.rebuild is None

    def rebuild(other):
        built.append(other)
        return candidate.rebuild(other)

    counting = Candidate("RISE", candidate.explainer, rebuild)
    (evaluation,) = evaluate_explainers([counting], inputs, black_box, GRID, ["model_randomisation"], resamples=10)
    assert len(built) == 1
    assert isinstance(candidate.rebuild(built[0]), RISE)
    assert candidate.rebuild(built[0]).black_box is built[0]
    assert -1 <= evaluation.rows[0]["value"] < 1


def test_features_are_handed_to_those_that_take_such():
    """IASSA's are a backbone; an empty `init_args:` is none."""
    from fex.benchmark.build import build_method
    from fex.iassa import IASSA
    from tests.metrics.test_explaining_again import net_box

    injected = {"black_box": net_box(), "features": GRID, "seed": 3}
    rise = build_method("fex.baselines.RISE", {}, injected)
    assert (rise.features, rise.black_box) == (GRID, injected["black_box"])
    iassa = build_method("fex.iassa.IASSA", {"features": None}, injected)
    assert isinstance(iassa, IASSA)
    assert (iassa.attention_features, iassa.seed) == (None, 3)
    nested = {"fit": {"class_path": "fex.dax.FitSettings", "init_args": None}}
    assert build_method("fex.dax.DAX", nested, injected).settings.max_epochs is None


class Ones(Random):
    """Every second map says nothing."""

    def attribute_features(self, inputs, target=None):
        found = super().attribute_features(inputs, target)
        found[::2] = 1
        return found


def test_flat_maps_are_counted_and_told(tmp_path):
    black_box, store = box(), Store(ResultStore(tmp_path), "box")
    candidates = [Candidate("Ones", Ones(GRID), key="ones"), Candidate("Random", Random(GRID), key="random")]
    for _ in range(2):  # the second time from what is kept
        found = evaluate_explainers(candidates, batches(), black_box, GRID, ["fex"], store=store, resamples=10)
        report = summarise(found, failed={}, training={}, removals={}, reference=None, random=[], resamples=10)
        # Of batches of 5, 5 and 2.
        assert report["flat_maps"] == {
            "Ones": {"flat": 7, "instances": 12}, "Random": {"flat": 0, "instances": 12},
        }  # fmt: skip
        assert report["warnings"] == [
            "Ones: 7 of 12 maps are nearly flat: their values hardly differ, so the order of their features, and what "
            "is scored by it, says little."
        ]
