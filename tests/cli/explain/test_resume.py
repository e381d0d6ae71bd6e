"""`fex-explain --resume`: a killed run goes on where it stopped, and is never mixed with another."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fex.cli.explain import explain
from fex.cli.explain.journal import JOURNAL
from tests.cli.explain.test_pictures import picture, tree
from tests.explainers.tiny import tiny_explainer, write_checkpoint
from tests.lightning_modules.test_texts import explainer as text_explainer


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A checkpoint, and a folder of seven pictures and one broken file."""
    folder = tmp_path_factory.mktemp("resume")
    for number in range(7):
        picture(folder / "in" / f"{number}.png")
    (folder / "in" / "3b.png").write_bytes(b"no picture")
    return str(write_checkpoint(folder / "x.ckpt")), folder / "in"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    write_checkpoint(folder / "text.ckpt", text_explainer())
    (folder / "in.csv").write_text('text\na gem\nthe film\n""\nso odd\na mess\n' + "the plot was dull " * 20 + "\n")
    return str(folder / "text.ckpt"), folder / "in.csv"


class Killed(BaseException):
    """As if the process were gone."""


def stop_after(count, monkeypatch):
    from fex.cli.explain.journal import Journal

    append = Journal.append

    def failing(self, key, **entry):
        if count[0] == 0:
            raise Killed
        count[0] -= 1
        append(self, key, **entry)

    monkeypatch.setattr(Journal, "append", failing)


def content(folder: Path) -> dict[str, object]:
    """What a run leaves, but for times."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
        elif path.suffix == ".jsonl" and name != JOURNAL:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
        elif path.suffix == ".html":
            found[name] = path.read_bytes()
        elif path.suffix == ".npz":
            with np.load(path) as data:
                found[name] = data["attribution"].tobytes()
    return found


@pytest.mark.parametrize("kind", ["pictures", "texts"])
@pytest.mark.parametrize("after", [0, 3])
def test_a_stopped_run_goes_on_and_ends_like_one_that_was_not(kind, after, request, tmp_path, monkeypatch, capsys):
    checkpoint, inputs = request.getfixturevalue(kind)
    arguments = [checkpoint, str(inputs), "--batch-size", "1"]
    whole = explain.run([*arguments, "--output", str(tmp_path / "whole")])
    cut = [*arguments, "--output", str(tmp_path / "cut")]
    with monkeypatch.context() as patch:
        stop_after([after], patch)
        with pytest.raises(Killed):
            explain.run(cut)
    with (tmp_path / "cut" / JOURNAL).open("ab") as file:
        file.write(b'{"key": ["half a li')  # what a killed process was writing
    found = explain.run([*cut, "--resume"])
    assert found.done == after
    assert (found.explained, found.skipped) == (whole.explained, whole.skipped)
    assert found.named == whole.named
    if after:
        assert f"({after} of all were finished before)" in str(found)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert "earlier run" not in capsys.readouterr().err

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").iterdir()}
    again = explain.run([*cut, "--resume"])  # nothing is left: nothing is written
    assert (again.explained, again.skipped) == (whole.explained, whole.skipped)
    assert again.done == whole.explained + whole.skipped
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").iterdir()} == stamps


@pytest.mark.slow
def test_a_process_that_is_killed(pictures, tmp_path):
    checkpoint, folder = pictures
    out = tmp_path / "out"
    code = (
        "import sys, time; from fex.cli.explain import explain\n"
        "from fex.cli.explain.journal import Journal; append = Journal.append\n"
        "def slow(self, key, **entry):\n    append(self, key, **entry); print('one', flush=True); time.sleep(30)\n"
        "Journal.append = slow; explain.run(sys.argv[1:])"
    )
    arguments = [checkpoint, str(folder), "--output", str(out), "--batch-size", "1"]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    found = explain.run([*arguments, "--resume"])
    assert (found.done, found.explained, found.skipped) == (1, 7, 1)
    assert (out / "gallery.html").read_text().count("<article") == 7


def test_resume_of_nothing_begins(pictures, tmp_path):
    checkpoint, folder = pictures
    found = explain.run([checkpoint, str(folder), "--output", str(tmp_path / "out"), "--resume"])
    assert (found.done, found.explained) == (0, 7)


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--top-k", "2"], "top_k is 1 there and 2 here"),
        (["--target", "crane"], "target is None there and 'crane' here"),
        (["--formats", "npz"], "formats is None there and"),
        ("checkpoint", "checkpoint is '"),
        ("picture", "content is another"),
        ("fewer", "not there"),
    ],
)
def test_other_settings_or_inputs_are_refused(pictures, tmp_path, change, message, finished, monkeypatch, capsys):
    checkpoint, folder = str(tmp_path / "x.ckpt"), tmp_path / "in"
    write_checkpoint(tmp_path / "x.ckpt")
    for number in range(3):
        picture(folder / f"{number}.png")
    arguments = [checkpoint, str(folder), "--output", str(tmp_path / "out"), "--batch-size", "1"]
    if finished:
        explain.run(arguments)
    else:
        with monkeypatch.context() as patch:
            stop_after([2], patch)
            with pytest.raises(Killed):
                explain.run(arguments)
    if change == "checkpoint":
        write_checkpoint(tmp_path / "x.ckpt", tiny_explainer(seed=1))
    elif change == "picture":
        time.sleep(0.01)
        picture(folder / "0.png")
    elif change == "fewer":
        (folder / "1.png").unlink()
        (folder / "2.png").unlink()
    before = {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")}
    capsys.readouterr()
    assert explain.main([*arguments, *(change if isinstance(change, list) else []), "--resume"]) == 2
    told = capsys.readouterr().err
    assert ("these are not its inputs" if finished and change in ("picture", "fewer") else message) in told
    assert {name: (tmp_path / "out" / name).read_bytes() for name in tree(tmp_path / "out")} == before


def test_results_of_unknown_settings_are_not_added_to(pictures, tmp_path, capsys):
    checkpoint, folder = pictures
    arguments = [checkpoint, str(folder), "--output", str(tmp_path / "out")]
    explain.run(arguments)
    (tmp_path / "out" / JOURNAL).unlink()
    assert explain.main([*arguments, "--resume"]) == 2
    assert "no .fex-explain.jsonl that says how far" in capsys.readouterr().err


def test_strings_alone_have_nothing_to_go_on_with(texts, capsys):
    assert explain.main([texts[0], "a gem", "--resume"]) == 2
    assert "give --output" in capsys.readouterr().err
