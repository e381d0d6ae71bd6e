"""`ExplainBatch` gives the rows of `fex-explain` and of one process, from whatever table and on whatever worker."""

import os
import pickle
import signal
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fex.cli.explain.explain import run
from fex.interop import ExplainBatch
from tests.explainers.tiny import CLASSES, tiny_explainer, write_checkpoint
from tests.interop.patience import patient
from tests.lightning_modules.test_texts import explainer as text_explainer

SCORES = 6e-4  # a step of float16 below 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Explainers of pictures and of texts, and pictures of which one is broken."""
    folder = tmp_path_factory.mktemp("clusters")
    write_checkpoint(folder / "x.ckpt", tiny_explainer())
    one = text_explainer()
    state = {f"explainer.{name}": tensor for name, tensor in one.net.state_dict().items()}
    torch.save({"state_dict": state, "fex": one.meta}, folder / "text.ckpt")
    (folder / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24 + number % 3, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02}.png")
    (folder / "photos" / "07.png").write_bytes(b"broken")
    return folder


def files(folder):
    return sorted((folder / "photos").iterdir())


def rows_of(table):
    """By name and rank, whatever order they came in."""
    if isinstance(table, pd.DataFrame):
        table = table.to_dict("records")
    rows = table.to_pylist() if isinstance(table, pa.Table) else table
    return sorted(rows, key=lambda row: (row["file"], row["rank"]))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            if name in ("scores", "probability") and value is not None:
                np.testing.assert_allclose(one[name], value, atol=SCORES, rtol=1e-5)
            elif name in ("words", "start", "end") and value is not None:
                assert list(one[name]) == list(value)
            elif isinstance(value, float) and np.isnan(value):
                assert np.isnan(one[name])
            else:
                assert one[name] == value, name


@pytest.mark.parametrize("options", [{"top_k": 2}, {"target": "crane"}, {"scores": "uint8"}])
def test_rows_are_those_of_the_command(folder, tmp_path, options):
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    given = [str(folder / "x.ckpt"), str(folder / "photos"), "--device", "cpu", "--formats", "parquet", *words]
    run([*given, "--output", str(tmp_path)])
    expected = pq.read_table(tmp_path / "explanations-00000.parquet").replace_schema_metadata()
    explain = ExplainBatch(folder / "x.ckpt", "bytes", name="name", **options)
    batch = {"bytes": [path.read_bytes() for path in files(folder)], "name": [path.name for path in files(folder)]}
    found = explain(batch)
    assert found.schema == expected.schema
    assert_same(rows_of(found), rows_of(expected))
    assert [row["file"] for row in rows_of(found) if row["error"]] == ["07.png"]


def test_a_picture_is_the_same_however_a_table_holds_it(folder):
    paths = [path for path in files(folder) if path.name != "07.png"]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    kinds = {
        "paths": list(map(str, paths)), "bytes": [path.read_bytes() for path in paths], "arrays": arrays,
        "PIL": [Image.open(path) for path in paths], "datasets": [{"bytes": None, "path": str(path)} for path in paths],
    }  # fmt: skip
    scores = {}
    for kind, values in kinds.items():
        found = ExplainBatch(folder / "x.ckpt", "picture", batch_size=3)({"picture": values})
        assert found["error"].null_count == len(paths), kind
        assert found["file"].to_pylist() == (kinds["paths"] if kind == "paths" else [None] * len(paths))
        scores[kind] = np.array(found["scores"].to_pylist())
        np.testing.assert_array_equal(scores[kind], scores["paths"])


def test_what_cannot_be_explained_is_a_row(folder):
    values = [None, b"", "nowhere.jpg", np.zeros((4, 4), np.uint8), 3, {"bytes": None, "path": None}]
    found = ExplainBatch(folder / "x.ckpt", "picture", keep=["id"])({"picture": values, "id": range(6)})
    reasons = found["error"].to_pylist()
    for reason, part in zip(
        reasons, ["null", "none of", "nowhere.jpg", "expected (h, w, 3)", "Got a int", "null"], strict=True
    ):
        assert part in reason
    assert found["id"].to_pylist() == list(range(6))
    assert found["scores"].type == pa.list_(pa.float16())  # as of a batch that could be explained
    texts = ExplainBatch(folder / "text.ckpt", "text")({"text": ["a gem", None, " ", 3, "x" * 2**21]})
    for reason, part in zip(
        texts["error"].to_pylist()[1:], ["null", "no tokens", "no text, but int", "limit"], strict=True
    ):
        assert part in reason
    assert texts["error"][0].as_py() is None


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA])
def test_nothing_is_told_as_such_whatever_a_library_writes_for_it(folder, nothing):
    given = pd.DataFrame({"image": [str(files(folder)[0]), nothing], "n": ["a", nothing]}, dtype=object)
    row = ExplainBatch(folder / "x.ckpt", "image", name="n")(given).iloc[1]
    assert row["error"] == "the picture is null"
    assert pd.isna(row["file"])
    [row] = ExplainBatch(folder / "text.ckpt", "text")({"text": [nothing]}).to_pylist()
    assert row["error"] == "the text is null"


