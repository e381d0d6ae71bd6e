"""CIFAR-10 in the forms it comes in, made up small."""

import pickle

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datamodules import CIFAR10
from fex.images import Preprocess
from tests.datamodules.pictures import encode

SIZE = Preprocess(32, 32)


def red(index):
    return 10 * index, 0, 0


def parquet(root, name="image", wrapped=True):
    for split, count in {"train": 12, "test": 5}.items():
        raw = [encode((32, 32), colour=red(i)) for i in range(count)]
        column = [{"bytes": row, "path": None} for row in raw] if wrapped else raw
        pq.write_table(pa.table({name: column, "label": [i % 10 for i in range(count)]}), root / f"{split}.parquet")
    return str(root)


def batches(root):
    """As torchvision's archive unpacks: pickled rows of 3 x 32 x 32 bytes."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = {"data_batch_1": range(4), **{f"data_batch_{n}": range(2 * n, 2 * n + 2) for n in (2, 3, 4, 5)}}
    for name, rows in {**names, "test_batch": range(5)}.items():
        data = np.zeros((len(rows), 3, 1024), dtype=np.uint8)
        data[:, 0] = np.array([10 * i for i in rows])[:, None]
        found = {"data": data.reshape(len(rows), -1), "labels": [i % 10 for i in rows]}
        (folder / name).write_bytes(pickle.dumps(found))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    return str(root)


def hub(monkeypatch):
    def load_dataset(name, split):
        assert name == "uoft-cs/cifar10"
        count = {"train": 12, "test": 5}[split]
        rows = {
            "img": [Image.new("RGB", (32, 32), red(i)) for i in range(count)],
            "label": [i % 10 for i in range(count)],
        }
        return datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image())

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return "uoft-cs/cifar10"


def rows(loader):
    return [
        (round(float(picture[0, 0, 0]) * 255), int(label))
        for batch in loader
        for picture, label, valid in zip(batch["inputs"], batch["labels"], batch["valid"], strict=True)
        if valid  # the last batch is filled up
    ]


@pytest.mark.parametrize("form", ["image", "img", "bytes", "torchvision", "hub"])
def test_forms(form, tmp_path, monkeypatch):
    if form == "torchvision":  # its checksums are those of the real files
        monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda self: True)
        monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
        root = batches(tmp_path)
    elif form == "hub":
        root = hub(monkeypatch)
    else:
        root = parquet(tmp_path, "img" if form == "img" else "image", wrapped=form != "bytes")
    data = CIFAR10(root, num_val=3, batch_size=3, preprocess=SIZE)
    data.setup("fit")
    data.setup("test")
    assert sorted(rows(data.train_dataloader())) == [(10 * i, i) for i in range(9)]
    assert rows(data.val_dataloader()) == [(90, 9), (100, 0), (110, 1)]
    assert rows(data.test_dataloader()) == [(10 * i, i) for i in range(5)]
    batch = next(iter(data.test_dataloader()))
    assert batch["inputs"].shape == (3, 3, 32, 32)
    assert float(batch["inputs"].min()) >= 0
    assert float(batch["inputs"].max()) <= 1


def test_parts(tmp_path):
    data = CIFAR10(parquet(tmp_path), num_train=4, num_val=2, num_test=3, batch_size=4, preprocess=SIZE)
    data.setup("fit")
    data.setup("test")
    assert sorted(rows(data.train_dataloader())) == [(10 * i, i) for i in range(4)]
    assert len(rows(data.val_dataloader())) == 2
    assert len(rows(data.test_dataloader())) == 3


def test_no_validation_rows_left(tmp_path):
    with pytest.raises(ValueError, match=r"num_val must be in 0 ... 11 \(there are 12\), got 12"):
        CIFAR10(parquet(tmp_path), num_val=12).setup("fit")


def test_a_folder_without_the_files_is_no_hub_id(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train\.parquet, train-\*\.parquet nor cifar-10-batches-py"):
        CIFAR10(str(tmp_path)).setup("fit")


def test_a_copy_of_the_hubs_parts_is_read_in_order(tmp_path):
    folder = tmp_path / "plain_text"
    folder.mkdir()
    for part in range(2):
        raw = [{"bytes": encode((32, 32), colour=red(i))} for i in range(3 * part, 3 * part + 3)]
        labels = list(range(3 * part, 3 * part + 3))
        pq.write_table(pa.table({"img": raw, "label": labels}), folder / f"test-0000{part}-of-00002.parquet")
    data = CIFAR10(str(tmp_path), preprocess=SIZE, batch_size=6)
    data.setup("test")
    assert next(iter(data.test_dataloader()))["labels"].tolist() == list(range(6))
