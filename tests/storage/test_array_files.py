"""Both stores of results: whatever has changed in a file, what it held is done again, and nothing else is answered."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch

from fex.benchmark.store import Record, ResultStore
from fex.explanations import Explanation
from fex.images import PatchGrid
from fex.storage.array_files import load_arrays, save_arrays
from lightning_modules.instances.store import InstanceStore


def record():
    return Record(2, 7, 0.5, {"fex": {"curve": torch.rand(2, 3)}}, {"fex": 4}, torch.rand(1, 2, 2))


def explanation():
    return Explanation(
        torch.rand(4), PatchGrid(2, 2), (2, 2), torch.rand(3, 2, 2), target=1, target_name="b", probability=0.5,
        probability_of="black box", method="DAX", removal="mean", black_box="box", queries=3, source="a.png",
    )  # fmt: skip


def benchmark(folder):
    """A stored file of the benchmark, and what is read from it, as bytes; None where it is to be done again."""
    store, kept = ResultStore(folder), record()
    store.save("method", "batch", kept)

    def read():
        found = store.load("method", "batch")
        if found is None:
            return None
        numbers = (found.instances, found.queries, found.seconds, found.evaluation, found.cold)
        return str(numbers), found.components["fex"]["curve"].numpy().tobytes(), found.maps.numpy().tobytes()

    return store._path("method", "batch"), read


def instances(folder):
    """The same of a per-instance explainer."""
    store = InstanceStore(folder, {"a": 1})
    store.save("a.png", explanation(), {"fex/auc": np.ones(1, np.float32)}, 0, "key")

    def read():
        if not store.finished("a.png", "key"):
            return None
        ((name, found, extra),) = list(store)
        return name, str(found._meta()), found.attribution.numpy().tobytes(), extra["fex/auc"].tobytes()

    return store._path("a.png"), read


@pytest.mark.parametrize("make", [benchmark, instances])
def test_a_flipped_bit_gives_the_same_or_nothing(make, tmp_path):
    path, read = make(tmp_path)
    whole, expected = path.read_bytes(), read()
    assert expected is not None
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert read() in (expected, None)
    for cut in range(0, len(whole), 50):
        path.write_bytes(whole[:cut])
        assert read() is None


WRONG = [{}, [], 3, None, "x", -1, 1.5, float("nan"), {"a": {}}, [[]], True, 10**400]


@pytest.mark.parametrize("make", [benchmark, instances])
@pytest.mark.parametrize("wrong", WRONG, ids=[repr(each)[:12] for each in WRONG])
def test_wrong_values_in_a_sound_file_are_no_error(make, wrong, tmp_path):
    path, read = make(tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays.pop("meta")))
    for key in [*meta, "new"]:
        for value in (wrong, ...):
            changed = {name: each for name, each in meta.items() if name != key}
            changed |= {} if value is ... else {key: wrong}
            np.savez(path, meta=np.array(json.dumps(changed)), **arrays)
            try:
                read()
            except ValueError as error:
                assert "is the result of another" in str(error)  # noqa: PT017 other errors fail
    for name in arrays:
        rest = {each: values for each, values in arrays.items() if each != name}
        for values in (np.zeros((5, 5, 5)), np.array("text"), np.zeros(0)):
            save_arrays(path, {k: v for k, v in meta.items() if k != "arrays"}, {**rest, name: values})
            read()


def test_a_file_without_end_is_not_unpacked(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(10**6))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("meta.npy", buffer.getvalue())
    assert load_arrays(tmp_path / "x.npz", lambda *_: 1) is None


def test_settings_that_cannot_be_read_are_written_anew_and_results_of_others_refused(tmp_path, caplog):
    _, read = instances(tmp_path)
    (tmp_path / "settings.json").write_text('{"a": 1')
    assert InstanceStore(tmp_path, {"a": 1}).finished("a.png", "key")
    assert "settings.json cannot be read" in caplog.text
    (tmp_path / "settings.json").write_bytes(b"\xff\xfe[1]")
    with pytest.raises(ValueError, match="is the result of another setting"):
        InstanceStore(tmp_path, {"a": 2}).finished("a.png", "key")
    with pytest.raises(ValueError, match=r"other settings \(a differ\)"):
        InstanceStore(tmp_path, {"a": 3})


def test_a_damaged_instance_is_told_and_done_again_and_does_not_stop_the_report(tmp_path, caplog):
    path, read = instances(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    store = InstanceStore(tmp_path, {"a": 1})
    assert not store.finished("a.png", "key")
    assert "a.png.npz cannot be read" in caplog.text
    assert list(store) == []
    store.save("a.png", explanation(), {"fex/auc": np.ones(1, np.float32)}, 0, "key")
    assert read() is not None
