from importlib import import_module

import pytest

from fex.benchmark.build import build_method
from fex.storage.old_layout import _MOVED, old_layout


def test_an_old_class_path_gets_the_new_one():
    assert old_layout("no module named fex.removal.Silence") == (
        " `fex.removal.Silence` is of the old layout: write `fex.sounds.Silence` for it."
    )
    assert old_layout("fex.estimators.noise.Antithetic").endswith("write `fex.policy.Antithetic` for it.")
    assert old_layout("fex.images.Mean, fex.policy.Antithetic, fex.explainers.api") == ""


@pytest.mark.parametrize("old", _MOVED)
def test_old_modules_are_gone_and_new_ones_are_here(old):
    import_module(_MOVED[old].removesuffix("."))
    if old.endswith("."):
        with pytest.raises(ImportError):
            import_module(old.removesuffix("."))


def test_a_method_of_the_old_layout_says_what_to_write():
    with pytest.raises(ValueError, match=r"write `fex\.images\.Mean` for it"):
        build_method("fex.removal.Mean", {}, {})
