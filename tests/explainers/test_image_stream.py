import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

import pytest
import torch
from PIL import Image

from fex.explainers.image_stream import ImageFile, explain_files, ordered_map
from tests.explainers.tiny import tiny_explainer


def test_ordered_map_takes_no_more_than_it_may():
    taken, finished = [], []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(4) as pool:
        for result in ordered_map(pool, lambda x: x * x, items(), 5):
            finished.append(result)
            assert len(taken) - len(finished) <= 5
    assert finished == [x * x for x in range(50)]


def test_ordered_map_passes_errors_on_and_cancels_the_rest():
    begun, gate = [], threading.Event()

    def work(number):
        if number == 0:
            raise OSError("full")
        gate.wait(5)
        begun.append(number)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(OSError, match="full"):
            list(ordered_map(pool, work, range(100), 10))
        gate.set()
    assert len(begun) <= 1


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_give_what_single_images_give(tmp_path, batch_size):
    explainer = tiny_explainer()
    files = []
    for number in range(7):
        path = tmp_path / f"{number}.png"
        path.write_bytes(b"broken") if number in (0, 4) else Image.effect_noise((20, 20), 99).save(path)
        files.append(ImageFile(path, PurePath("n", path.name)))
    results = list(explain_files(explainer, files, top_k=2, batch_size=batch_size, num_workers=2))
    assert [file for file, _ in results] == files
    for number, (file, found) in enumerate(results):
        if number in (0, 4):
            assert "it is none of JPEG, " in found
            continue
        expected = explainer.explain(file.path, top_k=2)
        assert [e.target for e in found] == [e.target for e in expected]
        assert {e.source for e in found} == {f"n/{number}.png"}
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.attribution, other.attribution)


def test_wrong_numbers_are_told():
    with pytest.raises(ValueError, match="batch_size and num_workers must be at least 1, got 0 and 4"):
        list(explain_files(tiny_explainer(), [], batch_size=0))
