import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import Segmentation, TopRows
from fex.images import Preprocess


def _write(root, count=6, size=(40, 30)):
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for i in range(count):
        mask = np.zeros(size[::-1], np.uint8)
        mask[5:20, 8 + i : 24 + i] = 255
        image = np.stack([mask, 255 - mask, mask], -1)
        Image.fromarray(image).save(root / "images" / f"{i:03}.jpg", quality=95)
        Image.fromarray(mask).save(root / "masks" / f"{i:03}.png")


def test_mask_follows_the_image(tmp_path):
    _write(tmp_path)
    for preprocess in (Preprocess(20, 20), Preprocess(24, 32, squash=True), Preprocess(16, 16, resize=24)):
        data = Segmentation(str(tmp_path), preprocess=preprocess, batch_size=6)
        data.setup("test")
        (batch,) = data.test_dataloader()
        assert batch["masks"].shape == (6, *preprocess.size)
        assert batch["masks"].dtype == torch.bool
        # The foreground is magenta, the background green.
        agree = (batch["inputs"][:, 0] > 0.5) == batch["masks"]
        assert agree.float().mean() > 0.95
        assert "labels" not in batch


def test_split(tmp_path):
    _write(tmp_path, 10)
    data = Segmentation(str(tmp_path), val_fraction=0.2, test_fraction=0.3, preprocess=Preprocess(8, 8))
    data.setup("fit")
    assert {stage: len(rows) for stage, rows in data.datasets.items()} == {"train": 5, "val": 2, "test": 3}


def test_unreadable_pair_is_skipped(tmp_path):
    _write(tmp_path, 3)
    (tmp_path / "masks" / "001.png").write_bytes(b"junk")
    data = Segmentation(str(tmp_path), preprocess=Preprocess(8, 8), batch_size=3)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch["valid"].tolist() == [True, False, True]
    assert data.skipped == {"test": 1}


def test_clear_errors(tmp_path):
    _write(tmp_path, 3)
    (tmp_path / "masks" / "002.png").rename(tmp_path / "masks" / "x.png")
    with pytest.raises(FileNotFoundError, match=r"1 of 3 images have no mask in .*the first is '002\.jpg'"):
        Segmentation(str(tmp_path), preprocess=Preprocess(8, 8)).setup("test")
    Image.new("L", (3, 3)).save(tmp_path / "masks" / "002.png")
    data = Segmentation(str(tmp_path), preprocess=Preprocess(8, 8))
    data.setup("test")
    with pytest.raises(ValueError, match="40 x 30 pixels and its mask 3 x 3"):
        list(data.test_dataloader())
    Image.new("L", (3, 3)).save(tmp_path / "images" / "002.png")
    with pytest.raises(ValueError, match="have one name"):
        Segmentation(str(tmp_path), preprocess=Preprocess(8, 8)).setup("test")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        Segmentation(str(tmp_path), images="none", preprocess=Preprocess(8, 8)).setup("test")


@pytest.mark.data
def test_ecssd(data_dir):
    data = Segmentation(str(data_dir / "seg_ecssd"), preprocess=Preprocess(56, 56), batch_size=25)
    data.setup("test")
    assert len(data.datasets["test"]) == 1000
    batch = next(iter(data.test_dataloader()))
    assert 0.05 < batch["masks"].float().mean() < 0.6


def test_the_images_that_a_table_ranks_highest(tmp_path):
    _write(tmp_path, 5)
    (tmp_path / "index.csv").write_text("image,certainty\n000,0.1\n001,0.9\n002,0.5\n003,0.9\n004,0.2\n")

    def names(**changes):
        settings = {"table": "index.csv", "name": "image", "column": "certainty", "count": 3, **changes}
        data = Segmentation(str(tmp_path), top=TopRows(**settings), preprocess=Preprocess(8, 8), batch_size=5)
        data.setup("test")
        batch = next(iter(data.test_dataloader()))
        return [name for name, valid in zip(batch["names"], batch["valid"].tolist(), strict=True) if valid]

    assert names() == ["001.jpg", "002.jpg", "003.jpg"]
    assert names(count=1) == ["001.jpg"]
    with pytest.raises(ValueError, match="has 5 rows .* asked for 6"):
        names(count=6)
    with pytest.raises(ValueError, match="asked for 3 by 'fame'"):
        names(column="fame")
    with pytest.raises(FileNotFoundError, match="Found no table"):
        names(table="other.csv")
    (tmp_path / "index.csv").write_text("image,certainty\nzzz,0.1\n")
    with pytest.raises(FileNotFoundError, match="names 'zzz', which is not in 'images'"):
        names(count=1)
