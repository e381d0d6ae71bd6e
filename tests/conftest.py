"""Fixtures for every test: seeds, the real data's folder, generated pictures."""

import gc
import os
import random
from pathlib import Path

# Before any library of the hub is imported: tests never reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # one test a core: threads of several would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

# The same examples in every run; a loaded machine is no failure.
settings.register_profile("deterministic", deadline=None, derandomize=True)
settings.load_profile("deterministic")


def pytest_collection_finish():
    """Each search for garbage that goes through all libraries and tests takes a second: they stay until the end."""
    gc.freeze()


SHAPES = {"disc": "ellipse", "square": "rectangle"}


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


@pytest.fixture
def empty_curves(monkeypatch):
    """Pictures of curves without curves: to draw them is most of a small run, and tests/report looks at them."""
    monkeypatch.setattr("fex.report.curves._curve_figure", lambda curves, title: Figure(figsize=(1, 1), dpi=20))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data sets; the test is skipped where there is none."""
    folder = Path(os.environ.get("FEX_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}: set FEX_DATA")
    return folder


@pytest.fixture(scope="session")
def images_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders "disc" and "square" of three generated pictures each: PNG and JPEG, 24 to 40 pixels a side."""
    root = tmp_path_factory.mktemp("images")
    for offset, (name, draw) in enumerate(SHAPES.items()):
        (root / name).mkdir()
        for index in range(3):
            image = Image.new("RGB", (24 + 8 * index, 40 - 4 * index), (40 + 30 * index, 90, 60 + 80 * offset))
            getattr(ImageDraw.Draw(image), draw)((6, 6, 16 + index, 16 + index), fill=(250, 220, 30 * index))
            image.save(root / name / f"{index}.{'jpg' if index == 2 else 'png'}")
    return root
