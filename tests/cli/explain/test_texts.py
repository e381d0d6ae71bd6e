"""`fex-explain` on texts."""

import csv
import gc
import json
import re
import tracemalloc
from html import unescape

import pytest
import torch

from fex.cli.explain.explain import main, run
from fex.cli.explain.journal import JOURNAL
from fex.explainers.text_stream import explain_records
from fex.report.text_folder import TextResultFolder
from fex.texts import TextRecord
from tests.lightning_modules.test_texts import explainer


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
    assert "longer than the explainer reads: 1, whose last 42 tokens were cut off" in printed
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
        (["a gem", "--column", "text"], "--column text: none of the inputs has columns"),
        (["a gem", "lines.txt", "--pair-column", "b"], "--pair-column b: none of the inputs has columns"),
        (["two.csv"], "two.csv does not say which column holds the texts; it has ['first', 'second']"),
        (["two.csv", "--column", "text"], "two.csv has no column 'text'; it has ['first', 'second']"),
        (["two.csv", "--column", "first", "--pair-column", "third"], "two.csv has no column 'third'"),
        (["two.csv", "--column", "first", "--pair-column", "second", "--window"], "--window with --pair-column"),
        (["a gem", "--window", "-1"], "--window is -1"),
        (["a gem", "--window", "30"], "can overlap by 0 ... 29, got 30"),
        (["empty.csv"], "empty.csv is empty: expected a header"),
        (["a gem", "photo.png"], "photo.png is a file; this explainer takes texts, and files .csv"),
        (["texts"], "texts is a folder; this explainer takes texts, and files .csv"),
        (["a gem", "--formats", "png"], "Unknown format png"),
    ],
)
def test_mistakes_are_told(checkpoint, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.csv").write_text("first,second\na,b\n")
    (tmp_path / "lines.txt").write_text("a gem\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "photo.png").touch()
    (tmp_path / "texts").mkdir()
    assert main([checkpoint, *arguments]) == 2
    assert message in capsys.readouterr().err


# What the terminal is given; how many tokens are features, or why there is no explanation.
ODD = {
    "empty": ("", "has no tokens"),
    "spaces": (" \t ", "has no tokens"),
    "NUL bytes alone": ("\x00\x00", "has no tokens"),
    "NUL bytes within": ("a\x00 gem", 2),
    "unknown characters": ("ᚠᚢᚦ ᛋᛏ", 2),
    "emoji": ("a gem 😀👍🏽", 3),
    "right to left": ("هذا فيلم جميل", 3),
    "Chinese": ("电影很好看", 5),
    "half a character": ("a \udcff gem", 2),
    "control words": ("a [SEP] [MASK] gem", 8),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_are_explained_or_counted(name, checkpoint, capsys, tmp_path):
    text, expected = ODD[name]
    code = main([checkpoint, text, "a gem", "--output", str(tmp_path / "out")])
    found = [json.loads(line) for line in (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()]
    shown = capsys.readouterr().out
    if isinstance(expected, str):
        assert code == 1
        assert "skipped 1 that could not be explained" in shown
        assert expected in shown
        assert [row["source"] for row in found] == ["text 2"]
    else:
        assert code == 0
        assert len(found) == 2
        assert len(found[0]["words"]) == expected
        assert "explained 2 texts" in shown
    assert "\x00" not in (tmp_path / "out" / "gallery.html").read_text()


@pytest.mark.parametrize("mistake", [["--column", "nope"], ["--window", "30"], ["two.csv"], ["--formats", "png"]])
def test_a_mistake_leaves_the_results_of_an_earlier_run(mistake, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.csv").write_text("text\na gem\n")
    (tmp_path / "two.csv").write_text("first,second\na,b\n")
    assert main([checkpoint, "one.csv", ""]) == 1
    before = {path.name: path.read_bytes() for path in (tmp_path / "explanations").iterdir()}
    assert set(before) == {
        "explanations.jsonl",
        "explanations.csv",
        "gallery.html",
        "skipped.csv",
        JOURNAL,
        ".fex.lock",
    }
    assert "earlier run" not in capsys.readouterr().err
    assert main([checkpoint, "one.csv", *mistake]) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "explanations").iterdir()} == before
    capsys.readouterr()
    assert main([checkpoint, "one.csv"]) == 0
    assert "explanations has results of an earlier run" in capsys.readouterr().err


def test_pages_and_terminal_say_whose_probability_and_which_scores(checkpoint, tmp_path, capsys):
    assert main([checkpoint, "a gem, the film", "--output", str(tmp_path)]) == 0
    (found,) = [json.loads(line) for line in (tmp_path / "explanations.jsonl").read_text().splitlines()]
    scores = [word["score"] for word in found["words"]]
    numbers = f"p = {found['probability']:.3f} (explainer's estimate) · scores {min(scores):.3g} … {max(scores):.3g}"
    assert numbers in capsys.readouterr().out
    page = (tmp_path / "gallery.html").read_text()
    assert numbers in unescape(page)
    assert "each text" in page
    assert "Pictures" not in page
    assert not re.search(r"\{\w+\}", page.split("<script>")[0].split("</style>")[1])
    with (tmp_path / "explanations.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["text"] == "a gem, the film"
    assert sorted(row["top_words"].split()) == ["a", "film", "gem", "the"]  # no punctuation


def test_only_texts_without_tokens(checkpoint, capsys):
    assert main([checkpoint, "", "  "]) == 2
    assert "none of the" in capsys.readouterr().err


def test_a_hundred_thousand_words_are_cut_off_or_explained_whole(checkpoint, tmp_path, capsys):
    (tmp_path / "long.txt").write_text("a gem " * 50_000)
    assert main([checkpoint, str(tmp_path / "long.txt"), "--output", str(tmp_path / "out")]) == 0
    assert (
        "longer than the explainer reads: 1, whose last 99,970 tokens were cut off (--window explains them whole)"
        in capsys.readouterr().out
    )


def test_columns_and_pairs(checkpoint, tmp_path):
    (tmp_path / "in.jsonl").write_text(
        '{"q": "a gem", "a": "so odd", "id": 1}\n{"q": "a mess"}\n{"q": "the plot", "a": "x"}\n'
    )
    out = tmp_path / "out"
    arguments = ["--column", "q", "--pair-column", "a", "--output", str(out)]
    summary = run([checkpoint, str(tmp_path / "in.jsonl"), *arguments])
    assert (summary.explained, summary.skipped) == (2, 1)
    first, _ = [json.loads(line) for line in (out / "explanations.jsonl").read_text().splitlines()]
    assert first["text"] == ["a gem", "so odd"]
    assert [(word["word"], word["part"]) for word in first["words"]] == [("a", 0), ("gem", 0), ("so", 1), ("odd", 1)]
    assert "no text in 'a', but NoneType" in summary.named[0][1]


def test_the_checkpoint_is_read_once(checkpoint, monkeypatch):
    reads, load = [], torch.load
    monkeypatch.setattr("fex.storage.checkpoint.torch.load", lambda *a, **k: reads.append(1) or load(*a, **k))
    assert main([checkpoint, "a gem"]) == 0
    assert len(reads) == 1


def test_memory_does_not_grow_with_the_rows(checkpoint, tmp_path, monkeypatch):
    """A file of any size is never held: after each pool of rows, as much is in memory as after the one before."""
    pool, pools = 2 * 64, 3
    with (tmp_path / "in.csv").open("w") as file:
        file.write("text\n" + "a gem so odd\n" * (pool * pools))
    seen, count, add = [], iter(range(1, 1 + pool * pools)), TextResultFolder.add

    def watch(self, explanations):
        written = add(self, explanations)
        if next(count) % pool == 0:
            gc.collect()
            seen.append(tracemalloc.get_traced_memory()[0])
        return written

    monkeypatch.setattr(TextResultFolder, "add", watch)
    arguments = ["--output", str(tmp_path / "out"), "--batch-size", "2", "--formats", "jsonl,csv"]
    tracemalloc.start()
    try:
        summary = run([checkpoint, str(tmp_path / "in.csv"), *arguments])
    finally:
        tracemalloc.stop()
    assert summary.explained == pool * pools
    assert len(seen) == pools
    assert seen[-1] - seen[1] < 200 * pool * (pools - 2)  # bytes; an explanation that is held takes more than 1,000


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
        found.save(tmp_path / "a.gif")
