"""The figures of scale are measured; how large they are depends on the machine."""

import pytest

from fex.cli.bench import scale
from fex.cli.bench.speed import FIGURES


def test_decoding_and_noise(monkeypatch):
    monkeypatch.setattr(scale, "WORLDS", (2, 64))
    (figure,) = scale.decoding(1)
    assert set(figure.parts) == {"before", "after"}
    assert figure.value > 0
    few, many = scale.mask_noise(2, batch=4, masks=2, features=9)
    assert (few.target, many.target) == (0.5, 16)
    assert many.parts["after"]["n"] == 2
    assert {"decoding", "mask_noise", "allocation", "result_files"} <= set(FIGURES)


@pytest.mark.slow
def test_files_and_memory(tmp_path):
    assert {figure.name for figure in scale.result_files(1, tmp_path, count=2)} == {
        f"folder_to_{kind}" for kind in ("parquet", *scale.FORMATS, "png_and_gallery")
    }
    (figure,) = scale.allocation(1)
    assert len(figure.parts["before"]["quartiles"]) == 2
