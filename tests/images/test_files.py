import os
from pathlib import Path

import pytest
from PIL import Image

from fex.images import UnreadableImageError, decode, decoding, walk_images


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
    monkeypatch.setattr(decoding, "MAX_PIXELS", 20_000)
    with pytest.raises(UnreadableImageError, match=r"300 x 200 pixels, the limit is 20,000"):
        decode(tmp_path / "a.png")
    assert decode(tmp_path / "a.jpg").size == (150, 100)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(tmp_path, orientation):
    """Red is at the top left of the upright picture; where it is stored follows from the EXIF standard's table."""
    upright = Image.new("RGB", (32, 16))
    upright.paste((255, 0, 0), (0, 0, 8, 8))
    # Where row 0 and column 0 of the stored picture are in the upright one.
    row, column = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "lt", 6: "rt", 7: "rb", 8: "lb"}[orientation]
    stored = upright if row in "tb" else upright.transpose(Image.Transpose.TRANSPOSE)
    flip_rows, flip_columns = row in "br", column in "br"
    stored = stored.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if flip_rows else stored
    stored = stored.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip_columns else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert decode(tmp_path / "a.png").tobytes() == upright.tobytes()


def test_damaged_exif_data_do_not_cost_the_picture(tmp_path):
    Image.new("RGB", (8, 8), (9, 8, 7)).save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode(tmp_path / "a.jpg").size == (8, 8)


def test_only_pictures_are_opened(tmp_path):
    """PIL would run Ghostscript for the first; a pipe would be waited for."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(UnreadableImageError, match="none of JPEG, "):
        decode(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(UnreadableImageError, match="no regular file"):
        decode(tmp_path / "b.png")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with (tmp_path / "a.webp").open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
        file.truncate(decoding.MAX_BYTES + 1)  # a hole: takes no room
    with pytest.raises(UnreadableImageError, match=r"1,073,741,825 bytes, the limit is 1,073,741,824"):
        decode(tmp_path / "a.webp")