def test_a_record_batch_is_a_table(folder):
    explain, columns = ExplainBatch(folder / "x.ckpt", "image"), {"image": [files(folder)[0].read_bytes()]}
    assert explain(pa.RecordBatch.from_pydict(columns)).equals(explain(pa.table(columns)))


def test_texts_have_words(folder):
    given = ["the film is a gem", "a mess", "so very odd"]
    explain = ExplainBatch(folder / "text.ckpt", "text", name="id", keep=["text"], top_k=2)
    rows = explain({"text": given, "id": [1, 2, 3]}).to_pylist()
    expected = text_explainer().explain(given, top_k=2)
    assert [row["file"] for row in rows] == ["1", "1", "2", "2", "3", "3"]
    for row, each in zip(rows, expected, strict=True):
        words = each.word_scores()
        assert (row["class"], row["words"]) == (each.target_name, [word.word for word in words])
        assert [row["text"][start:end] for start, end in zip(row["start"], row["end"], strict=True)] == row["words"]
        np.testing.assert_allclose(row["scores"], [word.score for word in words], atol=SCORES)
    small = ExplainBatch(folder / "text.ckpt", "text", scores="uint8")({"text": given}).to_pylist()
    for row, each in zip(small, expected[::2], strict=True):
        step = (row["high"] - row["low"]) / 255
        np.testing.assert_allclose(row["low"] + step * np.array(row["scores"]), each.shown, atol=step / 2 + 1e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"scores": "float64"}, "float16"), ({"keep": ["class"]}, "class"), ({"target": 1, "top_k": 2}, "without target"),
     ({"threads": 0}, "at least 1")],
)  # fmt: skip
def test_settings_that_cannot_be_are_told_at_once(settings, reason):
    with pytest.raises(ValueError, match=reason):
        ExplainBatch("x.ckpt", "picture", **settings)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"column": "photo"}, "no column photo; it has picture"), ({"target": "dog"}, "dog"), ({"top_k": 9}, "5 classes")],
)
def test_what_only_the_explainer_knows_stops_the_job(folder, settings, reason):
    explain = ExplainBatch(folder / "x.ckpt", **{"column": "picture", **settings})
    with pytest.raises(ValueError, match=reason):
        explain({"picture": [b""]})


def test_it_travels_without_the_network_and_tells_another_training(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    explain = ExplainBatch("x.ckpt", "picture", threads=1)
    before, threads = pickle.dumps(explain), torch.get_num_threads()
    explain({"picture": files(folder)[:1]})
    assert pickle.dumps(explain) == before
    assert len(before) < 1000
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)
    monkeypatch.chdir(tmp_path)  # workers stand elsewhere
    again = pickle.loads(before)({"picture": files(folder)[:1]})
    assert again["class"][0].as_py() in CLASSES
    os.utime(folder / "x.ckpt", (1, 1))
    assert pickle.dumps(ExplainBatch(folder / "x.ckpt", "picture", threads=1)) != before


@pytest.mark.parametrize("processes", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_datasets_map(folder, processes):
    paths = list(map(str, files(folder)))
    explain = ExplainBatch(folder / "x.ckpt", "image", top_k=2, keep=["label"], name="name", threads=1)
    columns = {"image": paths, "name": paths, "label": list(range(12))}
    given = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image(decode=False))
    found = given.map(explain, batched=True, batch_size=5, num_proc=processes)
    assert_same(rows_of(found.with_format("arrow")[:]), rows_of(explain(columns)))
    texts = datasets.Dataset.from_dict({"text": ["a gem", "", "a mess of a film"]})
    found = texts.map(ExplainBatch(folder / "text.ckpt", "text"), batched=True, batch_size=2, num_proc=processes)
    assert [row["words"] for row in found] == [["a", "gem"], None, ["a", "mess", "of", "a", "film"]]


