import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import Hub, Parquet
from fex.images import Preprocess
from tests.datamodules.pictures import encode

SIZE = Preprocess(4, 4)


def _image(index):
    return {"bytes": encode((6, 6), colour=(index, 0, 0)), "path": f"{index}.png"}


def _which(batches):
    """Row numbers, from the pictures' red."""
    return [
        round(float(red) * 255)
        for batch in batches
        for red, valid in zip(batch["inputs"][:, 0, 0, 0], batch["valid"], strict=True)
        if valid
    ]


@pytest.fixture
def files(tmp_path):
    for part in range(4):
        rows = range(5 * part, 5 * part + 5)
        table = pa.table({"image": [_image(i) for i in rows], "label": [i % 3 for i in rows]})
        pq.write_table(table, tmp_path / f"train-{part}.parquet")
    pq.write_table(pa.table({"image": [_image(i) for i in range(7)], "label": [0] * 7}), tmp_path / "test.parquet")
    return tmp_path


def _parquet(files, **options):
    return Parquet(
        str(files / "train-*.parquet"),
        test=str(files / "test.parquet"),
        **{"preprocess": SIZE, "batch_size": 4, "class_names": ["a", "b", "c"], **options},
    )


def test_table(files):
    data = _parquet(files, val_fraction=0.2)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    train, val = _which(data.train_dataloader()), _which(data.val_dataloader())
    assert sorted(train + val) == list(range(20))
    assert len(val) == 4
    for batch in data.train_dataloader():
        assert batch["labels"].tolist() == [row % 3 for row in _which([batch])]
    assert _which(data.test_dataloader()) == list(range(7))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_stream_trains_on_every_row_once_a_pass_without_overlap(files, workers, world_size):
    data = _parquet(files, streaming=True, num_workers=workers, batch_size=5)
    data.setup("fit")
    loaders = [data._stream_loader("train", rank, world_size) for rank in range(world_size)]
    seen = []
    for loader in loaders:
        assert len(loader) == 20 // (5 * world_size)
        seen.append(_which(loader))
    assert sorted(sum(seen, [])) == list(range(20))


@pytest.mark.parametrize(("count", "world_size", "workers"), [(8, 4, 2), (7, 4, 1), (8, 8, 2), (3, 8, 1), (12, 5, 2)])
def test_ranks_read_whole_files_and_each_row_once(tmp_path, monkeypatch, count, world_size, workers):
    for part in range(count):
        rows = range(8 * part, 8 * part + 8)
        pq.write_table(pa.table({"image": [_image(i) for i in rows]}), tmp_path / f"train-{part}.parquet")
    data = Parquet(
        str(tmp_path / "*.parquet"),
        label_column=None, streaming=True, batch_size=1, num_workers=workers, preprocess=SIZE, val_fraction=0.0,
    )  # fmt: skip
    data.setup("fit")
    source, opened = data.datasets["train"], []
    monkeypatch.setattr(source, "_file", lambda number, read=source._file: opened.append(number) or read(number))
    readers = world_size * min(workers, max(1, count // world_size))
    passes = [[row.image for row in source.shuffled(reader, readers, epoch=3)] for reader in range(readers)]
    assert len(set(sum(passes, []))) == sum(map(len, passes)) == 8 * count
    assert max(map(len, passes)) - min(map(len, passes)) <= 2 + (count % readers != 0)
    assert len(opened) <= (count if count % readers == 0 else count + readers)
    loader = data._stream_loader("train", world_size - 1, world_size)  # and the processes themselves
    assert len(_which(loader)) == len(loader) == 8 * count // world_size
    assert loader.loader.num_workers * world_size == readers or count < world_size


def test_stream_reshuffles_and_repeats_by_epoch(files):
    data = _parquet(files, streaming=True)
    data.setup("fit")
    loader = data._stream_loader("train", 0, 1)
    orders = []
    for position in (0, 5, 5):
        loader.position = lambda position=position: position
        orders.append(_which(loader))
    assert orders[0] != orders[1] == orders[2]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_stream_evaluates_each_row_once_in_equal_steps(files, world_size):
    data = _parquet(files, streaming=True, num_workers=2)
    data.setup("test")
    loaders = [data._stream_loader("test", rank, world_size) for rank in range(world_size)]
    batches = [list(loader) for loader in loaders]
    assert len({len(part) for part in batches}) == 1
    assert sorted(sum((_which(part) for part in batches), [])) == list(range(7))
    assert all(len(batch["valid"]) == 4 for part in batches for batch in part)


def test_corrupt_rows_are_skipped(files):
    images = [_image(1), {"bytes": b"junk", "path": "x.png"}, None]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2]}), files / "test.parquet")
    for streaming in (False, True):
        data = _parquet(files, streaming=streaming)
        data.setup("test")
        assert _which(data.test_dataloader()) == [1]
        assert data.skipped == {"test": 2}


