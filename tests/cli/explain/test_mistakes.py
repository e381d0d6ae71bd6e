"""`fex-explain`: pictures that cannot be read, and command lines, checkpoints and places that cannot be used."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from fex.class_names import class_index
from fex.cli.explain import explain
from fex.cli.explain.journal import JOURNAL
from fex.explanations import Explanation
from tests.cli.explain.test_pictures import picture, read_csv, tree
from tests.explainers.tiny import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "x.ckpt"))


def test_bad_pictures_are_counted_and_named(tmp_path, checkpoint, capsys):
    folder = tmp_path / "in"
    good = [
        picture(folder / "cmyk.jpg", mode="CMYK"), picture(folder / "grey.png", mode="L"),
        picture(folder / "palette.gif", mode="P"), picture(folder / "pixel.png", (1, 1)),
        picture(folder / "strip.png", (3000, 2)), picture(folder / "huge.png", (4000, 3000), "1"),
        picture(Path(os.fsdecode(os.fsencode(folder) + b"/n\xff.png"))),
    ]  # fmt: skip
    whole = picture(folder / "whole.png", (64, 64))
    (folder / "cut.png").write_bytes(whole.read_bytes()[:900])
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    Image.new("1", (12_000, 9_000)).save(folder / "bomb.png")
    out = tmp_path / "out"
    assert explain.main([checkpoint, str(folder), "--output", str(out), "--batch-size", "3"]) == 1
    printed = capsys.readouterr().out
    assert f"explained {len(good) + 1} images" in printed
    assert "skipped 4" in printed
    assert "bomb.png: 12000 x 9000 pixels, the limit is" in printed
    assert {row["file"] for row in read_csv(out / "skipped.csv")} == {"cut.png", "text.jpg", "empty.png", "bomb.png"}
    names = [row["file"] for row in read_csv(out / "explanations.csv")]
    assert len(names) == len(good) + 1
    assert "n\ufffd.png" in names
    gallery = (out / "gallery.html").read_text()
    assert "bomb.png" not in gallery
    assert "4 more skipped: see skipped.csv" in gallery


def test_a_picture_that_cannot_be_drawn_is_a_counted_skip(tmp_path, checkpoint, capsys, monkeypatch):
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.png")
    save = Explanation.save

    def broken(self, path):
        if self.source == "1.png":
            raise RuntimeError("raqm_layout failed")
        return save(self, path)

    monkeypatch.setattr(Explanation, "save", broken)
    out = tmp_path / "out"
    assert explain.main([checkpoint, str(tmp_path / "in"), "--output", str(out), "--formats", "npz"]) == 1
    assert "skipped 1" in capsys.readouterr().out
    assert [row["file"] for row in read_csv(out / "explanations.csv")] == ["0.png", "2.png"]
    (skipped,) = read_csv(out / "skipped.csv")
    assert "could not be made (RuntimeError: raqm_layout failed)" in skipped["reason"]


def test_only_bad_pictures(tmp_path, checkpoint, capsys):
    (tmp_path / "a.png").write_text("no picture")
    assert explain.main([checkpoint, str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert "explained 0 images" in told.out
    assert "none of the inputs could be explained" in told.err
    assert tree(tmp_path / "out") == {"explanations.csv", "skipped.csv", JOURNAL}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": "empty"}, "Found no images in"),
        ({"inputs": "nowhere"}, "Found no picture or folder at"),
        ({"flags": ["--target", "crain"]}, "Unknown class 'crain'. Closest of the 5 classes: crane"),
        ({"flags": ["--target", "9"]}, "Class 9 is outside 0 ... 4"),
        ({"flags": ["--top-k", "6"]}, "--top-k is 6, the explainer has 5 classes"),
        ({"flags": ["--formats", "png,pdf"]}, "Unknown format pdf"),
        ({"flags": ["--device", "gpu"]}, "Device 'gpu' cannot be used"),
        ({"output": "file"}, "choose a folder that is writable"),
        ({"checkpoint": "nope"}, "Found no checkpoint at nope; shipped explainers:"),
    ],
)
def test_errors_end_with_code_2_and_no_results(tmp_path, checkpoint, capsys, change, message):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = tree(tmp_path)
    paths = [str(tmp_path / change.get("inputs", "in")), "--output", str(tmp_path / change.get("output", "out"))]
    assert explain.main([change.get("checkpoint", checkpoint), *paths, *change.get("flags", [])]) == 2
    assert message in capsys.readouterr().err
    assert tree(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_checkpoint_with_code_is_refused(tmp_path, capsys):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"fex": Payload(), "state_dict": {}}, tmp_path / "x.ckpt")
    image = picture(tmp_path / "a.png")
    assert explain.main([str(tmp_path / "x.ckpt"), str(image), "--output", str(tmp_path / "out")]) == 2
    assert "without running code from it" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_a_disk_that_fills_up_ends_the_run_but_keeps_what_was_done(tmp_path, checkpoint, capsys, monkeypatch):
    for number in range(6):
        picture(tmp_path / "in" / f"{number}.png")
    replace = os.replace

    def full(source, target):
        if "4.png.npz" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("fex.storage.atomic.os.replace", full)
    out = tmp_path / "out"
    arguments = [checkpoint, str(tmp_path / "in"), "--output", str(out), "--formats", "npz", "--num-workers", "1"]
    assert explain.main(arguments) == 2
    assert "Could not write" in (message := capsys.readouterr().err)
    assert "No space left on device" in message
    assert [row["file"] for row in read_csv(out / "explanations.csv")] == [f"{n}.png" for n in range(4)]
    assert (out / "gallery.html").read_text().count("<article") == 4
    assert not list(out.rglob("*.part"))


def test_mistyped_flags_are_told_by_the_parser(checkpoint, capsys):
    for flags, message in (
        (["--top-k", "0"], "got 0, expected at least 1"),
        (["--formats", " ,"], "got no format, expected some of png, jpg, webp, npz, json, html"),
        (["--target", "a", "--top-k", "2"], "not allowed with"),
    ):
        with pytest.raises(SystemExit) as error:
            explain.main([checkpoint, "a.png", *flags])
        assert error.value.code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--column", "text"], "--column:"),
        (["--pair-column", "b"], "--pair-column:"),
        (["--window"], "--window:"),
        (["--column", "text", "--window", "8"], "--column, --window:"),
    ],
)
def test_flags_for_texts_are_refused_for_pictures(flags, named, tmp_path, checkpoint, capsys):
    image = picture(tmp_path / "a.png")
    assert explain.main([checkpoint, str(image), "--output", str(tmp_path / "out"), *flags]) == 2
    message = capsys.readouterr().err
    assert f"{named} only for texts, and {checkpoint} explains pictures" in message
    assert not (tmp_path / "out").exists()
    if flags == ["--column", "text"]:  # which a table of pictures may have
        assert explain.main(["--method", "dax", "--black-box", "x", str(image), *flags]) == 2
        assert "--column: only for texts, and dax explains pictures in files" in capsys.readouterr().err
        return
    with pytest.raises(SystemExit):
        explain.main(["--method", "dax", "--black-box", "x", str(image), *flags])
    assert f"{named} only for explainers of texts; --method dax explains pictures" in capsys.readouterr().err


def test_the_checkpoint_is_read_once(tmp_path, checkpoint, monkeypatch):
    reads, load = [], torch.load
    monkeypatch.setattr("fex.storage.checkpoint.torch.load", lambda *a, **k: reads.append(1) or load(*a, **k))
    assert explain.main([checkpoint, str(picture(tmp_path / "a.png")), "--output", str(tmp_path / "out")]) == 0
    assert len(reads) == 1


def test_a_box_that_breaks_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "brokenbox.py").write_text("def down(x):\n    raise RuntimeError('server down')\n")
    (tmp_path / "box.yaml").write_text(
        "{class_path: fex.black_box.CallableBlackBox, init_args: {function: 'brokenbox:down', num_classes: 2, "
        "preprocess: {height: 32, width: 32}}}"
    )
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    flags = ["--method", "iassa", "--black-box", "box.yaml", "--backbone", "none", "--budget", "20"]
    assert explain.main([*flags, "a.png"]) == 2
    told = capsys.readouterr().err
    assert "'brokenbox:down' raised RuntimeError: server down" in told
    assert "Traceback" not in told


def test_a_name_of_several_classes_is_refused():
    with pytest.raises(ValueError, match="Classes 0 and 2 are both named 'crane': give the index"):
        class_index("crane", ["crane", "dog", "Crane"])
    assert class_index("2", ["crane", "dog", "Crane"]) == 2
