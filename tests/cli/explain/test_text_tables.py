"""`--formats parquet` for texts, of files and of tables."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fex.cli.explain.explain import run
from fex.interop import ExplainBatch
from tests.cli.explain.test_shares import tables
from tests.cli.explain.test_texts import checkpoint  # noqa: F401

TEXTS = ["a gem", "", "the film is a gem and so very odd " * 8, "so odd", "a film"]


@pytest.fixture
def given(checkpoint, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("\n".join(["id,text", *(f"{n},{text}" for n, text in enumerate(TEXTS))]))
    return [checkpoint, "in.csv", "--device", "cpu", "--formats", "parquet", "--shard-size", "2"]


def rows(folder):
    return [row for table in tables(folder).values() for row in table.to_pylist()]


def test_texts_of_a_file_stop_and_share_like_pictures(given, checkpoint, tmp_path, monkeypatch):  # noqa: F811
    summary = run([*given, "--top-k", "2", "--output", "t"])
    assert (summary.explained, summary.skipped, summary.truncated, summary.tokens_cut) == (4, 1, 1, 42)
    assert "all in the tables" in str(summary)
    assert {path.name for path in (tmp_path / "t").iterdir() if path.name[0] != "."} == set(tables(tmp_path / "t"))
    found = rows(tmp_path / "t")
    assert [row["file"] for row in found] == [f"in.csv:{line}" for line in (2, 2, 3, 4, 4, 5, 5, 6, 6)]
    wanted = ExplainBatch(checkpoint, "text", top_k=2)({"text": TEXTS}).to_pylist()
    for row, other in zip(found, wanted, strict=True):
        keys = ("rank", "class", "words", "start", "end", "tokens_cut", "error")
        assert [row[key] for key in keys] == [other[key] for key in keys]
        assert row["scores"] == (other["scores"] and pytest.approx(other["scores"], abs=2e-3))
    (tmp_path / "t" / "explanations-00001.parquet").unlink()
    again = run([*given, "--top-k", "2", "--output", "t", "--resume"])
    assert (again.explained, again.skipped, again.done, again.tokens_cut) == (4, 1, 3, 42)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        run([*given, "--top-k", "2", "--output", "two"])
    one, two = tables(tmp_path / "t"), tables(tmp_path / "two")
    assert list(one) == list(two)
    assert all(two[name].equals(table) for name, table in one.items())
    with pytest.raises(ValueError, match="2 processes would write the same"):
        run([*given[:4], "--output", "three"])
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    (tmp_path / "in.csv").write_text("id,text\n0,a gem\n")
    with pytest.raises(ValueError, match="has tables of more inputs"):
        run([*given, "--top-k", "2", "--output", "t", "--resume"])


def test_texts_of_a_parquet_file(given, tmp_path):
    run([*given, "--output", "wanted"])
    pq.write_table(pa.table({"text": TEXTS, "q": [None, *TEXTS[1:]], "id": range(5)}), "in.parquet", row_group_size=3)
    run([given[0], "in.parquet", *given[2:], "--output", "t"])
    found, wanted = rows(tmp_path / "t"), rows(tmp_path / "wanted")
    assert [row["file"] for row in found] == [f"in.parquet#{number}" for number in range(5)]
    assert [{**row, "file": ""} for row in found] == [{**row, "file": ""} for row in wanted]
    summary = run([given[0], "in.parquet", "--column", "q", "--formats", "csv", "--output", "lines"])
    assert summary.named[0] == ("in.parquet#0", "no text, but NoneType")
    assert (summary.explained, summary.skipped) == (3, 2)
    with pytest.raises(ValueError, match="Column 'id' of in.parquet holds int64, expected texts"):
        run([given[0], "in.parquet", "--column", "id", *given[2:]])
