import csv
import html
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fex.black_box import load_black_box
from fex.cli.explain import explain
from fex.cli.explain.journal import JOURNAL
from fex.cli.explain.summary import PictureSummary
from fex.images import Preprocess
from fex.nets.backbones import build_timm
from fex.storage.weights import save_black_box
from tests.explainers.tiny import CLASSES, tiny_explainer, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "x.ckpt"))


def picture(path: Path, size=(20, 18), mode="RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 90).convert("RGB").convert(mode).save(path, **options)
    return path


def tree(folder: Path) -> set[str]:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return files - {".fex.lock"}


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_mirrored(tmp_path, checkpoint, capsys):
    for name in ("a.png", "a.jpg", "sub/a.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    assert explain.main([checkpoint, str(tmp_path / "in"), "--output", str(out), "--batch-size", "2"]) == 0
    stems = ("a.png", "a.jpg", "sub/a.png")
    assert tree(out) == {f"{s}.{f}" for s in stems for f in ("png", "npz", "json")} | {
        "gallery.html",
        "explanations.csv",
        JOURNAL,
    }
    explainer = tiny_explainer()
    for stem in stems:
        (expected,) = explainer.explain(tmp_path / "in" / stem)
        with np.load(out / f"{stem}.npz") as data:
            # Streams read plain JPEGs the fast way: some pixels differ by 1 or 2 of 255.
            close = {"rtol": 1e-4} if stem.endswith(".png") else {"atol": 5e-3}
            np.testing.assert_allclose(data["attribution"], expected.grid, **close)
        meta = json.loads((out / f"{stem}.json").read_text())
        assert meta["source"] == stem
        assert meta["target"]["name"] == expected.target_name
        with Image.open(out / f"{stem}.png") as panel:
            panel.load()
    assert [row["file"] for row in read_csv(out / "explanations.csv")] == ["a.jpg", "a.png", "sub/a.png"]
    printed = capsys.readouterr().out
    assert "explained 3 images" in printed
    assert "images/s" in printed
    assert str(out / "gallery.html") in printed


def test_top_k_and_formats(tmp_path, checkpoint):
    path = picture(tmp_path / "a.png")
    out = tmp_path / "out"
    assert explain.main([checkpoint, str(path), "--output", str(out), "--top-k", "2", "--formats", "npz, html"]) == 0
    assert tree(out) == {"a.png.top1.npz", "a.png.top2.npz", "a.png.top1.html", "a.png.top2.html", "gallery.html",
                         "explanations.csv", JOURNAL}  # fmt: skip
    rows = read_csv(out / "explanations.csv")
    expected = tiny_explainer().explain(path, top_k=2)
    assert [(row["rank"], row["class"]) for row in rows] == [(str(i), e.target_name) for i, e in enumerate(expected, 1)]
    assert float(rows[0]["probability"]) >= float(rows[1]["probability"])


def test_target_by_name(tmp_path, checkpoint):
    path = picture(tmp_path / "a.png")
    assert explain.main([checkpoint, str(path), "--output", str(tmp_path), "--target", "CRANE"]) == 0
    assert json.loads((tmp_path / "a.png.json").read_text())["target"] == {"index": 2, "name": "crane"}


def test_several_arguments_do_not_meet(tmp_path, checkpoint):
    for name in ("x/in/a.png", "y/in/a.png", "x/b.png", "y/b.png"):
        picture(tmp_path / name)
    inputs = [str(tmp_path / name) for name in ("x/in", "y/in", "x/b.png", "y/b.png")]
    out = tmp_path / "out"
    assert explain.main([checkpoint, *inputs, "--output", str(out), "--formats", "npz"]) == 0
    assert {name for name in tree(out) if name.endswith("npz")} == {
        "in/a.png.npz", "2-in/a.png.npz", "b.png.npz", "2-b.png.npz"}  # fmt: skip


def test_output_inside_the_input_is_not_explained_again(tmp_path, checkpoint, capsys):
    picture(tmp_path / "a.png")
    arguments = [checkpoint, str(tmp_path), "--output", str(tmp_path / "out")]
    assert explain.run(arguments).explained == 1
    assert "earlier run" not in capsys.readouterr().err
    assert explain.run(arguments).explained == 1
    assert f"{tmp_path / 'out'} has results of an earlier run" in capsys.readouterr().err
    assert explain.main([checkpoint, str(tmp_path), "--output", str(tmp_path)]) == 2


def test_names_with_control_characters_are_drawn(tmp_path, checkpoint):
    names = ["two\nlines.png", "tab\tand\x1b[31mred.png"]
    for name in names:
        picture(tmp_path / "in" / name)
    out = tmp_path / "out"
    assert explain.main([checkpoint, str(tmp_path / "in"), "--output", str(out)]) == 0
    assert {f"{name}.png" for name in names} <= tree(out)
    assert {row["file"] for row in read_csv(out / "explanations.csv")} == set(names)


def test_a_black_box_may_be_asked(tmp_path, checkpoint, capsys):
    model_args = {"img_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 2, "num_classes": 5}
    meta = {
        "model": "conv_vit_tiny", "model_args": model_args, "class_names": CLASSES, "mean": [0.5] * 3, "std": [0.5] * 3,
        "preprocess": Preprocess(16, 16).to_dict(),
    }  # fmt: skip
    save_black_box(tmp_path / "box.safetensors", build_timm("conv_vit_tiny", model_args), meta)
    path = picture(tmp_path / "a.png")
    flags = [checkpoint, str(path), "--output", str(tmp_path), "--black-box"]
    assert explain.main([*flags, str(tmp_path / "box.safetensors")]) == 0
    box = load_black_box(tmp_path / "box.safetensors")
    probabilities = box(box.preprocess(Image.open(path))[None])[0]
    result = json.loads((tmp_path / "a.png.json").read_text())
    assert (result["probability_of"], result["queries"]) == ("black box", 1)
    assert result["target"]["index"] == int(probabilities.argmax())
    assert result["probability"] == pytest.approx(float(probabilities.max()))
    assert explain.main([*flags, "no_such_module:f"]) == 2
    assert "no_such_module" in capsys.readouterr().err


def test_it_is_told_whose_class_is_explained(tmp_path, capsys):
    path = str(picture(tmp_path / "a.png"))
    known = str(write_checkpoint(tmp_path / "known.ckpt", agreement={"share": 0.864, "inputs": 1000}))
    told = "its own class is the black box's in 86 % of 1,000 held-out inputs"
    arguments = [known, path, "--output", str(tmp_path / "out"), "--formats", "json,html"]
    assert explain.main(arguments) == 0
    assert f"{told} (--black-box NAME asks the box, one query an input)" in capsys.readouterr().out
    for page in ("gallery.html", "a.png.html"):
        assert told in html.unescape((tmp_path / "out" / page).read_text())
    result = json.loads((tmp_path / "out" / "a.png.json").read_text())
    assert (result["class_chosen_by"], result["agreement"]) == ("explainer", {"share": 0.864, "inputs": 1000})
    assert explain.main([*arguments, "--target", "crane"]) == 0
    assert "its own class" not in capsys.readouterr().out
    assert "its own class" not in (tmp_path / "out" / "gallery.html").read_text()


def test_nearly_flat_maps_are_counted(tmp_path, capsys):
    flat = tiny_explainer()
    with torch.no_grad():
        flat.net.weight.mul_(1e-4)
        flat.net.shared.weight.mul_(1e-4)
    arguments = [str(write_checkpoint(tmp_path / "flat.ckpt", flat)), str(picture(tmp_path / "a.png"))]
    assert explain.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "maps that are nearly flat and say little: 1 " in capsys.readouterr().out


def test_help_is_fast_and_documents_exit_codes():
    code = "import sys; from fex.cli.explain.parser import build_parser; print(build_parser().format_help()); "
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "exit codes" in done.stdout
    assert "examples:" in done.stdout


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_does_not_grow_with_the_folder(tmp_path, checkpoint, monkeypatch):
    image = picture(tmp_path / "in" / "00000.png").read_bytes()
    for number in range(2000):
        (tmp_path / "in" / f"{number:05}.png").write_bytes(image)
    seen = []
    advance = PictureSummary.__setattr__

    def watch(self, name, value):
        advance(self, name, value)
        if name == "explained" and value % 250 == 0:
            seen.append(resident())

    monkeypatch.setattr(PictureSummary, "__setattr__", watch)
    summary = explain.run([checkpoint, str(tmp_path / "in"), "--output", str(tmp_path / "out")])
    assert summary.explained == 2000
    assert len(seen) >= 8
    assert seen[-1] - seen[1] < 25e6  # from the 250th image on: 1,750 images of 12 kB each, and their pictures
    assert (tmp_path / "out" / "gallery-0004.html").exists()
    assert CLASSES
