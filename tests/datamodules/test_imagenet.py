import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import ImageNet
from datamodules.imagenet import imagenet_classes
from fex.images import Preprocess
from tests.datamodules.pictures import encode

SIZE = Preprocess(8, 8)


def test_classes():
    wnids, names = imagenet_classes()
    assert len(wnids) == len(names) == 1000
    assert wnids == sorted(wnids)
    assert (wnids[1], names[1]) == ("n01443537", "goldfish")


def _write(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode())


def test_subset_keeps_the_labels_of_the_whole(tmp_path):
    _write(
        tmp_path,
        [
            f"{part}/{wnid}/{i}.JPEG"
            for part in ("train", "val")
            for wnid in ("n02123045", "n01443537")
            for i in range(2)
        ],
    )
    data = ImageNet(str(tmp_path), preprocess=SIZE, batch_size=4)
    data.setup("fit")
    (batch,) = data.val_dataloader()
    assert batch["labels"].tolist() == [1, 1, 281, 281]
    assert len(data.datasets["test"]) == 4


def test_takes_the_input_size_of_whoever_uses_it_without_a_module(tmp_path):
    _write(tmp_path, [f"n01443537/{i}.JPEG" for i in range(10)])
    data = ImageNet(str(tmp_path), test_fraction=0.5)
    data._preprocess = SIZE  # as fex-bench does
    data.setup("test")
    assert next(iter(data.test_dataloader()))["inputs"].shape[-2:] == SIZE.size


def test_unknown_wnid(tmp_path):
    _write(tmp_path, ["train/dog/1.png", "train/n01443537/1.png"])
    with pytest.raises(ValueError, match="'dog' in .* is no wnid"):
        ImageNet(str(tmp_path), preprocess=SIZE).setup("fit")


@pytest.mark.parametrize("streaming", [True, False])
def test_parquet(tmp_path, streaming):
    (tmp_path / "data").mkdir()
    for name, count in (("train-00000", 8), ("validation-00000", 3)):
        table = pa.table({"image": [{"bytes": encode(), "path": None}] * count, "label": [7] * count})
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet")
    data = ImageNet(str(tmp_path), streaming=streaming, preprocess=SIZE, batch_size=4)
    data.setup("fit")
    data.setup("test")
    assert len(data.train_dataloader()) == 2
    (batch,) = data.test_dataloader()
    assert batch["valid"].tolist() == [True, True, True, False]
    assert batch["labels"][:3].tolist() == [7, 7, 7]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        ImageNet(str(tmp_path / "none"), preprocess=SIZE).setup("fit")


@pytest.mark.data
def test_sample(data_dir):
    data = ImageNet(str(data_dir / "imagenet_sample"), val_fraction=0.0, preprocess=Preprocess(64, 64), batch_size=20)
    data.setup("fit")
    assert {stage: len(rows) for stage, rows in data.datasets.items()} == {"train": 900, "test": 100}
    wnids = imagenet_classes()[0]
    batch = next(iter(data.test_dataloader()))
    assert [name.split("/")[0] for name in batch["names"]] == [wnids[label] for label in batch["labels"]]
    assert batch["valid"].all()
