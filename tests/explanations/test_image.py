import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import fex.report  # noqa: F401 draws explanations
from fex.explanations import Explanation
from fex.images import PatchGrid
from fex.storage.atomic import replacing


@pytest.fixture
def explanation():
    return Explanation(
        attribution=torch.arange(6.0) / 10, features=PatchGrid(2, 3), size=(8, 12), target=1, target_name="crane <b>",
        probability=0.25, probability_of="explainer", method="FEX", removal="mean", black_box="toy", seconds=0.5,
        source="a/b.jpg", image=torch.rand(3, 8, 12),
    )  # fmt: skip


def test_json_is_plain_and_whole(tmp_path, explanation):
    data = json.loads(explanation.save(tmp_path / "new" / "x.json").read_text())
    assert data == explanation.to_dict()
    assert data["attribution"] == [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]
    assert data["target"] == {"index": 1, "name": "crane <b>"}
    assert data["features"] == {"kind": "PatchGrid", "height": 2, "width": 3}
    assert (data["probability"], data["probability_of"], data["queries"]) == (0.25, "explainer", 0)


def test_json_keeps_every_float32(explanation):
    values = torch.rand(6) ** 20
    rows = replace(explanation, attribution=values).to_dict()["attribution"]
    torch.testing.assert_close(torch.tensor(rows).flatten(), values, rtol=1e-6, atol=0)


def test_npz_reads_without_pickle(tmp_path, explanation):
    with np.load(explanation.save(tmp_path / "x.npz"), allow_pickle=False) as data:
        np.testing.assert_array_equal(data["attribution"], explanation.attribution.reshape(2, 3).numpy())
        assert data["attribution"].dtype == np.float32
        meta = json.loads(str(data["meta"]))
    assert meta["target"]["name"] == "crane <b>"
    assert "attribution" not in meta


def test_png_and_html(tmp_path, explanation):
    with Image.open(explanation.save(tmp_path / "x.PNG")) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 224
    assert "crane &lt;b&gt;" in explanation.save(tmp_path / "x.html").read_text()
    assert explanation._repr_png_().startswith(b"\x89PNG")
    replace(explanation, image=None).save(tmp_path / "y.png")  # no picture: grey
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.PNG", "x.html", "y.png"]


def test_pixels_and_grid_agree(explanation):
    assert explanation.pixels().shape == (8, 12)
    assert float(explanation.pixels()[7, 0]) == pytest.approx(0.3)
    assert explanation.grid[1, 2] == pytest.approx(0.5)


def test_errors(tmp_path, explanation):
    with pytest.raises(ValueError, match=r"shape \(4,\), expected \(6,\)"):
        replace(explanation, attribution=torch.zeros(4))
    with pytest.raises(ValueError, match=r"a/b\.jpg for class 'crane <b>' is not finite"):
        replace(explanation, attribution=torch.full((6,), math.nan))
    with pytest.raises(ValueError, match=r"Cannot save an explanation as 'x\.gif'"):
        explanation.save(tmp_path / "x.gif")
    (tmp_path / "file").write_text("")
    for suffix in ("png", "npz", "json", "html"):
        with pytest.raises(OSError, match=rf"Could not write .*file/x\.{suffix} .*choose a place"):
            explanation.save(tmp_path / "file" / f"x.{suffix}")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write(error: Exception) -> None:
        with replacing(path) as part:
            part.write_text("ne")
            raise error

    with pytest.raises(RuntimeError, match="broken"):
        write(RuntimeError("broken"))
    with pytest.raises(OSError, match=r"a\.txt \(no space\)"):
        write(OSError("no space"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
