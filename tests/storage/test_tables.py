"""Rows by their number, in any order, a few in memory."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fex.storage.tables import BATCH, Unread, is_dataset, parquet_rows


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": range(100), "text": [str(n) for n in range(100)]}), path, row_group_size=40)
    return parquet_rows(path, "a", lambda *_: ["text", "n"])


def test_any_order(rows):
    for number in (50, 51, 3, 79, 80, 99, 0, 70, 41):
        assert rows.read(number) == (str(number), number)
    assert [row.read() for row in rows] == [(str(number), number) for number in range(100)]
    assert next(iter(rows)).name == "a#0"


def test_a_group_is_opened_once_and_never_held_whole(rows, monkeypatch):
    asked, read = [], pq.ParquetFile.iter_batches

    def spy(self, size, **named):
        asked.append((size, named["row_groups"]))
        return read(self, size, **named)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    for number in (5, 30, 39, 40, 75):  # as one of several processes does
        rows.read(number)
    assert asked == [(BATCH, [0]), (BATCH, [1])]


def test_a_file_that_has_become_shorter_is_told(rows, tmp_path):
    pq.write_table(pa.table({"n": [1], "text": ["1"]}), tmp_path / "a.parquet", row_group_size=40)
    assert rows.read(0) == ("1", 1)
    assert isinstance(rows.read(1), Unread)


@pytest.mark.parametrize("text", ["hf is good: so it is", "a:b", "x" * 5000 + ":y", "nul\0:x", ":", ""])
def test_texts_are_no_data_sets(text):
    assert not is_dataset(text)
