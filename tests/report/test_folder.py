import csv
from dataclasses import replace
from pathlib import PurePath

import pytest

from fex.report.folder import ResultFolder, result_path
from tests.report.test_html import explanation


def test_names_do_not_meet():
    paths = [PurePath("a/x.jpg"), PurePath("a/x.png"), PurePath("b/x.jpg"), PurePath("a/" + "é" * 120 + ".jpg"),
             PurePath("a/" + "é" * 121 + ".jpg")]  # fmt: skip
    results = [result_path(path, rank, 2) for path in paths for rank in (1, 2)]
    assert len(set(results)) == 10
    assert results[0] == PurePath("a/x.jpg.top1")
    assert result_path(paths[1], 1, 1) == PurePath("a/x.png")
    assert max(len(r.name.encode()) for r in results) < 240


def test_table_files_and_skips(tmp_path):
    first = explanation("s/a.jpg", "crane, a bird")
    top = int(first.attribution.argmax())
    with ResultFolder(tmp_path / "o", formats=["npz"]) as results:
        results.add(results.write(PurePath("s/a.jpg"), [first, replace(first, target=1, target_name="drum")]))
        results.skip("s/b.jpg", "cut off, here")
        with (tmp_path / "o" / "explanations.csv").open() as file:
            assert len(file.readlines()) == 3  # written as they come
    with (tmp_path / "o" / "explanations.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["file"], row["rank"], row["class"]) for row in table] == [
        ("s/a.jpg", "1", "crane, a bird"), ("s/a.jpg", "2", "drum")]  # fmt: skip
    assert (table[0]["top_feature"], table[0]["top_row"], table[0]["top_column"]) == tuple(
        map(str, (top, top // 2, top % 2))
    )
    assert (tmp_path / "o" / "skipped.csv").read_text().splitlines() == ["file,reason", 's/b.jpg,"cut off, here"']
    assert sorted(p.name for p in (tmp_path / "o" / "s").iterdir()) == ["a.jpg.top1.npz", "a.jpg.top2.npz"]
    with ResultFolder(tmp_path / "o", formats=[]):
        pass
    assert not (tmp_path / "o" / "skipped.csv").exists()  # that of the earlier run


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown format pdf: give some of png, jpg, webp, html, npz, json"):
        ResultFolder(tmp_path, formats=["png", "pdf"])
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"Could not write to .*file .*choose a folder that is writable"):
        ResultFolder(tmp_path / "file")
