"""`fex-explain --worst N`: the page of the least faithful, of files and of tables, in one go and after a stop."""

import re

import pytest

from fex.cli.explain.explain import main, run
from tests.cli.explain.test_shares import tables
from tests.explainers.tiny import tiny_explainer, write_checkpoint
from tests.lightning_modules.test_texts import explainer as text_explainer
from tests.texts.tiny import WordBox, sentences


def shown(page):
    """Names and fidelities of the cards of a page, in order."""
    found = re.findall(r'<article data-file="([^"]*)"[^>]*data-f="([^"]*)"', page.read_text())
    return [name for name, _ in found], [float(value) for _, value in found]


def least(gallery, count):
    """The names that a page of all inputs has with the lowest fidelities."""
    return [name for _, name in sorted(zip(*reversed(shown(gallery)), strict=True))[:count]]


def test_of_files_and_of_tables(photos, tmp_path, box, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "tiny.ckpt", tiny_explainer())
    (photos / "broken.png").write_text("no picture")
    arguments = ["tiny.ckpt", "photos", "--black-box", "toy", "--refine", "16", "--worst", "2", "--device", "cpu"]
    assert main([*arguments, "--formats", "json", "--output", "one"]) == 1
    assert "the least faithful: one/worst.html" in capsys.readouterr().out
    names, values = shown(tmp_path / "one" / "worst.html")
    assert names == least(tmp_path / "one" / "gallery.html", 2)
    assert values == sorted(values)
    assert box.queries == 4 * 17 + 2 * 17  # those of the page once more

    tabled = [*arguments, "--formats", "parquet", "--shard-size", "2"]
    assert main([*tabled, "--output", "two"]) == 1
    assert shown(tmp_path / "two" / "worst.html")[0] == names
    (tmp_path / "two" / "worst.html").unlink()
    (tmp_path / "two" / "explanations-00001.parquet").unlink()
    assert main([*tabled, "--output", "two", "--resume"]) == 1
    assert shown(tmp_path / "two" / "worst.html")[0] == names

    # Of several processes the last one, which finds the tables of all.
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    run([*tabled, "--output", "three"])
    assert not (tmp_path / "three" / "worst.html").exists()
    monkeypatch.setenv("RANK", "0")
    run([*tabled, "--output", "three"])
    assert shown(tmp_path / "three" / "worst.html")[0] == names
    assert len(tables(tmp_path / "three")) == 3


def test_of_texts(tmp_path, monkeypatch):
    monkeypatch.setattr("fex.cli.explain.run.chosen_black_box", lambda _: WordBox())
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path / "text.ckpt", text_explainer())
    (tmp_path / "in.txt").write_text("\n".join(sentences(6)))
    assert main([str(path), "in.txt", "--black-box", "b", "--check", "16", "--worst", "2", "--output", "out"]) == 0
    assert shown(tmp_path / "out" / "worst.html")[0] == least(tmp_path / "out" / "gallery.html", 2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--worst", "3"], "--worst needs --check or --refine"),
        (["--worst", "3", "--refine", "8", "--refine-total", "80"], "of every input"),
        (["--worst", "101", "--check", "8"], "expected 100 at most"),
    ],
)
def test_mistakes_are_told(flags, said, capsys):
    with pytest.raises(SystemExit):
        run(["net.ckpt", "a.png", "--black-box", "b", *flags])
    assert said in capsys.readouterr().err
