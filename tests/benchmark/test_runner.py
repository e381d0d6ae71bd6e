import time
from dataclasses import replace

import pytest
import torch

from fex.baselines import RISE, CentreGaussian, Random
from fex.benchmark.runner import Candidate, Store, attributions, compare, evaluate_explainer, evaluate_explainers
from fex.benchmark.store import ResultStore
from fex.black_box import CachedBlackBox
from fex.images import PatchGrid
from fex.metrics import get_protocol
from tests.baselines.nets import box as network
from tests.baselines.nets import cnn
from tests.toys import LinearBox, PatchBox

GRID = PatchGrid(4, 4)
PATCH = 5


def box(**options):
    return PatchBox(GRID, PATCH, size=16, **options)


def batches(count=12, size=5):
    """Bright pictures whose foreground is the patch the box looks at; the last batch is padded."""
    inputs = 0.6 + 0.4 * torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = GRID.expand(torch.arange(16) == PATCH, (16, 16))
    for start in range(0, count, size):
        rows = torch.arange(start, start + size)
        part = rows % count
        yield {
            "inputs": inputs[part],
            "labels": torch.ones(size, dtype=torch.int64),
            "masks": mask.expand(size, -1, -1),
            "index": part,
            "valid": rows < count,
        }


class Oracle:
    """Knows the patch."""

    features = GRID

    def attribute_features(self, inputs, target=None):
        return (torch.arange(16) == PATCH).float().expand(len(inputs), -1)

    def attribute(self, inputs, target=None):
        return GRID.expand(self.attribute_features(inputs), (16, 16))


def test_an_oracle_has_the_known_scores():
    black_box = box()
    result = evaluate_explainer(Oracle(), batches(), black_box, GRID, ["fex", "seg"], method="oracle")
    rows = {(row["protocol"], row["metric"]): row for row in result.rows}
    # The patch is the second of 16 to go at 10 % (2 patches), and the last to go; 90 % leaves 2.
    positive, negative = rows["fex", "positive_auc"], rows["fex", "negative_auc"]
    assert (positive["value"], negative["value"]) == (pytest.approx(0.1), 1.0)
    assert positive["ci95"] == [pytest.approx(0.1), pytest.approx(0.1)]
    assert (positive["n"], positive["queries"], positive["method"]) == (12, 0, "oracle")
    assert (positive["removal"], positive["unit"]) == ("mean", "4x4 patches")
    assert positive["evaluation_queries"] == 1 + 2 * 9
    assert rows["seg", "pointing_game"]["value"] == 1
    assert rows["seg", "mean_iou"]["evaluation_queries"] == 1
    assert set(positive) == {
        *("method", "protocol", "metric", "value", "ci95", "n", "queries", "seconds"),
        *("peak_mb", "evaluation_queries", "removal", "unit"),
    }


def test_padding_and_batch_size_do_not_matter():
    def run(size):
        black_box = box()
        explainer = RISE(black_box, GRID, num_masks=30)
        return evaluate_explainer(explainer, batches(size=size), black_box, GRID, ["fex"], resamples=100)

    one, many = run(5), run(12)
    assert [row["value"] for row in one.rows] == pytest.approx([row["value"] for row in many.rows])
    assert one.scores["fex"].instances()[0].tolist() == list(range(12))
    # The target is named, the warm-up is not counted: K queries an instance.
    assert one.rows[0]["queries"] == 30
    assert one.rows[0]["seconds"] > 0


def test_pairs_are_compared():
    black_box = box()
    results = [
        evaluate_explainer(explainer, batches(), black_box, GRID, ["fex"], resamples=200)
        for explainer in (Oracle(), Random(GRID))
    ]
    value, low, high = compare(*results, "fex", "positive_auc", resamples=500)
    assert value == pytest.approx(results[0].rows[0]["value"] - results[1].rows[0]["value"], abs=1e-6)
    assert low < value < high < 0
    assert compare(results[1], results[1], "fex", "negative_auc", resamples=50) == (0, 0, 0)


