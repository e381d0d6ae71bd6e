"""What is kept, when it is used again, and when not."""

import importlib
import logging
import random
from functools import partial

import numpy as np
import pytest
import torch

from fex.baselines import RISE, Random
from fex.benchmark.build import box_key, build_candidate
from fex.benchmark.fingerprint import fingerprint, referenced_files
from fex.benchmark.runner import Candidate, Store, evaluate_explainers
from fex.benchmark.store import Record, ResultStore
from fex.images import Blur, PatchGrid
from fex.metrics import get_protocol
from tests.benchmark.test_runner import GRID, PATCH, batches, box
from tests.toys import PatchBox


def run(store, candidates, black_box, protocols=("fex",), **options):
    return evaluate_explainers(
        candidates, batches(), black_box, GRID, list(protocols), store=store, resamples=50, **options
    )


def values(evaluations):
    return {(e.method, row["metric"]): (row["value"], row["ci95"]) for e in evaluations for row in e.rows}


def test_a_record_comes_back_whole(tmp_path):
    store = ResultStore(tmp_path)
    record = Record(
        3,
        60,
        1.5,
        {"fex@1": {"positive_curve": torch.rand(3, 10)}, "s@2": {"c": torch.rand(3)}},
        {"fex@1": 54, "s@2": 6},
    )
    record.maps = torch.rand(2, 4, 4)
    store.save("m", "b", record)
    found = store.load("m", "b")
    assert (found.instances, found.queries, found.seconds, found.evaluation) == (3, 60, 1.5, {"fex@1": 54, "s@2": 6})
    torch.testing.assert_close(found.components, record.components)
    torch.testing.assert_close(found.maps, record.maps)
    assert store.load("m", "other") is None
    assert store.load("other", "b") is None


def test_a_damaged_record_is_done_again_and_told(tmp_path, caplog):
    store = ResultStore(tmp_path)
    store.save("m", "b", Record(1, 0, 0.0))
    path = next(tmp_path.rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING, "fex"):
        assert store.load("m", "b") is None
    assert "what it held is done again" in caplog.text


class Stops(Random):
    """Raises at the third call after the warm-up, as when the power goes."""

    calls = 0

    def attribute_features(self, inputs, target=None):
        self.calls += 1
        if self.calls == 4:
            raise KeyboardInterrupt
        return super().attribute_features(inputs, target)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    store = Store(ResultStore(tmp_path), "box")
    black_box = box()
    with pytest.raises(KeyboardInterrupt):
        run(store, [Candidate("Random", Stops(GRID), key="key")], black_box)
    black_box.queries = 0
    told = []
    resumed = run(store, [Candidate("Random", Random(GRID), key="key")], black_box, progress=lambda *a: told.append(a))
    assert told == [(5, "stored"), (5, "stored"), (2, "explained")]
    # Whether it is the same box, by whole and by masked inputs, and the curves of the last batch, whose clean scores
    # were there already.
    assert black_box.queries == 4 + 4 + 2 * 18
    whole = run(None, [Candidate("Random", Random(GRID))], box())
    assert values(resumed) == values(whole)
    assert resumed[0].rows[0]["evaluation_queries"] == whole[0].rows[0]["evaluation_queries"] == 19


def test_another_method_seed_protocol_or_picture_is_not_taken_for_the_same(tmp_path):
    store = Store(ResultStore(tmp_path), "box")
    first = run(store, [Candidate("Random", Random(GRID), key="one")], box())
    other = run(store, [Candidate("Random", Random(GRID, seed=1), key="two")], box())
    assert values(first) != values(other)
    told = []
    run(store, [Candidate("Random", Random(GRID), key="one")], box(), seed=5, progress=lambda *a: told.append(a[1]))
    run(
        store, [Candidate("Random", Random(GRID), key="one")], box(), protocols=["fex/blur"],
        progress=lambda *a: told.append(a[1]),
    )  # fmt: skip
    changed = [{**batch, "inputs": batch["inputs"] * 0.99} for batch in batches()]
    evaluate_explainers(
        [Candidate("Random", Random(GRID), key="one")], changed, box(), GRID, ["fex"], store=store, resamples=10,
        progress=lambda *a: told.append(a[1]),
    )  # fmt: skip
    assert set(told) == {"explained"}


