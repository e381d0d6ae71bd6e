import random

import pytest
import torch

from datamodules.order import ShardedBatchSampler, held_back, mixed, shared


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("length", [3, 22, 24])
def test_ranks_partition_each_global_batch(length, shuffle):
    whole = list(ShardedBatchSampler(length, 8, shuffle=shuffle, seed=4))
    halves = [list(ShardedBatchSampler(length, 4, shuffle=shuffle, seed=4, rank=r, world_size=2)) for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_evaluation_sees_each_once():
    rows = [row for batch in ShardedBatchSampler(10, 4, shuffle=False) for row in batch]
    assert [index for index, valid in rows if valid] == list(range(10))
    assert [index for index, valid in rows if not valid] == [0, 1]


def test_training_drops_the_rest_and_reshuffles():
    position = [0]
    sampler = ShardedBatchSampler(22, 4, shuffle=True, position=lambda: position[0])
    first = list(sampler)
    assert len(first) == len(sampler) == 5
    indices = [index for batch in first for index, _ in batch]
    assert len(set(indices)) == 20
    assert all(valid for batch in first for _, valid in batch)
    position[0] = 5
    second = list(sampler)
    assert second != first
    position[0] = 3
    assert list(sampler) == first[3:] + second[:3]


def test_data_smaller_than_a_batch_trains_padded():
    (batch,) = ShardedBatchSampler(3, 8, shuffle=True)
    assert sorted(index for index, valid in batch if valid) == [0, 1, 2]


def test_held_back_is_a_partition_and_fixed():
    parts = held_back(1000, {"val": 0.0, "test": 0.1}, seed=0)
    assert [len(parts[name]) for name in ("train", "val", "test")] == [900, 0, 100]
    assert sorted(parts["train"] + parts["test"]) == list(range(1000))
    assert parts == held_back(1000, {"val": 0.0, "test": 0.1}, seed=0)
    assert parts["test"] != held_back(1000, {"test": 0.1}, seed=1)["test"]


def test_shares_of_everything_leave_nothing_to_train_on():
    assert held_back(3, {"val": 0.0, "test": 1.0}) == {"train": [], "val": [], "test": [0, 1, 2]}
    parts = held_back(3, {"val": 0.5, "test": 0.5})
    assert parts["train"] == []
    assert sorted(parts["val"] + parts["test"]) == [0, 1, 2]
    assert held_back(10, {"test": 1.0, "val": 0.0}) == {"train": [], "test": list(range(10)), "val": []}


def test_refused():
    with pytest.raises(ValueError, match="leaves 0 to train on"):
        held_back(10, {"val": 0.49, "test": 0.5})
    with pytest.raises(ValueError, match="leaves -1 to train on"):
        held_back(10, {"val": 0.5, "test": 0.6})
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        ShardedBatchSampler(10, 0, shuffle=True)
    with pytest.raises(ValueError, match="rank must be in"):
        ShardedBatchSampler(10, 1, shuffle=True, rank=2, world_size=2)


def test_files_are_shared_evenly_and_without_gaps():
    for files, readers in ((7, 4), (8, 4), (294, 8), (3, 8), (294, 512)):
        rows = torch.zeros(files, 1000, dtype=torch.int64)
        opened, sizes = [], []
        for reader in range(readers):
            mine = torch.zeros_like(rows)
            for file, owned in shared(files, reader, readers):
                mine[file] = torch.tensor([owned(row) for row in range(1000)])
            rows += mine
            sizes.append(int(mine.sum()))
            opened.append(int((mine.sum(1) > 0).sum()))
        assert (rows == 1).all()
        assert max(sizes) - min(sizes) <= 8
        assert max(opened) <= files // readers + (0 if files % readers == 0 else 2)


def test_mixed_loses_nothing_and_holds_few():
    held = 0

    def rows():
        nonlocal held
        for row in range(100):
            held += 1
            yield row

    found = []
    for row in mixed(rows(), 10, random.Random(0)):
        found.append(row)
        held -= 1
        assert held <= 10 + 1
    assert sorted(found) == list(range(100)) != found
    assert list(mixed(range(5), 0, random.Random(0))) == list(range(5))