def test_a_limit_stops_the_loader():
    taken = []

    def counted():
        for batch in batches():
            taken.append(1)
            yield batch

    result = evaluate_explainer(Oracle(), counted(), box(), GRID, ["fex"], limit=7, resamples=10)
    assert result.rows[0]["n"] == 7
    assert len(taken) == 2


def test_data_without_indices_is_counted():
    plain = [{"inputs": batch["inputs"]} for batch in batches(10)]
    result = evaluate_explainer(Oracle(), plain, box(), GRID, ["fex"], resamples=10)
    assert result.scores["fex"].instances()[0].tolist() == list(range(10))


class Pixels:
    """An explainer of pixels: a ramp."""

    def attribute(self, inputs, target=None):
        return torch.linspace(0, 1, 256).view(16, 16).expand(len(inputs), -1, -1)


def test_attributions_of_both_kinds():
    inputs = torch.rand(2, 3, 16, 16)
    scores, maps = attributions(Pixels(), inputs, None, GRID)
    torch.testing.assert_close(maps, Pixels().attribute(inputs))
    torch.testing.assert_close(scores, GRID.pool(maps))
    scores, maps = attributions(Oracle(), inputs, None, GRID)
    torch.testing.assert_close(scores, Oracle().attribute_features(inputs))
    torch.testing.assert_close(maps, GRID.smooth(scores, (16, 16)))
    # An explainer of a coarser grid is pooled from its own patches.
    coarse = CentreGaussian(PatchGrid(2, 2))
    scores, maps = attributions(coarse, inputs, None, GRID)
    torch.testing.assert_close(scores, GRID.pool(coarse.attribute(inputs)))


def test_a_linear_box_is_explained_best_by_its_weights():
    weights = torch.softmax(torch.arange(16.0) / 4, 0)
    black_box = LinearBox(GRID, weights, size=16)

    class Weights(Oracle):
        def attribute_features(self, inputs, target=None):
            return weights.expand(len(inputs), -1)

    runs = {
        explainer.__class__.__name__: evaluate_explainer(
            explainer, batches(40), black_box, GRID, ["fex"], resamples=100
        )
        for explainer in (Weights(), Random(GRID), RISE(black_box, GRID, num_masks=200))
    }
    positive, negative = ({name: run.rows[i]["value"] for name, run in runs.items()} for i in (0, 1))
    assert positive["Weights"] <= positive["RISE"] < positive["Random"]
    assert negative["Weights"] >= negative["RISE"] > negative["Random"]


class Wrong:
    def attribute(self, inputs, target=None):
        return torch.zeros(len(inputs), 4, 4)


def test_errors():
    with pytest.raises(ValueError, match="Got protocol 'none'"):
        evaluate_explainer(Oracle(), batches(), box(), GRID, ["none"])
    with pytest.raises(ValueError, match="got no valid instances"):
        evaluate_explainer(Oracle(), [], box(), GRID, [get_protocol("fex")])
    with pytest.raises(ValueError, match=r"Wrong.attribute returned shape \(5, 4, 4\), expected \(5, 16, 16\)"):
        evaluate_explainer(Wrong(), batches(), box(), GRID, ["fex"])
    few, all_of_them = (
        evaluate_explainer(Oracle(), batches(), box(), GRID, ["fex"], limit=limit, resamples=10) for limit in (3, None)
    )
    with pytest.raises(ValueError, match="scored on 3 instances and Oracle on 12, and they are not the same"):
        compare(few, all_of_them, "fex", "positive_auc")
    with pytest.raises(ValueError, match="Oracle has no 'mean_iou' of protocol 'fex'; it has"):
        compare(few, few, "fex", "mean_iou")