def test_a_box_that_answers_otherwise_is_not_taken_for_the_same(tmp_path):
    store = Store(ResultStore(tmp_path), "box")
    run(store, [Candidate("Random", Random(GRID), key="one")], box())
    asked = box()
    run(store, [Candidate("Random", Random(GRID), key="one")], asked)
    assert asked.queries == 4 + 4  # whole and masked
    with pytest.raises(ValueError, match=r"does not answer as it did when .* \(probabilities differ by 0.200\)"):
        run(store, [Candidate("Random", Random(GRID), key="one")], box(high=0.75))


def test_what_a_run_kept_that_was_killed_before_the_first_batch_is_not_written_anew(tmp_path):
    store = Store(ResultStore(tmp_path), "box")
    run(store, [Candidate("Random", Random(GRID), key="one")], box())
    (probe,) = tmp_path.rglob("probe*.npz")
    before = probe.stat().st_mtime_ns
    for path in probe.parent.glob("*.npz"):
        if path != probe:
            path.unlink()
    run(store, [Candidate("Random", Random(GRID), key="one")], box())
    assert probe.stat().st_mtime_ns == before


class Wavers(PatchBox):
    """As the box about whole pictures, which are bright, and undecided where something is removed."""

    def brightness_to_probability(self, brightness):
        found = super().brightness_to_probability(brightness)
        return torch.where((brightness < 0.55).any(1), 0.5, found)


def test_a_box_that_answers_otherwise_about_masked_inputs_is_not_either(tmp_path):
    store = Store(ResultStore(tmp_path), "box")
    run(store, [Candidate("Random", Random(GRID), key="one")], box())
    inputs = next(iter(batches()))["inputs"]
    other = Wavers(GRID, PATCH, size=16)
    torch.testing.assert_close(other(inputs), box()(inputs))
    with pytest.raises(ValueError, match="does not answer as it did"):
        run(store, [Candidate("Random", Random(GRID), key="one")], other)


def test_modules_that_a_method_imports_are_part_of_its_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "mine_16"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("import numpy\nimport torch.nn\nfrom . import near\nfrom mine_16_far import K\n")
    (package / "near.py").write_text("from .deep import L\n")
    (package / "deep.py").write_text("L = 1\n")
    (tmp_path / "mine_16_far.py").write_text("K = 1\n")
    (tmp_path / "mine_16_other.py").write_text("M = 1\n")
    before = referenced_files(["mine_16.method.M"])
    assert set(before) == {"mine_16", "mine_16.method", "mine_16.near", "mine_16.deep", "mine_16_far"}
    for name in (package / "deep.py", tmp_path / "mine_16_far.py"):
        name.write_text(name.read_text().replace("1", "100"))
        changed = referenced_files(["mine_16.method.M"])
        assert len(set(changed.items()) - set(before.items())) == 1
        before = changed


def test_functions_without_a_name_of_their_own_have_no_fingerprint():
    assert fingerprint(partial(pow, 1)) != fingerprint(partial(pow, 2))
    assert fingerprint(partial(pow, 1)) == fingerprint(partial(pow, 1))
    with pytest.raises(TypeError, match="give a function of a module"):
        fingerprint(lambda x: x)


def test_keys_follow_the_config_and_the_files_it_names(tmp_path):
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"1")
    black_box = box()
    injected = {"black_box": black_box, "features": GRID, "seed": 0}

    def key(count=20, box_name="b", **more):
        spec = {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": count}}
        return build_candidate("any name", spec, {**injected, **more}, box_name).key

    assert key() == key()
    assert len({key(), key(count=21), key(box_name="c"), key(seed=1), key(features=PatchGrid(2, 2))}) == 5
    config = {"class_path": "x.Box", "init_args": {"weights": str(weights)}}
    before = box_key(config, "cpu")
    assert box_key(config, "cpu") == before
    assert box_key(config, "cuda") != before
    weights.write_bytes(b"22")
    assert box_key(config, "cpu") != before


def test_files_of_functions_folders_and_shipped_weights_are_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"x")
    (tmp_path / "report.json").write_text("{}")
    found = referenced_files(
        {"a": ["tests.toys.PatchBox", str(tmp_path)], "b": "vit_scenes", "c": "fex.baselines.RISE"}
    )
    assert set(found) == {"tests.toys", str(tmp_path / "last.ckpt"), "vit_scenes"}