def test_frames_for_spark(folder):
    """The contract of `mapInPandas`, of which the next test tries the real one."""
    explain = ExplainBatch(folder / "x.ckpt", "content", name="path", keep=["id"], top_k=2)
    paths = list(map(str, files(folder)))
    frame = pd.DataFrame({"path": paths, "content": [path.read_bytes() for path in files(folder)], "id": range(12)})
    whole = explain(frame)
    assert whole.columns.tolist() == ["id", *(word.split()[0] for word in explain.spark_schema.split(", "))]
    pieces = list(explain.frames(iter([frame[:5], frame[5:8], frame[8:8], frame[8:]])))
    assert_same(rows_of(pd.concat(pieces)), rows_of(whole))
    assert pieces[0]["scores"][0].dtype == np.float32
    assert "probability float" in explain.spark_schema
    assert "words array<string>" in ExplainBatch(folder / "text.ckpt", "text").spark_schema
    assert "scores array<smallint>" in ExplainBatch(folder / "x.ckpt", "content", scores="uint8").spark_schema


class Killed(ExplainBatch):
    """Its process is killed in the middle of its second batch, once."""

    def __call__(self, batch):
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen == 2:
            try:
                (Path(self.checkpoint).parent / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

    def frames(self, batches):
        for batch in batches:
            self(batch)
            yield from super().frames([batch])


@pytest.fixture
def died(folder):
    """A file that says that a worker was killed."""
    file = folder / "killed"
    file.unlink(missing_ok=True)
    return file


@pytest.mark.slow
def test_two_workers_of_ray_of_which_one_is_killed(folder, died, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    patient(ray)(num_cpus=3, include_dashboard=False, log_to_driver=False)  # two workers, and one that reads
    try:
        settings = {"checkpoint": folder / "x.ckpt", "column": "bytes", "name": "path", "keep": ["path"], "top_k": 2}
        pictures = ray.data.read_binary_files(str(folder / "photos"), include_paths=True, override_num_blocks=6)
        two = {"compute": ray.data.ActorPoolStrategy(size=2), "batch_size": 2}
        found = pictures.map_batches(Killed, fn_constructor_kwargs={**settings, "threads": 1}, **two)
        found = pa.concat_tables(ray.get(found.to_arrow_refs()))
        assert died.exists()
        batch = {"path": list(map(str, files(folder))), "bytes": [path.read_bytes() for path in files(folder)]}
        one = ExplainBatch(**settings)(batch)
        assert found.schema.equals(one.schema)
        assert_same(rows_of(found), rows_of(one))
        texts = {"text": [f"film {number} is a gem" for number in range(12)]}
        settings = {"checkpoint": folder / "text.ckpt", "column": "text", "name": "text"}
        given = ray.data.from_pandas(pd.DataFrame(texts)).repartition(4)
        found = given.map_batches(ExplainBatch, fn_constructor_kwargs=settings, **two)
        found = pa.concat_tables(ray.get(found.to_arrow_refs()))
        assert_same(rows_of(found), rows_of(ExplainBatch(**settings)(texts)))
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_two_workers_of_spark_of_which_one_is_killed(folder, died, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    if not any((Path(place) / "java").exists() for place in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("Spark needs Java")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2,4]")  # two workers; a task may fail four times
    for key, value in {"ui.enabled": "false", "sql.execution.arrow.maxRecordsPerBatch": "2",
                       "driver.host": "127.0.0.1", "driver.bindAddress": "127.0.0.1"}.items():  # fmt: skip
        builder = builder.config(f"spark.{key}", value)
    spark = builder.getOrCreate()
    try:
        explain = Killed(folder / "x.ckpt", "content", name="path", keep=["length"], top_k=2, threads=1)
        pictures = spark.read.format("binaryFile").load(str(folder / "photos")).repartition(2)
        found = pictures.mapInPandas(explain.frames, f"length bigint, {explain.spark_schema}").collect()
        assert died.exists()
        batch = {"path": [], "length": [], "content": []}
        for path in files(folder):
            batch["path"].append(f"file:{path}")
            batch["length"].append(path.stat().st_size)
            batch["content"].append(path.read_bytes())
        one = ExplainBatch(folder / "x.ckpt", "content", name="path", keep=["length"], top_k=2)(batch)
        assert_same(rows_of([row.asDict() for row in found]), rows_of(one))
        texts = pd.DataFrame({"text": [f"film {number} is a gem" for number in range(6)]})
        explain = ExplainBatch(folder / "text.ckpt", "text", name="text", threads=1)
        found = spark.createDataFrame(texts).mapInPandas(explain.frames, explain.spark_schema).collect()
        assert_same(rows_of([row.asDict() for row in found]), rows_of(explain({"text": texts["text"].tolist()})))
    finally:
        spark.stop()