class Sometimes(Oracle):
    """NaN at one patch of one instance."""

    def attribute_features(self, inputs, target=None):
        found = super().attribute_features(inputs, target).clone()
        found[0, 3] = torch.nan
        return found


@pytest.mark.parametrize("protocol", ["fex", "seg", "infidelity", "dax-iou"])
def test_nan_attributions_are_an_error_under_every_protocol(protocol):
    with pytest.raises(ValueError, match="Attributions of Sometimes are NaN or infinite in 1 of 5 instances"):
        evaluate_explainer(Sometimes(), batches(), box(), GRID, [protocol])


def test_what_would_be_mixed_is_refused(tmp_path):
    store = Store(ResultStore(tmp_path), "box")
    with pytest.raises(ValueError, match="each candidate's `key`, which must not be empty"):
        evaluate_explainers([Candidate("A", Oracle())], batches(), box(), GRID, ["fex"], store=store)
    two = [get_protocol("saco"), replace(get_protocol("saco"), groups=4)]
    with pytest.raises(ValueError, match="of other settings under one name"):
        evaluate_explainer(Oracle(), batches(), box(), GRID, two)


def test_compiling_is_held_against_no_method(monkeypatch):
    """The first full chunk is asked before the first method is measured, where a box compiles at it."""
    black_box = network(cnn())
    black_box.chunk = 64
    rows, asked = [], []
    monkeypatch.setattr(type(black_box), "_network", lambda self, count: rows.append(count) or self.module)
    black_box.compile = True
    grid = PatchGrid(4, 4)

    class Looks(Oracle):
        def attribute_features(self, inputs, target=None):
            asked.append(64 in rows)
            return super().attribute_features(inputs, target)

    evaluate_explainer(Looks(), batches(), black_box, grid, ["fex"], limit=5)
    assert asked
    assert asked[0]


@pytest.mark.parametrize("cached", [False, True])
def test_memory_is_measured_without_the_compiler(cached, monkeypatch):
    """A compiler's runtime has memory of its own, which no profiler sees: what it leaves to torch is no peak."""
    inner = network(cnn())
    inner.compile = True
    compiling = []
    monkeypatch.setattr(type(inner), "_frozen", lambda self, x: compiling.append(self.compile) or self.module(x))
    measured = []

    def peak(run, *_):
        compiling.clear()
        run()
        measured.append(bool(compiling))
        return 0

    monkeypatch.setattr("fex.benchmark.method_run.peak_bytes", peak)
    black_box = CachedBlackBox(inner, capacity=1) if cached else inner  # one answer: all is asked again
    black_box.chunk = inner.chunk = 5
    rise = RISE(black_box, PatchGrid(4, 4), num_masks=20, seed=1)
    candidate = Candidate("RISE", rise)
    evaluate_explainers([candidate], batches(size=5), black_box, PatchGrid(4, 4), ["fex"], limit=5, memory=True)
    assert compiling  # before and after it is used
    assert measured == [False]
    assert inner.compile is True


def test_memory_is_that_of_the_network_where_answers_are_remembered():
    peaks = []
    for cached in (False, True):
        black_box = CachedBlackBox(network(cnn())) if cached else network(cnn())
        rise = Candidate("RISE", RISE(black_box, PatchGrid(4, 4), num_masks=60))
        found = evaluate_explainers([rise], batches(size=5), black_box, PatchGrid(4, 4), ["fex"], limit=5, memory=True)
        peaks.append(found[0].rows[0]["peak_mb"])
        if cached:
            assert black_box.hits
    assert peaks[1] > 0.5 * peaks[0]


class SlowAtFirst(Oracle):
    """As methods are that make something at first use."""

    calls = 0

    def attribute_features(self, inputs, target=None):
        self.calls += 1
        if self.calls == 1:
            time.sleep(0.3)
        return super().attribute_features(inputs, target)