def test_weights_beside_an_onnx_model_are_its_own(tmp_path):
    model = tmp_path / "box.onnx"
    for name in ("box.onnx", "box.onnx.data", "weights.onnx_data", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    before = referenced_files({"model": str(model)})
    assert set(before) == {str(tmp_path / name) for name in ("box.onnx", "box.onnx.data", "weights.onnx_data")}
    (tmp_path / "box.onnx.data").write_bytes(b"y")
    assert referenced_files({"model": str(model)}) != before


def test_a_class_that_a_package_passes_on_is_read_where_it_is_written(tmp_path, monkeypatch):
    package = tmp_path / "passes_on"
    package.mkdir()
    (package / "__init__.py").write_text("from passes_on.impl import Method\n")
    (package / "impl.py").write_text("class Method: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("passes_on")
    before = referenced_files({"class_path": "passes_on.Method"})
    assert set(before) == {"passes_on", "passes_on.impl"}
    (package / "impl.py").write_text("class Method: changed = True\n")
    assert referenced_files({"class_path": "passes_on.Method"}) != before


def test_fingerprints_see_every_setting():
    assert fingerprint(torch.zeros(2)) != fingerprint(torch.zeros(2, 1))
    assert fingerprint(torch.zeros(2)) != fingerprint(torch.zeros(2, dtype=torch.int64))
    assert fingerprint(get_protocol("fex")) != fingerprint(get_protocol("fex/blur"))
    assert fingerprint(Blur(5.0)) != fingerprint(Blur(4.0))
    assert fingerprint({"a": 1.0}) != fingerprint({"a": 2.0})
    with pytest.raises(TypeError, match="of which no fingerprint is known"):
        fingerprint(object())


class Careless(Random):
    """Draws from the global generators."""

    def attribute_features(self, inputs, target=None):
        return torch.rand(len(inputs), 16) + random.random() + np.random.rand(len(inputs), 1)  # noqa: NPY002


def test_draws_from_the_global_generators_do_not_depend_on_what_ran_before(tmp_path):
    def scored(*names, limit=None, store=None):
        found = evaluate_explainers(
            [Candidate(name, Careless(GRID), key=name) for name in names], batches(), box(), GRID,
            ["fex", "class_discrimination"], limit=limit, store=store, resamples=10,
        )  # fmt: skip
        return values(found[-1:])

    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    alone = scored("b")
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(4)
    assert scored("a", "b") == alone
    store = Store(ResultStore(tmp_path), "box")
    scored("b", limit=5, store=store)
    assert scored("b", store=store) == alone


class Fails(Random):
    def attribute_features(self, inputs, target=None):
        raise RuntimeError("out of luck")


def test_what_fails_is_told_and_the_others_go_on():
    black_box = box()
    candidates = [
        Candidate("Fails", Fails(GRID)),
        Candidate("Random", Random(GRID)),
        Candidate("RISE", RISE(black_box, GRID, num_masks=9)),
    ]
    plain = [{"inputs": batch["inputs"]} for batch in batches(10)]
    fails, blind, rise = evaluate_explainers(candidates, plain, black_box, GRID, ["fex", "seg"], resamples=10)
    assert str(fails.errors[""]) == "out of luck"
    assert fails.rows == []
    assert "the data has no masks" in str(blind.errors["seg"])
    assert [row["protocol"] for row in rise.rows] == ["fex", "fex"]
    assert rise.maps.shape == (8, 16, 16)
    with pytest.raises(ValueError, match="expected a name of its own"):
        evaluate_explainers([candidates[0]] * 2, plain, black_box, GRID, ["fex"])
