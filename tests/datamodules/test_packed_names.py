"""Names of millions of images: what loader processes copy of them, and in which order they come."""

import os
import pickle

import numpy as np
import pytest
import torch

from datamodules import Folder
from datamodules.order import ShardedBatchSampler, held_back
from datamodules.packed_names import FolderTable, Listing, PackedNames, class_of
from datamodules.rows import PictureRows
from fex.images import Preprocess
from tests.datamodules.pictures import encode

COUNT = 200_000


def test_names_come_back_whatever_their_letters():
    names = ["a/1.png", "", "ä/雪.jpg", os.fsdecode(b"latin\xe9.png")]
    packed = PackedNames(names)
    assert list(packed) == names
    assert packed[-1] == names[-1]
    with pytest.raises(IndexError, match="name 4 of 4"):
        packed[4]


def test_200_000_names_are_no_objects_to_copy():
    names = sorted(f"n{index % 1000:08d}/n{index % 1000:08d}_{index}.JPEG" for index in range(COUNT))
    listing = Listing("/data", names)
    rows = PictureRows(
        FolderTable("/data", listing.names, listing.each(range(1000))), Preprocess(8, 8), list(range(COUNT))
    )
    letters = sum(map(len, names))
    assert len(pickle.dumps(rows.source)) < letters + COUNT * 12 + 1000  # 8 bytes where it ends, 4 of its label
    assert len(pickle.dumps(rows.select)) < COUNT * 8 + 1000
    for place in (0, 1, COUNT // 2, COUNT - 1):  # the same order and labels as of a list
        path, label, name = rows.source[place]
        assert (path, name) == (f"/data/{names[place]}", names[place])
        assert label == sorted({class_of(each) for each in names}).index(class_of(name))


def test_orders_are_tensors_of_the_same_numbers_as_ever():
    sampler = ShardedBatchSampler(10, 4, shuffle=True, seed=3)
    assert isinstance(sampler._order(0), torch.Tensor)
    told = torch.randperm(10, generator=torch.Generator().manual_seed(3 * 1_000_003)).tolist()
    assert list(sampler) == [[(row, True) for row in told[:4]], [(row, True) for row in told[4:8]]]
    parts = held_back(10, {"val": 0.3}, seed=1)
    told = torch.randperm(10, generator=torch.Generator().manual_seed(1)).tolist()
    assert parts == {"train": sorted(told[3:]), "val": sorted(told[:3])}
    assert all(type(row) is int for row in parts["val"])


def test_a_folder_is_walked_over_once_and_its_splits_share_the_names(tmp_path, monkeypatch):
    for name in ("b/2.png", "a/1.png", "a/3.png", "b/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode())
    walks = []
    found = __import__("datamodules.folder", fromlist=["iter_images"]).iter_images
    monkeypatch.setattr("datamodules.folder.iter_images", lambda root: walks.append(root) or found(root))
    data = Folder(str(tmp_path), val_fraction=0.5, test_fraction=0.0, preprocess=Preprocess(8, 8), batch_size=1)
    data.setup("fit")
    assert len(walks) == 1
    assert len(data.train_dataloader()) == 2
    train, val = data.datasets["train"], data.datasets["val"]
    assert train.source is val.source
    assert np.array_equal(train.source.labels, [0, 0, 1, 1])
    kept = sorted(row["names"] for part in (train, val) for row in (part[0], part[1]))
    assert kept == ["a/1.png", "a/3.png", "b/2.png", "b/4.png"]