@pytest.mark.parametrize(("longest", "calls"), [(5.0, 1 + 3), (0.0, 3)])
def test_first_use_is_not_held_against_a_method(longest, calls, monkeypatch):
    """A short first batch is explained again, a long one left out; the only one there is counts."""
    monkeypatch.setattr("fex.benchmark.method_run.LONGEST_WARM_UP", longest)
    method = SlowAtFirst()
    found = evaluate_explainer(method, batches(), box(), GRID, ["seg"], resamples=10)
    assert method.calls == calls
    assert found.rows[0]["seconds"] < 0.3 / 12
    only = evaluate_explainer(SlowAtFirst(), batches(size=12), box(), GRID, ["seg"], resamples=10)
    assert (only.rows[0]["seconds"] >= 0.3 / 12) == (longest == 0)


class Fails(Oracle):
    """Works for one batch."""

    explained = 0

    def attribute_features(self, inputs, target=None):
        Fails.explained += 1
        if Fails.explained > 2:  # the first batch is explained twice
            raise ArithmeticError("no more")
        return super().attribute_features(inputs, target)


def test_what_cannot_be_scored_is_neither_explained_nor_called_stored():
    black_box, told = box(), []
    blank = [{key: value for key, value in batch.items() if key != "masks"} for batch in batches()]
    rise = Candidate("RISE", RISE(black_box, GRID, num_masks=20))
    (found,) = evaluate_explainers([rise], blank, black_box, GRID, ["seg"], progress=lambda *a: told.append(a))
    assert "the data has no masks" in str(found.errors["seg"])
    assert black_box.queries == 12  # the clean predictions alone
    assert told == [(5, "left out"), (5, "left out"), (2, "left out")]
    told.clear()
    (found,) = evaluate_explainers(
        [Candidate("Fails", Fails())], batches(), box(), GRID, ["seg"], progress=lambda *a: told.append(a)
    )
    assert told == [(5, "explained"), (5, "left out"), (2, "left out")]
    assert isinstance(found.errors[""], ArithmeticError)


def test_a_protocol_of_texts_is_refused_before_anything_is_explained():
    asked = []

    class Asked(Oracle):
        def attribute_features(self, inputs, target=None):
            asked.append(len(inputs))
            return super().attribute_features(inputs, target)

    candidate = Candidate("oracle", Asked())
    (found,) = evaluate_explainers([candidate], batches(), box(), GRID, ["text-insertion", "eraser"], resamples=10)
    assert "Protocol 'text-insertion' is one of texts: use fex, rise or dax" in str(found.errors["text-insertion"])
    assert "Protocol 'eraser' is one of texts" in str(found.errors["eraser"])
    assert asked == []


def test_memory_is_measured_in_a_later_batch_where_the_first_one_was_slow(tmp_path, monkeypatch):
    monkeypatch.setattr("fex.benchmark.method_run.LONGEST_PROFILE", 0.2)

    class SlowAtFirst(Oracle):
        calls = 0

        def attribute_features(self, inputs, target=None):
            if type(self).calls == 0:
                time.sleep(0.3 * len(inputs))
            type(self).calls += 1
            return super().attribute_features(inputs, target)

    store = Store(ResultStore(tmp_path), "box")
    monkeypatch.setattr("fex.benchmark.method_run.LONGEST_WARM_UP", 0.1)
    same = [Candidate(name, SlowAtFirst(), key="same") for name in ("one", "two")]
    for found in evaluate_explainers(same, batches(), box(), GRID, ["fex"], resamples=10, memory=True, store=store):
        assert found.rows[0]["peak_mb"] > 0


def test_one_protocol_without_its_data_leaves_the_others():
    blank = [{key: value for key, value in batch.items() if key != "masks"} for batch in batches()]
    (found,) = evaluate_explainers([Candidate("Oracle", Oracle())], blank, box(), GRID, ["seg", "fex"], resamples=20)
    assert {row["protocol"] for row in found.rows} == {"fex"}
    assert set(found.errors) == {"seg"}
