import os
from pathlib import Path

import pytest
from PIL import Image

from fex import image_files
from fex.image_files import UnreadableImageError, decode, walk_images


def test_walk_is_sorted_relative_and_picks_pictures(tmp_path):
    for name in ("b/2.PNG", "b/10.jpg", "a.webp", "c/d/e.tif", ".hidden/x.png", "b/.x.png", "b/notes.txt", "out/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.symlink(tmp_path, tmp_path / "c" / "circle")
    names = [path.as_posix() for path in walk_images(tmp_path, without=tmp_path / "c" / ".." / "out")]
    assert names == ["a.webp", "b/10.jpg", "b/2.PNG", "c/d/e.tif"]
    assert Path("out/y.png") in list(walk_images(tmp_path))


def test_walk_tells_what_it_cannot_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(walk_images(tmp_path / "none"))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "I;16", "1", "RGB"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / "x.tif"
    Image.new("L", (5, 4), 200).convert("I").convert("I;16").save(path) if mode == "I;16" else Image.new(
        "RGB", (5, 4), (200, 200, 200)
    ).convert(mode).save(path)
    picture = decode(path)
    assert (picture.mode, picture.size) == ("RGB", (5, 4))


def test_damaged_pictures_give_one_kind_of_error(tmp_path):
    Image.effect_noise((64, 64), 90).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"GIF89a", whole[:60] + b"\xff" * 400):
        with pytest.raises(UnreadableImageError):
            decode(content)
    with pytest.raises(UnreadableImageError):
        decode(tmp_path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    Image.new("RGB", (300, 200)).save(tmp_path / "a.jpg")
    monkeypatch.setattr(image_files, "MAX_PIXELS", 20_000)
    with pytest.raises(UnreadableImageError, match=r"300 x 200 pixels, the limit is 20,000"):
        decode(tmp_path / "a.png")
    assert decode(tmp_path / "a.jpg").size == (150, 100)
