"""Results of an earlier run in the folder of `fex-explain`: replaced by results alone, and never unsaid."""

import pytest

from fex.cli.explain.explain import main
from fex.cli.explain.journal import JOURNAL
from tests.cli.explain.test_pictures import picture, read_csv
from tests.explainers.tiny import tiny_box, write_checkpoint


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "x.ckpt")
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png")
    return ["x.ckpt", "in", "--output", "out", "--batch-size", "1"]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("formats", ["png", "parquet"])
def test_a_refused_run_leaves_them(given, formats, tmp_path, monkeypatch, capsys):
    given += ["--formats", formats]
    assert main(given) == 0
    before = content(tmp_path / "out")
    monkeypatch.setattr("fex.cli.explain.run.chosen_black_box", lambda _: tiny_box(size=8))
    assert main([*given, "--black-box", "small"]) == 2
    assert "Black box 'toy' takes (8, 8) pixels" in capsys.readouterr().err
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("formats", ["png", "parquet"])
def test_a_run_that_fails_at_its_first_input_leaves_them(given, formats, tmp_path, monkeypatch, capsys):
    given += ["--formats", formats]

    def failing(*_, **__):
        raise ValueError("The box is gone.")

    with monkeypatch.context() as patch:
        patch.setattr("fex.explainers.trained.AmortizedExplainer.explain", failing)
        assert main(given) == 2
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    assert main(given) == 0
    assert "earlier run" not in capsys.readouterr().err
    before = content(tmp_path / "out")
    monkeypatch.setattr("fex.explainers.trained.AmortizedExplainer.explain", failing)
    assert main([*given, "--top-k", "2"]) == 2
    assert "earlier run" not in capsys.readouterr().err
    assert content(tmp_path / "out") == before


def test_a_table_of_headings_is_none(given, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "explanations.csv").write_text("file,rank\n")
    assert main(given) == 0
    assert "earlier run" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("parquet", "parquet", "tables are written anew. Give"),
        ("parquet", "png", "table and gallery are written anew, and these stay: explanations-00000.parquet. Give"),
        ("png", "parquet", "tables are written anew, and these stay: explanations.csv, gallery.html, files of images"),
        ("png", "npz", "table and gallery are written anew, and these stay: files of images that"),
    ],
)
def test_they_are_told_whatever_their_formats(given, first, second, told, tmp_path, capsys):
    assert main([*given, "--formats", first]) == 0
    capsys.readouterr()
    assert main([*given, "--formats", second]) == 0
    printed = capsys.readouterr()
    assert f"fex-explain: out has results of an earlier run: {told}" in printed.err
    assert ("gallery:" in printed.out) == (second != "parquet")


def test_the_gallery_of_another_run_is_not_shown(given, tmp_path, capsys):
    assert main(given) == 0
    capsys.readouterr()
    assert main([*given, "--no-gallery"]) == 0
    printed = capsys.readouterr()
    assert "these stay: gallery.html, files of images" in printed.err
    assert "gallery:" not in printed.out
    (tmp_path / "in" / "broken.png").write_text("no picture")
    assert main(["x.ckpt", "in/broken.png", "--output", "out"]) == 2
    assert "gallery:" not in capsys.readouterr().out
    assert read_csv(tmp_path / "out" / "explanations.csv") == []
    assert (tmp_path / "out" / JOURNAL).is_file()
