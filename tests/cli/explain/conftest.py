"""A black box that `--black-box` gives whatever its name, and pictures."""

import numpy as np
import pytest
from PIL import Image

from tests.explainers.tiny import tiny_box


@pytest.fixture
def box(monkeypatch):
    made = tiny_box()
    monkeypatch.setattr("fex.cli.explain.run.chosen_black_box", lambda _: made)
    return made


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    Image.new("RGB", (16, 16), (120, 120, 120)).save(folder / "grey.png")  # whose answers do not change
    return folder
