"""`fex-explain` on texts."""

import csv
import json

import pytest
import torch

from fex.cli.explain import main, run
from fex.text_files import TextRecord
from fex.text_streaming import explain_records
from tests.text.test_training import explainer


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    one = explainer()
    path = tmp_path_factory.mktemp("net") / "text.ckpt"
    state = {f"explainer.{name}": tensor for name, tensor in one.net.state_dict().items()}
    torch.save({"state_dict": state, "fex": one.meta}, path)
    return str(path)


def test_strings_are_coloured_in_the_terminal_alone(checkpoint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([checkpoint, "a gem, so odd!", "the\x1b[31m plot"]) == 0
    shown = capsys.readouterr().out
    assert "a gem, so odd!" in shown
    assert "\x1b[31m" not in shown
    assert "explained 2 texts" in shown
    assert not list(tmp_path.iterdir())


def test_files_give_json_lines_table_and_pages_in_order(checkpoint, tmp_path, capsys):
    rows = ["a gem", "", "the film is a gem and so very odd " * 8, "😀", "هذا فيلم", "<b>mess</b>"]
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "review"], *enumerate(rows), ["broken"]])
    out = tmp_path / "out"
    code = main([checkpoint, str(tmp_path / "in.csv"), "--column", "review", "--output", str(out), "--batch-size", "2"])
    assert code == 1
    printed = capsys.readouterr().out
    assert "1 texts were longer than the explainer reads: their last 42 tokens were cut off" in printed
    found = [json.loads(line) for line in (out / "explanations.jsonl").read_text().splitlines()]
    assert [row["text"] for row in found] == [text for text in rows if text]
    for row in found:
        for word in row["words"]:
            assert row["text"][word["start"] : word["end"]] == word["word"]
            assert 0 < word["score"] < 1
    assert [row["tokens_cut"] for row in found] == [0, 42, 0, 0, 0]
    with (out / "explanations.csv").open() as file:
        assert [row["source"] for row in csv.DictReader(file)] == [f"in.csv:{n}" for n in (2, 4, 5, 6, 7)]
    with (out / "skipped.csv").open() as file:
        reasons = {row["source"]: row["reason"] for row in csv.DictReader(file)}
    assert "has no tokens" in reasons["in.csv:3"]
    assert "1 fields, the header has 2" in reasons["in.csv:8"]
    page = (out / "gallery.html").read_text()
    assert "&lt;" in page
    assert "<b>mess" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_windows_and_targets(checkpoint, tmp_path):
    (tmp_path / "in.txt").write_text("a gem " * 60)
    out = tmp_path / "out"
    summary = run([checkpoint, str(tmp_path / "in.txt"), "--window", "8", "--output", str(out), "--target", "no"])
    assert (summary.explained, summary.truncated) == (1, 0)
    (found,) = [json.loads(line) for line in (out / "explanations.jsonl").read_text().splitlines()]
    assert (len(found["words"]), found["target"]["name"]) == (120, "no")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "Found no file at nowhere.csv"),
        (["a gem", "--target", "maybe"], "Unknown class 'maybe'"),
        (["a gem", "--top-k", "3"], "--top-k is 3, the explainer has 2 classes"),
        (["a gem", "--output", "x", "--formats", "png"], "Unknown format png"),
    ],
)
def test_mistakes_are_told(checkpoint, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([checkpoint, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_stream_is_taken_a_pool_at_a_time_and_in_order():
    one, taken = explainer(), []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield TextRecord(str(number), "a gem " * (1 + number % 3))
            number += 1

    stream = explain_records(one, endless(), batch_size=2)
    for number in range(3):
        record, found = next(stream)
        assert (record.name, found[0].source) == (str(number), str(number))
        assert len(found[0].word_scores()) == 2 * (1 + number % 3)
    assert len(taken) == 128


def test_explanations_save_themselves(tmp_path):
    (found,) = explainer().explain([("films so odd", "a gem")])
    words = found.word_scores()
    assert [word.word for word in words] == ["films", "so", "odd", "a", "gem"]
    assert [word.part for word in words] == [0, 0, 0, 1, 1]
    assert words[0].score == pytest.approx(float(found.scores[:2].max()))
    assert found.top(1)[0].score == max(word.score for word in words)
    assert json.loads(found.save(tmp_path / "a.json").read_text())["words"][4]["part"] == 1
    assert found.save(tmp_path / "a.csv").read_text().splitlines()[1].startswith("films,")
    assert "films" in found.save(tmp_path / "a.html").read_text()
    with pytest.raises(ValueError, match="end the name in one of"):
        found.save(tmp_path / "a.png")
