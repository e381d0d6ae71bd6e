"""Data in memory: every form of it gives the same inputs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from datamodules import Pictures, Sentences
from fex.images import Preprocess
from tests.texts.tiny import preprocess, sentences

SIZE = 16


@pytest.fixture(scope="module")
def pixels():
    return torch.randint(0, 256, (10, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)) / 255


def rows(items, **options):
    data = Pictures(items, preprocess=Preprocess(SIZE, SIZE), **options)
    data.setup("fit")
    return {name: [part[index] for index in range(len(part))] for name, part in data.datasets.items()}


def test_every_form_of_pictures_gives_the_same_inputs(pixels, tmp_path):
    arrays = [(each * 255).round().byte().permute(1, 2, 0).numpy() for each in pixels]
    pictures = [Image.fromarray(each) for each in arrays]
    files = [tmp_path / f"{index}.png" for index in range(10)]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    labelled = TensorDataset(pixels, torch.arange(10))
    forms = [
        pixels, arrays, pictures, files, [str(file) for file in files], labelled, DataLoader(labelled, batch_size=3),
        [{"pixel_values": each, "label": index} for index, each in enumerate(pixels)],
        [(picture, index) for index, picture in enumerate(pictures)],
    ]  # fmt: skip
    first = rows(pixels)
    assert {name: len(part) for name, part in first.items()} == {"train": 9, "val": 1}
    for form in forms:
        for name, part in rows(form).items():
            for found, expected in zip(part, first[name], strict=True):
                torch.testing.assert_close(found["inputs"], expected["inputs"], atol=1e-6, rtol=0)
    assert [row["labels"] for row in rows(labelled)["train"]] == [row["labels"] for row in rows(forms[-1])["train"]]


def test_what_cannot_be_read_as_it_is_meant_is_refused(pixels):
    class Endless(IterableDataset):
        def __iter__(self):
            return iter(pixels)

    with pytest.raises(TypeError, match="collate_fn of its own"):
        rows(DataLoader(TensorDataset(pixels), collate_fn=torch.stack))
    with pytest.raises(TypeError, match="sampler"):
        rows(DataLoader(TensorDataset(pixels), sampler=torch.utils.data.WeightedRandomSampler([1.0] * 10, 10)))
    with pytest.raises(TypeError, match="with a length"):
        rows(Endless())
    with pytest.raises(TypeError, match="expected one of inputs"):
        rows([{"picture": pixels[0]}])
    with pytest.raises(ValueError, match=r"expected \(3, 16, 16\), float"):
        rows(torch.zeros(4, 3, 8, 8))
    with pytest.raises(ValueError, match="float"):
        rows((pixels * 255).byte())
    with pytest.raises(ValueError, match="expected at least one"):
        rows([])
    with pytest.raises(ValueError, match="array of shape"):
        rows([np.zeros((4, 4), np.uint8)] * 3)


def test_texts():
    data = Sentences(sentences(10), preprocess=preprocess())
    data.needs_labels = False
    data.setup("fit")
    assert {name: len(part) for name, part in data.datasets.items()} == {"train": 9, "val": 1}
