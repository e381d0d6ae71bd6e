import logging
import os

import pytest
import torch

from datamodules import Folder
from datamodules.folder import iter_images
from fex.images import Preprocess
from tests.datamodules.pictures import encode

SIZE = Preprocess(8, 8)


def _write(root, names, **options):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(**options))


def _folder(root, **options):
    return Folder(str(root), **{"preprocess": SIZE, "batch_size": 4, **options})


def _names(loader):
    return [
        name for batch in loader for name, valid in zip(batch["names"], batch["valid"].tolist(), strict=True) if valid
    ]


def _predict(root):
    data = _folder(root)
    data.setup("predict")
    return list(data.predict_dataloader())


@pytest.fixture
def classes(tmp_path):
    _write(tmp_path, [f"{kind}/{kind}{i}.png" for kind in ("cat", "ant") for i in range(10)])
    return tmp_path


def test_class_folders_are_split_and_labelled(classes):
    data = _folder(classes)
    data.setup("fit")
    assert data.class_names == ["ant", "cat"]
    assert {stage: len(rows) for stage, rows in data.datasets.items()} == {"train": 16, "val": 2, "test": 2}
    for batch in data.train_dataloader():
        assert batch["inputs"].shape == (4, 3, 8, 8)
        for name, label in zip(batch["names"], batch["labels"].tolist(), strict=True):
            assert name.startswith(data.class_names[label])
    parts = [set(_names(loader)) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 20
    again = _folder(classes)
    again.setup("fit")
    assert set(_names(again.val_dataloader())) == parts[1]


def test_no_classes_no_labels(tmp_path):
    _write(tmp_path, [f"{i}.jpg" for i in range(10)], kind="JPEG")
    data = _folder(tmp_path)
    data.setup("fit")
    assert data.class_names is None
    assert "labels" not in next(iter(data.train_dataloader()))
    with pytest.raises(ValueError, match=r"'0.jpg' lies directly in .*move it into the folder of its class"):
        _folder(tmp_path, labels=True).setup("fit")


def test_given_splits(tmp_path):
    _write(tmp_path, [f"train/{k}/{i}.png" for k in "ab" for i in range(5)] + ["val/b/1.png", "val/a/1.png"])
    data = _folder(tmp_path)
    data.setup("fit")
    assert {stage: len(rows) for stage, rows in data.datasets.items()} == {"train": 10, "val": 2, "test": 2}
    assert next(iter(data.val_dataloader()))["labels"][:2].tolist() == [0, 1]
    _write(tmp_path, ["val/c/1.png"])
    with pytest.raises(ValueError, match="Class folder 'c' is not among"):
        _folder(tmp_path).setup("fit")


def test_unreadable_files_are_counted_named_and_invalid(classes, caplog):
    (classes / "cat" / "cat0.png").write_bytes(b"junk")
    (classes / "ant" / "ant1.png").write_bytes(encode((200, 200))[:100])
    data = _folder(classes, val_fraction=0.0, test_fraction=0.0, batch_size=20)
    data.setup("fit")
    with caplog.at_level(logging.WARNING, "datamodules"):
        for _ in range(2):
            (batch,) = data.train_dataloader()
        data.teardown("fit")
    assert batch["valid"].sum() == 18
    assert {n for n, v in zip(batch["names"], batch["valid"], strict=True) if not v} == {"cat/cat0.png", "ant/ant1.png"}
    assert batch["inputs"][~batch["valid"]].abs().sum() == 0
    assert batch["inputs"][batch["valid"]].flatten(1).sum(1).min() > 0
    assert data.skipped == {"train": 2}
    assert caplog.text.count("read: cat/cat0.png") == 1
    assert "2 images of the train data could not be read" in caplog.text


def test_unreadable_files_are_counted_over_loader_processes(classes):
    (classes / "cat" / "cat0.png").write_bytes(b"junk")
    data = _folder(classes, num_workers=1, val_fraction=0.0, test_fraction=0.0)
    data.setup("fit")
    assert sum(int((~batch["valid"]).sum()) for batch in data.train_dataloader()) == 1
    assert data.skipped == {"train": 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_prediction_streams_every_file_once(tmp_path, workers):
    names = [f"{i % 3}/{i % 2}/{i}.png" for i in range(21)] + ["top.PNG"]
    _write(tmp_path, [*names, ".hidden/x.png", "._y.png"])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "0" / "broken.jpg").write_bytes(b"")
    data = _folder(tmp_path, num_workers=workers)
    data.setup("predict")
    loader = data.predict_dataloader()
    assert sorted(_names(loader)) == sorted(names)
    assert data.skipped == {"predict": 1}
    with pytest.raises(TypeError, match="no known length"):
        len(loader)
    with pytest.raises(TypeError, match="no known length"):
        loader.__len__()


def test_ranks_share_a_stream_without_overlap(tmp_path):
    _write(tmp_path, [f"{i}.png" for i in range(30)])
    data = _folder(tmp_path)
    data.setup("predict")
    parts = [_names(data._stream_loader("predict", rank, 3)) for rank in range(3)]
    assert sorted(sum(parts, [])) == sorted(f"{i}.png" for i in range(30))
    assert min(map(len, parts)) >= 4


def test_listing_is_lazy_and_survives_loops(tmp_path):
    _write(tmp_path, ["a/1.png", "b/2.png"])
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    assert sorted(iter_images(tmp_path)) == ["a/1.png", "b/2.png"]
    assert next(iter_images(tmp_path)) in {"a/1.png", "b/2.png"}


def test_clear_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*none"):
        _folder(tmp_path / "none").setup("fit")
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*none"):
        _predict(tmp_path / "none")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(NotADirectoryError, match=r"a\.txt' is a file"):
        _folder(tmp_path / "a.txt").setup("fit")
    with pytest.raises(FileNotFoundError, match=r"Found no images in .* ending in \.jpg"):
        _folder(tmp_path).setup("fit")
    with pytest.raises(FileNotFoundError, match=r"Found no images in .* ending in \.jpg"):
        _predict(tmp_path)
    _write(tmp_path, ["1.png"])
    data = _folder(tmp_path, val_fraction=0.0, test_fraction=0.0)
    data.setup("fit")
    with pytest.raises(ValueError, match="has no 'val' data; it has \\['train'\\]"):
        data.val_dataloader()
    with pytest.raises(ValueError, match="knows no input size"):
        Folder(str(tmp_path)).setup("fit")
    with pytest.raises(ValueError, match="num_workers at least 0"):
        Folder(str(tmp_path), num_workers=-1)


@pytest.mark.parametrize("part", ["", "train"])
def test_a_folder_that_cannot_be_read_at_all_is_refused(tmp_path, part):
    for name in "ab":
        (tmp_path / part).mkdir(exist_ok=True)
        (tmp_path / part / f"{name}.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"None of the 2 images in .* can be read \(a\.png: it is none of JPEG, "):
        _folder(tmp_path).setup("fit")


def test_small_data_trains_padded(tmp_path):
    _write(tmp_path, ["1.png", "2.png"])
    data = _folder(tmp_path, val_fraction=0.0, test_fraction=0.0)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch["valid"].tolist() == [True, True, False, False]
    assert torch.equal(batch["index"][:2].sort().values, torch.tensor([0, 1]))


def test_prediction_has_labels_where_they_are_asked_for(classes):
    data = _folder(classes, labels=True)
    data.setup("predict")
    assert data.class_names == ["ant", "cat"]
    for batch in data.predict_dataloader():
        for name, label, valid in zip(batch["names"], batch["labels"].tolist(), batch["valid"].tolist(), strict=True):
            assert not valid or label == ("ant", "cat").index(name[:3])
    _write(classes, ["stray.png"])
    data = _folder(classes, labels=True)
    data.setup("predict")
    assert all("labels" not in batch for batch in data.predict_dataloader())


@pytest.mark.parametrize("names", [["a.png"], ["train/ant/a.png", "val/ant/a.png"]])
def test_prediction_of_what_is_no_folder_of_classes_has_no_labels(tmp_path, names):
    _write(tmp_path, names)
    data = _folder(tmp_path, labels=True)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert sum(int(batch["valid"].sum()) for batch in batches) == len(names)
    assert all("labels" not in batch for batch in batches)


def test_a_missing_folder_is_told_before_its_loader_starts(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        _folder(tmp_path / "nowhere").setup("predict")


def test_what_systems_leave_behind_is_no_class(classes):
    before = _folder(classes)
    before.setup("fit")
    _write(classes, ["__MACOSX/cat/cat0.png", "@eaDir/cat0.png", ".ipynb_checkpoints/ant0.png", "cat/@eaDir/x.png"])
    after = _folder(classes)
    after.setup("fit")
    assert after.class_names == before.class_names == ["ant", "cat"]
    assert list(after.datasets["train"].source.names) == list(before.datasets["train"].source.names)


def test_a_folder_without_images_is_told(classes, caplog):
    (classes / "bee").mkdir()
    (classes / ".git").mkdir()
    (classes / "__MACOSX").mkdir()
    data = _folder(classes)
    with caplog.at_level(logging.WARNING, "datamodules"):
        data.setup("fit")
    assert data.class_names == ["ant", "cat"]
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("'bee' in ")
    assert "hold no images and are no classes" in told
