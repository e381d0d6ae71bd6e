"""`fex-explain --refine-total`: pictures and texts, files and tables, one process and several."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from fex.cli.explain import foreseen, spent
from fex.cli.explain.explain import main, run
from fex.cli.explain.foreseen import FORESEEN
from fex.explainers import AmortizedTextExplainer
from fex.images.decoding import read_pixels
from fex.images.preprocess import as_unit
from fex.refine import Foresight
from fex.refine.foresight import signs
from fex.report.shards import read_head
from tests.cli.explain.test_refined import table
from tests.cli.explain.test_shares import tables
from tests.explainers.tiny import tiny_box, write_checkpoint
from tests.lightning_modules.processes import finish, start
from tests.lightning_modules.test_texts import explainer as text_explainer
from tests.refine.test_foresight import with_foresight
from tests.texts.tiny import WordBox, sentences


def test_a_total_is_spent_where_the_largest_misses_are_foreseen(photos, tmp_path, box, monkeypatch, capsys):
    explainer = with_foresight()
    path = str(write_checkpoint(tmp_path / "tiny.ckpt", explainer))
    (photos / "1b.png").write_text("no picture")
    read = {name: read_pixels(photos / name, explainer.preprocess) for name in ("0.png", "1.png", "2.png", "grey.png")}
    foreseen = explainer.foresee(torch.stack([as_unit(pixels) for pixels in read.values()]))
    worst = {list(read)[row] for row in foreseen.argsort(descending=True)[:2]}
    arguments = [path, str(photos), "--black-box", "toy", "--refine", "8", "--formats", "json"]
    arguments += ["--num-workers", "1", "--refine-total", "26"]
    assert main([*arguments, "--output", str(tmp_path / "whole")]) == 1  # one could not be read
    assert box.queries == 18  # 26 do not suffice for three
    whole = table(tmp_path / "whole")
    assert {row["file"] for row in whole if row["queries"] == "9"} == worst
    assert {row["queries"] for row in whole} == {"0", "9"}
    assert "refined 2 of 4 inputs" in capsys.readouterr().out

    # One picture a batch; stopped after two of them, and gone on with.
    asked, explain, calls, out = box.queries, spent.SpentMethod.explain, [], tmp_path / "out"

    def stopped(self, *given, **options):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return explain(self, *given, **options)

    arguments += ["--batch-size", "1", "--output", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(spent.SpentMethod, "explain", stopped)
        assert main(arguments) == 130
    summary = run([*arguments, "--resume"])
    assert summary.done == 2
    assert box.queries == asked + 18
    for one, other in zip(table(out), whole, strict=True):
        assert (one["file"], one["queries"], one["top_feature"]) == (
            other["file"],
            other["queries"],
            other["top_feature"],
        )
    assert run([*arguments, "--resume"]).note == summary.note  # a finished run
    with pytest.raises(ValueError, match=r"run \(--refine-total was 26, now it is 9\)"):
        run([*arguments[:-5], "9", *arguments[-4:], "--resume"])
    with pytest.raises(ValueError, match="less than the 9"):
        run([*arguments[:-5], "8", *arguments[-4:]])


def test_a_picture_that_changes_meanwhile_is_told(photos, tmp_path, box, monkeypatch):
    path = str(write_checkpoint(tmp_path / "tiny.ckpt", with_foresight()))
    choose = spent.SpentMethod.choose

    def meddled(self, foreseen):
        found = choose(self, foreseen)
        Image.new("RGB", (16, 16), (9, 9, 9)).save(photos / "1.png")
        return found

    monkeypatch.setattr(spent.SpentMethod, "choose", meddled)
    with pytest.raises(ValueError, match="has changed while"):
        run([path, str(photos), "--black-box", "toy", "--refine", "8", "--refine-total", "18",
             "--output", str(tmp_path / "out"), "--formats", "json"])  # fmt: skip


def test_a_checkpoint_that_cannot_foresee_is_told(photos, tmp_path, box):
    checkpoint = str(write_checkpoint(tmp_path / "tiny.ckpt"))
    with pytest.raises(ValueError, match="cannot foresee which maps are poor"):
        run([checkpoint, str(photos), "--black-box", "toy", "--refine", "8", "--refine-total", "18"])


def seeing(one):
    """A text explainer that foresees the larger misses of longer texts."""
    rows = [one.tokenize([text]) for text in sentences(60)]
    found = torch.cat([signs(one.net, row) for row in rows])
    misses = torch.tensor([float(one.features.valid(row).sum()) for row in rows]) ** 2 * 1e-3
    foresight = Foresight.learnt(found, misses)
    assert not foresight.blind
    return AmortizedTextExplainer(one.net, {**one.meta, "foresight": foresight.to_dict()})


TEXTS = [*sentences(7, seed=1), "", *sentences(6, seed=2)]


def text_arguments(folder, monkeypatch):
    made = WordBox()
    monkeypatch.setattr("fex.cli.explain.run.chosen_black_box", lambda _: made)
    explainer = seeing(text_explainer())
    path = write_checkpoint(folder / "text.ckpt", explainer)
    (folder / "in.csv").write_text("\n".join(["text", *(f'"{text}"' for text in TEXTS)]))
    monkeypatch.chdir(folder)
    foreseen = [float(explainer.foresee(explainer.tokenize([text]))) if text else -1.0 for text in TEXTS]
    arguments = [str(path), "in.csv", "--black-box", "b", "--refine", "8", "--device", "cpu"]
    return made, arguments, foreseen


def worst(foreseen, count):
    return {f"in.csv:{row + 2}" for row in np.argsort(foreseen)[::-1][:count]}


def test_texts_are_refined_where_the_largest_misses_are_foreseen(tmp_path, monkeypatch, capsys):
    asked, arguments, misses = text_arguments(tmp_path, monkeypatch)
    assert main([*arguments, "--refine-total", "44", "--output", "whole"]) == 1  # one has no tokens
    assert asked.queries == 36  # four texts
    whole = table(tmp_path / "whole")
    assert {row["source"] for row in whole if row["queries"] == "9"} == worst(misses, 4)
    assert {row["queries"] for row in whole} == {"0", "9"}
    assert [row["source"] for row in whole] == [f"in.csv:{n + 2}" for n in range(14) if n != 7]
    printed = capsys.readouterr().out
    assert "refined 4 of 13 inputs" in printed
    assert "the explainer chose the class" in printed

    # Two texts at a time; stopped after some of them, and gone on with by what was foreseen at first.
    asked.queries, explain = 0, spent.SpentMethod.explain
    monkeypatch.setattr("fex.explainers.text_stream.POOL", 1)
    arguments += ["--batch-size", "2", "--output", "out", "--refine-total", "44"]

    def stopped(self, *given, **options):
        if self._next >= 4:
            raise KeyboardInterrupt
        return explain(self, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(spent.SpentMethod, "explain", stopped)
        assert main(arguments) == 130
    monkeypatch.setattr(spent.Foreseer, "explain", None)  # nothing is foreseen twice
    summary = run([*arguments, "--resume"])
    assert summary.done == 4
    assert asked.queries == 36
    keys = ("source", "queries", "class", "top_words", "probability_of")
    assert [[row[key] for key in keys] for row in table(tmp_path / "out")] == [
        [row[key] for key in keys] for row in whole
    ]
    assert "refined 4 of 13" in run([*arguments, "--resume"]).note  # a finished run


def test_strings_alone_share_a_total_too(tmp_path, monkeypatch, capsys):
    asked, arguments, _ = text_arguments(tmp_path, monkeypatch)
    assert main([arguments[0], *TEXTS[:3], *arguments[2:], "--refine-total", "9"]) == 0
    assert asked.queries == 9
    assert "refined 1 of 3 inputs" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"text.ckpt", "in.csv"}


def rows_of(folder):
    return [row for each in tables(folder).values() for row in each.to_pylist()]


def told(folder):
    """The tables of a folder as text, in which NaN is NaN."""
    return {name: repr(each.to_pylist()) for name, each in tables(folder).items()}


def test_tables_of_texts_hold_both_kinds(tmp_path, monkeypatch):
    asked, arguments, misses = text_arguments(tmp_path, monkeypatch)
    arguments += ["--formats", "parquet", "--shard-size", "3", "--refine-total", "44"]
    summary = run([*arguments, "--output", "t"])
    assert asked.queries == 36
    assert (summary.explained, summary.skipped) == (13, 1)
    assert summary.measured.maps + summary.measured.unknown == 4
    found, before = rows_of(tmp_path / "t"), told(tmp_path / "t")
    assert {row["file"] for row in found if row["queries"] == 9} == worst(misses, 4)
    for row in found:
        if row["error"] is None:
            refined = row["queries"] == 9
            assert row["probability_of"] == row["class_chosen_by"] == ("black box" if refined else "explainer")
            assert row["fidelity"] is not None
    heads = [read_head(path) for path in sorted((tmp_path / "t").glob("*.parquet"))]
    assert {head["method"] for head in heads} <= {"FEX", "FEX + 8 queries", "FEX or FEX + 8 queries"}
    assert "FEX or FEX + 8 queries" in {head["method"] for head in heads}
    pq.read_table(tmp_path / "t")  # all have the same columns
    (tmp_path / "t" / "explanations-00002.parquet").unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "t" / FORESEEN).iterdir()}
    assert len(kept) == 5
    assert run([*arguments, "--output", "t", "--resume"]).done == 11
    assert told(tmp_path / "t") == before
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "t" / FORESEEN).iterdir()} == kept
    # Other texts: what was foreseen of the part that has changed is foreseen anew, and the run is another one.
    (tmp_path / "in.csv").write_text((tmp_path / "in.csv").read_text().replace(TEXTS[13], "a gem", 1))
    with pytest.raises(ValueError, match="is of other inputs|another choice of inputs"):
        run([*arguments, "--output", "t", "--resume"])


@pytest.fixture
def shared(photos, tmp_path, monkeypatch):
    """Nine pictures in tables of two."""
    for number in range(4, 8):
        pixels = np.random.default_rng(number).integers(0, 30 * number, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (photos / "1b.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "tiny.ckpt", with_foresight())
    return ["tiny.ckpt", "photos", "--black-box", "toy", "--refine", "8", "--refine-total", "30", "--device", "cpu",
            "--formats", "parquet", "--shard-size", "2", "--num-workers", "1"]  # fmt: skip


def test_several_processes_spend_one_total(shared, tmp_path, box, monkeypatch, capsys):
    run([*shared, "--output", "one"])
    assert box.queries == 27
    one = told(tmp_path / "one")
    assert sum(row["queries"] == 9 for row in rows_of(tmp_path / "one")) == 3
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    box.queries, others = 0, []

    def other(_seconds):
        """While process 1 waits, process 0 does all of its part."""
        assert not others
        others.append(sorted(path.name for path in (tmp_path / "two" / FORESEEN).iterdir()))
        monkeypatch.setenv("RANK", "0")
        assert run([*shared, "--output", "two"]).explained == 5
        monkeypatch.setenv("RANK", "1")

    monkeypatch.setattr(foreseen.time, "sleep", other)
    monkeypatch.setenv("RANK", "1")
    assert run([*shared, "--output", "two"]).explained == 3
    assert others == [["00001.npz", "00003.npz"]]  # its own alone
    assert "waiting for other processes, which foresee 3 parts more" in capsys.readouterr().err
    assert box.queries == 27
    assert told(tmp_path / "two") == one


def test_a_process_that_is_not_there_is_told(shared, box, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(foreseen, "PATIENCE", 0.0)
    monkeypatch.setattr(foreseen, "PAUSE", 0.01)
    with pytest.raises(TimeoutError, match="which another process makes"):
        run([*shared, "--output", "two"])


def _as_process(arguments):
    import fex.cli.explain.run as module

    module.chosen_black_box = lambda _: tiny_box()
    assert main(arguments) == 0


@pytest.mark.slow
def test_two_real_processes(shared, tmp_path, box):
    run([*shared, "--output", "one"])
    arguments = [str(tmp_path / each) if each in ("tiny.ckpt", "photos") else each for each in shared]
    made = []
    for rank in ("0", "1"):
        log = tmp_path / f"{rank}.log"
        ranks = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": rank}
        made.append((start(_as_process, [*arguments, "--output", str(tmp_path / "two")], log=log, **ranks), log))
    assert [finish(process, log, 300) for process, log in made] == [0, 0]
    one, two = tables(tmp_path / "one"), tables(tmp_path / "two")
    assert one.keys() == two.keys()
    columns = ["file", "class", "queries", "class_chosen_by"]
    assert all(two[name].select(columns).equals(found.select(columns)) for name, found in one.items())


def test_what_was_foreseen_is_told_by_settings_and_inputs(shared, tmp_path, box, monkeypatch):
    run([*shared, "--output", "one"])
    explain, made = spent.Foreseer.explain, []

    def counted(self, inputs, *given, **options):
        made.append(len(inputs))
        return explain(self, inputs, *given, **options)

    monkeypatch.setattr(spent.Foreseer, "explain", counted)
    total = shared.index("--refine-total") + 1
    run([*shared[:total], "9", *shared[total + 1 :], "--output", "one"])  # another total: nothing is foreseen anew
    assert not made
    assert sum(row["queries"] == 9 for row in rows_of(tmp_path / "one")) == 1
    run([*shared, "--target", "drum", "--output", "one"])
    assert sum(made) == 8
    made.clear()
    os.utime(tmp_path / "photos" / "0.png", (1, 1))
    (tmp_path / "one" / FORESEEN / "00003.npz").write_bytes(b"damaged")
    run([*shared, "--target", "drum", "--output", "one"])
    assert made == [2, 2]  # those of the picture that was touched, and of the damaged file