def test_text_labels(files):
    table = pa.table({"image": [_image(i) for i in range(4)], "label": ["dog", "cat", "dog", "ant"]})
    for name in ("train-0", "train-1", "train-2", "train-3", "test"):
        pq.write_table(table, files / f"{name}.parquet")
    data = _parquet(files, class_names=None)
    data.setup("test")
    assert data.class_names == ["ant", "cat", "dog"]
    assert next(iter(data.test_dataloader()))["labels"].tolist() == [2, 1, 2, 0]
    with pytest.raises(ValueError, match="set class_names to stream"):
        _parquet(files, class_names=None, streaming=True).setup("test")
    data = _parquet(files, class_names=["ant", "cat"])
    data.needs_labels = False  # as a module or a benchmark says it
    data.setup("test")
    assert "labels" not in next(iter(data.test_dataloader()))
    data = _parquet(files, class_names=["ant", "cat"])
    data.setup("test")
    with pytest.raises(ValueError, match="Label 'dog' of 0.png is not among class_names"):
        next(iter(data.test_dataloader()))


def test_clear_errors(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No parquet file matches .*none"):
        Parquet(str(tmp_path / "none*.parquet"))
    for streaming in (False, True):
        with pytest.raises(ValueError, match=r"no column 'picture'; it has \['image', 'label'\]"):
            _parquet(files, image_column="picture", streaming=streaming).setup("fit")
    with pytest.raises(ValueError, match="Cannot load the split 'train' of 'nobody/nothing'.*Without a network"):
        Hub("nobody/nothing", preprocess=SIZE).setup("fit")
    data = _parquet(files, streaming=True, batch_size=4)
    data.setup("fit")
    data.datasets["train"].length = None
    with pytest.raises(ValueError, match="set `epoch_size`"):
        data.train_dataloader()


class _Task:
    """What a datamodule asks of its trainer before the data is set up."""

    def __init__(self, name):
        self.state = self
        self.fn = name


def test_a_split_is_missed_only_where_it_is_needed(tmp_path):
    for index in range(4):
        (tmp_path / "pictures" / "train").mkdir(exist_ok=True, parents=True)
        (tmp_path / "pictures" / "train" / f"{index}.png").write_bytes(encode((6, 6)))
    data = Hub(str(tmp_path / "pictures"), label_column=None, preprocess=SIZE, batch_size=2, val_fraction=0.5)
    data.trainer = _Task("fit")
    data.prepare_data()
    data.trainer = None
    data.setup("fit")
    assert {stage: len(rows) for stage, rows in data.datasets.items()} == {"train": 2, "val": 2}
    data.trainer = _Task("test")
    with pytest.raises(ValueError, match="Cannot load the split 'test'.*Set `test_split: null` if there is none"):
        data.prepare_data()


def test_parquet_shows_the_command_line_what_it_takes_alone():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Parquet, "data")
    keys = set(vars(parser.get_defaults().data))
    assert {"train", "val", "test", "image_column", "streaming", "val_fraction", "batch_size"} <= keys
    assert not {"name", "data_files", "train_split", "val_split", "test_split"} & keys


def test_unlabelled(files):
    data = _parquet(files, label_column=None)
    data.setup("test")
    assert "labels" not in next(iter(data.test_dataloader()))
