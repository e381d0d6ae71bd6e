"""`fex-explain --refine` and `--check`."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from fex.cli.explain import asking, refined
from fex.cli.explain.explain import main, run
from fex.cli.explain.journal import JOURNAL
from tests.explainers.tiny import tiny_explainer, write_checkpoint
from tests.lightning_modules.test_texts import explainer as text_explainer
from tests.texts.tiny import WordBox


@pytest.fixture
def checkpoint(tmp_path):
    return str(write_checkpoint(tmp_path / "tiny.ckpt", tiny_explainer()))


def table(out):
    with (out / "explanations.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_single_query_is_told_as_too_few(checkpoint, photos, tmp_path, box, capsys):
    arguments = [checkpoint, str(photos), "--black-box", "toy", "--check", "1", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "fidelity is unknown, since it takes 4 queries at least: 4" in printed
    assert "hardly differ" not in printed


def test_refining_tells_fidelity_everywhere(checkpoint, photos, tmp_path, box, capsys):
    out = tmp_path / "out"
    arguments = [checkpoint, str(photos), "--black-box", "toy", "--refine", "16", "--output", str(out)]
    assert main(arguments) == 0
    assert box.queries == 4 * 17
    printed = capsys.readouterr().out
    assert "fidelity of 3 maps, by 16 queries each or more, with 95 % intervals; the least faithful:" in printed
    assert re.search(r"\d\.png -?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\]", printed)
    assert "unknown, since the answers hardly differ: 1" in printed
    rows = {row["file"]: row for row in table(out)}
    assert rows["grey.png"]["fidelity"] == ""
    assert float(rows["0.png"]["fidelity_low"]) <= float(rows["0.png"]["fidelity"])
    assert {row["queries"] for row in rows.values()} == {"17"}
    data = json.loads((out / "0.png.json").read_text())
    assert data["method"] == "FEX + 16 queries"
    assert data["fidelity"]["value"] == pytest.approx(float(rows["0.png"]["fidelity"]), abs=1e-3)
    grey = json.loads((out / "grey.png.json").read_text())
    assert grey["fidelity"] == {"value": None, "low": None, "high": None, "queries": 16}
    page = (out / "gallery.html").read_text()
    assert page.count("data-f=") == 3
    assert "least faithful first" in page
    assert "http" not in page.split("<main>")[0].replace("http-equiv", "")


def test_checking_leaves_the_map_as_it_was(checkpoint, photos, tmp_path, box):
    plain, checked = tmp_path / "plain", tmp_path / "checked"
    common = [checkpoint, str(photos), "--black-box", "toy", "--formats", "npz"]
    assert main([*common, "--output", str(plain)]) == 0
    assert main([*common, "--check", "16", "--output", str(checked)]) == 0
    for number in range(3):
        with np.load(plain / f"{number}.png.npz") as one, np.load(checked / f"{number}.png.npz") as other:
            assert np.array_equal(one["attribution"], other["attribution"])
            assert json.loads(str(other["meta"]))["fidelity"]["queries"] == 16
    assert table(plain)[0]["fidelity"] == ""
    assert "data-f=" not in (plain / "gallery.html").read_text()


def test_it_goes_on_where_it_was_stopped(checkpoint, photos, tmp_path, box, monkeypatch):
    out, whole = tmp_path / "out", tmp_path / "whole"
    arguments = [checkpoint, str(photos), "--black-box", "toy", "--refine", "8", "--formats", "json"]
    summary = run([*arguments, "--output", str(whole)])
    monkeypatch.setattr(asking, "AT_ONCE", 8)  # one picture at a time
    run([*arguments, "--output", str(out)])
    (out / JOURNAL).unlink()
    asked, explain = box.queries, refined.RefinedMethod.explain

    def stopped(self, *given, **options):
        if box.queries >= asked + 2 * 9:
            raise KeyboardInterrupt
        return explain(self, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(refined.RefinedMethod, "explain", stopped)
        assert main([*arguments, "--output", str(out)]) == 130
    resumed = run([*arguments, "--output", str(out), "--resume"])
    assert asked + 4 * 9 <= box.queries <= asked + 6 * 9  # what was finished is not asked again
    assert (resumed.measured.maps, resumed.measured.unknown) == (3, 1)
    for (name, numbers), (same, others) in zip(resumed.measured.least, summary.measured.least, strict=True):
        assert name == same
        assert numbers == pytest.approx(others, abs=1e-4)
    for one, other in zip(table(out), table(whole), strict=True):
        assert (one["file"], one["queries"], one["top_feature"]) == (other["file"], "9", other["top_feature"])
    assert run([*arguments, "--output", str(out), "--resume"]).measured.maps == 3  # a finished run tells it again
    with pytest.raises(ValueError, match="--refine was 8, now it is 16"):
        run([*arguments[:-3], "16", *arguments[-2:], "--output", str(out), "--resume"])


def test_until_a_fidelity(checkpoint, photos, tmp_path, box):
    out = tmp_path / "out"
    arguments = ["--black-box", "toy", "--refine", "16", "--until-fidelity", "0.5", "--budget", "48"]
    assert main([checkpoint, str(photos), *arguments, "--output", str(out), "--formats", "json"]) == 0
    rows = {row["file"]: row for row in table(out)}
    assert rows["grey.png"]["queries"] == "49"  # never satisfied
    for row in rows.values():
        assert int(row["queries"]) == 49 or float(row["fidelity_low"]) >= 0.5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--refine", "8"], "needs --black-box"),
        (["--black-box", "b", "--refine", "8", "--check", "8"], "not allowed with"),
        (["--black-box", "b", "--until-fidelity", "0.5"], "needs --refine"),
        (["--black-box", "b", "--refine", "8", "--until-fidelity", "80"], "between 0 and 1"),
        (["--black-box", "b", "--refine", "8", "--budget", "80"], "--budget needs"),
        (["--black-box", "b", "--refine", "8", "--until-fidelity", "0.5", "--budget", "4"], "less than the 8"),
        (["--black-box", "b", "--refine-total", "80"], "needs --refine"),
        (["--black-box", "b", "--refine", "8", "--until-fidelity", "0.5", "--refine-total", "80"], "without --until"),
        (["--black-box", "b", "--method", "dax", "--check", "8"], "only with a trained explainer"),
        (["--black-box", "b", "--refine", "8", "--window"], "neither refined nor checked"),
    ],
)
def test_mistakes_are_told(flags, said, capsys):
    with pytest.raises(SystemExit):
        run(["net.ckpt", "a.png", *flags])
    assert said in capsys.readouterr().err


def test_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fex.cli.explain.run.chosen_black_box", lambda _: WordBox())
    one = text_explainer()
    path = tmp_path / "text.ckpt"
    state = {f"explainer.{name}": tensor for name, tensor in one.net.state_dict().items()}
    torch.save({"state_dict": state, "fex": one.meta}, path)
    out = tmp_path / "out"
    arguments = [str(path), "a gem, so odd!", "the film is a mess", "--black-box", "b", "--output", str(out)]
    assert main([*arguments, "--refine", "16"]) == 0
    printed = capsys.readouterr().out
    assert "16 queries" in printed
    assert "the least faithful: text 1" in printed
    found = [json.loads(line) for line in (out / "explanations.jsonl").read_text().splitlines()]
    assert max(found[0]["words"], key=lambda word: word["score"])["word"] == "gem"
    assert found[0]["words"][0]["standard_error"] > 0
    assert found[0]["fidelity"]["value"] > 0.5
    assert float(table(out)[0]["fidelity"]) == pytest.approx(found[0]["fidelity"]["value"], abs=1e-3)
    assert main([*arguments, "--check", "16"]) == 0
