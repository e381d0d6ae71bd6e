"""A run over instances goes on where it stopped only with the code that it was begun with."""

import importlib
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from fex.dax import DAX, FitSettings
from lightning_modules import DAXModule
from lightning_modules.instances import settings
from tests.lightning_modules.instances.halves import dax, run

BASE = """
from tests.lightning_modules.instances.halves import score
from fex.black_box import BlackBox

class Halves(BlackBox):
    def _score(self, inputs):
        return score(inputs)
"""
PARTS = """
import torch
from fex.dax import Segmenter
from fex.images import Preprocess
from fex.images import Removal
from my_base_of_boxes import Halves

class Box(Halves):
    def __init__(self):
        super().__init__(num_classes=3, preprocess=Preprocess(16, 16))

class Dark(Removal):
    name = "dark"
    def __call__(self, inputs, mean):
        return mean.new_zeros(1, 3, 1, 1)

class Tiles(Segmenter):
    def labels(self, image):
        rows, columns = torch.arange(16)[:, None] // 8, torch.arange(16) // 4
        return 4 * rows + columns
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Explains with a box, a removal and segments of one's own, whose files are read anew; gives the box."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_base_of_boxes.py").write_text(BASE)
    (tmp_path / "my_parts.py").write_text(PARTS)

    def explain():
        for name in ("my_base_of_boxes", "my_parts"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        parts = importlib.import_module("my_parts")
        fit = FitSettings(mask_kernel=3, mask_width=4, student_width=2, hidden=4, max_epochs=2)
        explainer = DAX(parts.Box(), parts.Dark(), parts.Tiles(), num_samples=40, resolution=8, fit=fit)
        run(DAXModule(explainer, output=str(tmp_path / "out")))
        return explainer.black_box

    yield explain
    for name in ("my_base_of_boxes", "my_parts"):
        sys.modules.pop(name, None)


def test_the_same_sources_resume(own):
    assert own().queries == 5 * 40 + 5  # and the clean prediction of each
    assert own().queries == 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("my_parts", "new_zeros", "new_ones"),
        ("my_base_of_boxes", "return score(inputs)", "return score(inputs).roll(1, 1)"),
    ],
)
def test_an_edited_source_is_refused_by_its_name(own, tmp_path, file, old, new):
    own()
    path = tmp_path / f"{file}.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"\(source of {file} differ\): set another `output`, or remove that folder"):
        own()


def test_another_version_of_a_package_is_refused_by_its_name(tmp_path, monkeypatch):
    run(DAXModule(dax(), output=str(tmp_path)))
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "scikit-image" else version(name))
    with pytest.raises(ValueError, match=r"\(version of scikit-image differ\)"):
        run(DAXModule(dax(), output=str(tmp_path)))


def test_another_version_of_the_modules_is_refused(tmp_path, monkeypatch):
    run(DAXModule(dax(), output=str(tmp_path / "out")))
    copy = tmp_path / "lightning_modules"
    shutil.copytree(Path(settings.__file__).parents[1], copy)
    monkeypatch.setattr(settings, "__file__", str(copy / "instances" / "settings.py"))
    run(DAXModule(dax(), output=str(tmp_path / "out")))  # elsewhere, but the same
    (copy / "instances" / "scores.py").write_text("# other scores\n")
    with pytest.raises(ValueError, match=r"\(code of lightning_modules differ\)"):
        run(DAXModule(dax(), output=str(tmp_path / "out")))


class OtherModule(DAXModule):
    """A module of one's own."""


def test_another_module_is_refused(tmp_path):
    run(DAXModule(dax(), output=str(tmp_path)))
    with pytest.raises(ValueError, match="module"):
        run(OtherModule(dax(), output=str(tmp_path)))
