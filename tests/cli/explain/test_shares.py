"""`--formats parquet`: tables of a fixed number of pictures, the same however they are made."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fex.cli.explain.explain import main, run
from fex.report.shards import read_head
from tests.explainers.tiny import tiny_box, tiny_explainer, write_checkpoint


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint("x.ckpt", tiny_explainer())
    for number in range(7):
        path = tmp_path / "photos" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"broken") if number == 3 else Image.effect_noise((20, 24), 80).convert("RGB").save(path)
    return ["x.ckpt", "photos", "--device", "cpu", "--batch-size", "2", "--formats", "parquet", "--shard-size", "3"]


def tables(folder):
    return {path.name: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}


def test_rows_are_those_of_single_files(given, tmp_path):
    summary = run([*given, "--top-k", "2", "--output", "t"])
    assert (summary.explained, summary.skipped) == (6, 1)
    assert "all in the tables" in str(summary)
    run([*given[:6], "--formats", "npz", "--no-gallery", "--top-k", "2", "--output", "single"])
    found = tables(tmp_path / "t")
    assert [table.num_rows for table in found.values()] == [6, 5, 2]
    assert {path.name for path in (tmp_path / "t").iterdir() if not path.name.startswith(".")} == set(found)
    assert not (tmp_path / "single" / "gallery.html").exists()
    rows = [row for table in found.values() for row in table.to_pylist()]
    (skipped,) = [row for row in rows if row["error"]]
    assert skipped["file"] == "3.jpg"
    assert skipped["scores"] is skipped["class_index"] is None
    for row in rows:
        if row["error"] is None:
            single = np.load(tmp_path / "single" / f"{row['file']}.top{row['rank']}.npz")
            meta = json.loads(str(single["meta"]))
            assert (row["class"], row["class_index"]) == (meta["target"]["name"], meta["target"]["index"])
            assert row["class_chosen_by"] == row["probability_of"] == meta["class_chosen_by"] == "explainer"
            assert row["probability"] == pytest.approx(meta["probability"])
            np.testing.assert_allclose(row["scores"], single["attribution"].ravel(), atol=5e-4)
    head = read_head(tmp_path / "t" / "explanations-00000.parquet")
    assert (head["method"], head["probability_of"], head["counts"]["explained"]) == ("FEX", "explainer", 3)


def test_bytes_are_within_half_a_step(given, tmp_path):
    run([*given, "--output", "half"])
    run([*given, "--scores", "uint8", "--output", "bytes"])
    for half, whole in zip(tables(tmp_path / "half").values(), tables(tmp_path / "bytes").values(), strict=True):
        for exact, row in zip(half.to_pylist(), whole.to_pylist(), strict=True):
            if row["error"] is None:
                step = (row["high"] - row["low"]) / 255
                found = row["low"] + step * np.array(row["scores"])
                np.testing.assert_allclose(found, exact["scores"], atol=step / 2 + 5e-4)


def test_tables_of_nothing_but_unreadable_pictures_are_read_with_the_others(given, tmp_path):
    for number in (4, 5):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(b"broken")
    summary = run([*given, "--output", "t"])
    assert (summary.explained, summary.skipped) == (4, 3)
    found = list(tables(tmp_path / "t").values())
    assert found[1]["scores"].null_count == found[1].num_rows == 3
    assert found[0].schema.remove_metadata() == found[1].schema.remove_metadata()
    assert pq.read_table(tmp_path / "t")["scores"].null_count == 3


def test_a_stopped_run_goes_on_after_its_last_whole_table(given, tmp_path):
    run([*given, "--output", "whole"])
    run([*given, "--output", "t"])
    (tmp_path / "t" / "explanations-00001.parquet").unlink()
    kept = (tmp_path / "t" / "explanations-00000.parquet").stat().st_mtime_ns
    summary = run([*given, "--output", "t", "--resume"])
    assert (summary.explained, summary.skipped, summary.done) == (6, 1, 4)
    assert (tmp_path / "t" / "explanations-00000.parquet").stat().st_mtime_ns == kept
    for one, other in zip(tables(tmp_path / "t").values(), tables(tmp_path / "whole").values(), strict=True):
        assert one.equals(other)
    with pytest.raises(ValueError, match="of another run.*--top-k was 1, now it is 2"):
        run([*given, "--top-k", "2", "--output", "t", "--resume"])
    with pytest.raises(ValueError, match="of another run.*--shard-size was 3, now it is 4"):
        run([*given[:-1], "4", "--output", "t", "--resume"])
    (tmp_path / "photos" / "0.jpg").unlink()
    with pytest.raises(ValueError, match="has tables of more inputs|is of other inputs"):
        run([*given, "--output", "t", "--resume"])
    (tmp_path / "t" / "explanations-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="explanations-00000.parquet is no table of fex-explain, or damaged"):
        run([*given, "--output", "t", "--resume"])
    run([*given, "--output", "t", "--target", "0"])  # anew: nothing of the earlier run stays
    assert {row["class_index"] for table in tables(tmp_path / "t").values() for row in table.to_pylist()} == {0, None}


def test_processes_write_the_tables_of_one_alone(given, tmp_path, monkeypatch):
    run([*given, "--output", "one"])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    explained = 0
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        explained += run([*given, "--output", "two"]).explained
    assert explained == 6
    one, two = tables(tmp_path / "one"), tables(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(two[name].equals(table) for name, table in one.items())
    with pytest.raises(ValueError, match="2 processes would write the same gallery"):
        run([*given[:6], "--output", "three"])


def test_a_process_that_skips_or_has_nothing_to_do_does_not_stop_the_others(given, monkeypatch):
    assert main([*given, "--output", "one"]) == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank in ("1", "3"):  # one of 3.jpg, and one of no table
        monkeypatch.setenv("RANK", rank)
        assert main([*given, "--output", "four"]) == 0
    assert main([*given, "--output", "four", "--target", "nope"]) == 2


def test_it_stands_alone(given, capsys):
    with pytest.raises(SystemExit):
        run([*given[:6], "--formats", "parquet,png"])
    assert "parquet stands alone" in capsys.readouterr().err


def test_pictures_in_smaller_files(given, tmp_path):
    run([*given[:6], "--formats", "png,jpg,webp", "--output", "t"])
    sizes = {suffix: (tmp_path / "t" / f"0.jpg.{suffix}").stat().st_size for suffix in ("png", "jpg", "webp")}
    assert sizes["webp"] < sizes["jpg"] < sizes["png"]
    pictures = {suffix: Image.open(tmp_path / "t" / f"0.jpg.{suffix}") for suffix in sizes}
    assert {picture.size for picture in pictures.values()} == {pictures["png"].size}
    assert [picture.format for picture in pictures.values()] == ["PNG", "JPEG", "WEBP"]


def test_fidelity_has_columns_of_its_own(given, tmp_path, monkeypatch):
    monkeypatch.setattr("fex.cli.explain.run.chosen_black_box", lambda _: tiny_box())
    summary = run([*given, "--black-box", "b", "--check", "16", "--output", "t"])
    assert summary.measured.maps + summary.measured.unknown == 6
    rows = [row for table in tables(tmp_path / "t").values() for row in table.to_pylist()]
    known = [row for row in rows if row["fidelity"] is not None and row["fidelity"] == row["fidelity"]]
    assert len(known) == summary.measured.maps > 0
    assert all(row["fidelity_low"] <= row["fidelity"] <= row["fidelity_high"] for row in known)
    assert {row["queries"] for row in known} == {17}
    assert "explanations.csv" not in str(summary)
