"""Rows that are too large, too deep or of another kind are skipped by name; the rows around them are read."""

import json
import resource
import time

import pytest

from datamodules.text_module import class_number
from datamodules.texts import Texts
from fex.texts import files, lines, read_records


@pytest.fixture(autouse=True)
def _bounded():
    """Each test takes less than 2 s of the processor, and less than 200 MB more than before."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def read(path, content):
    path.write_text(content)
    return list(read_records(path, label_column="label" if path.suffix == ".jsonl" else None))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"text": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"text": "a", "label": 1' + "0" * 400 + "}", "an integer of 401 digits, the limit is 100"),
        ('{"text": "a", "label": 1' + "0" * 100_000 + "}", "an integer of 100,001 digits"),
        ('{"text": "' + "a" * (2**20 + 1) + '"}', "text in 'text' of 1,048,577 characters, the limit is 1,048,576"),
        ('"' + "a" * (2**20 + 1) + '"', "text of 1,048,577 characters"),
        ('{"text": "' + "a" * 10_000_000 + '"}', "a line of more than 4,194,304 characters"),
        ('{"text": 7}', "no text in 'text', but int"),
    ],
)
def test_a_line_of_json(tmp_path, line, reason):
    records = read(tmp_path / "a.jsonl", '{"text": "first", "label": 1}\n' + line + '\n{"text": "last", "label": 0}\n')
    assert [record.text for record in records] == ["first", None, "last"]
    assert reason in records[1].error
    assert [records[0].name, records[2].name] == ["a.jsonl:1", "a.jsonl:3"]


@pytest.mark.parametrize("suffix", ["csv", "txt", "tsv"])
@pytest.mark.parametrize("size", [2**20 + 1, 2**22 + 1, 10_000_000])
def test_a_long_line(tmp_path, suffix, size):
    records = read(tmp_path / f"a.{suffix}", "text" * (suffix != "txt") + "\nfirst\n" + "a" * size + "\nlast\n")
    records = [record for record in records if record.text != ""]
    assert [record.text for record in records] == ["first", None, "last"]
    assert "of 1,048,577 characters" in records[1].error or "more than 4,194,304 characters" in records[1].error


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("length", [*range(28, 43), 60, 64, 66])
def test_lines_around_the_limit(tmp_path, monkeypatch, length, end):
    monkeypatch.setattr(lines, "LONGEST_ROW", 32)
    monkeypatch.setattr(files, "LONGEST_ROW", 32)
    path = tmp_path / "a.txt"
    path.write_bytes(("x" * length + end + ("last" if end else "")).encode())
    first, *rest = read_records(path)
    assert [record.text for record in rest] == (["last"] if end else [])
    assert (first.text is None) == (length > 32)


def test_folders_of_classes(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.txt").write_text("a gem")
    (tmp_path / "good" / "b.txt").write_text("a" * 3_000_000)
    table = Texts(train=str(tmp_path)).read("train")
    assert table.texts == ["a gem"]
    assert table.broken == [("good/b.txt", "more than 1,048,576 characters")]


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ["a gem", None, "b" * (2**20 + 1), "dull"]
    pq.write_table(pa.table({"text": texts, "label": [1, 1, 0, 0]}), tmp_path / "train.parquet")
    table = Texts(name=str(tmp_path), train="train", label_column="label").read("train")
    assert (table.texts, table.labels, table.names) == (["a gem", "dull"], [1, 0], ["row 0", "row 3"])
    assert [name for name, _ in table.broken] == ["row 1", "row 2"]


@pytest.mark.parametrize("label", ["9" * 5000, "x" * 1_000_000])
def test_a_label_without_end(label):
    with pytest.raises(ValueError, match="characters, the limit is 1000") as caught:
        class_number(json.loads(json.dumps(label)), ["bad", "good"], "a.csv:2")
    assert len(str(caught.value)) < 200
