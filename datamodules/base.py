"""What every datamodule shares: sharded, resumable batches whose order does not depend on the number of processes."""

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.augment import Augment
from fex.preprocess import Preprocess
from fex.types import Batch

__all__ = ["ImageDataModule", "ShardedBatchSampler", "collate"]


class ShardedBatchSampler(Sampler[list[tuple[int, bool]]]):
    """Batches of (index, valid) for one rank.

    Global batch g of an epoch is a slice of one permutation seeded by (seed, epoch), whatever the number of ranks;
    each rank takes its own contiguous rows of it. The last batch is padded by repetition (valid = False) when
    evaluating, so that ranks take equal steps and no instance counts twice, and dropped when training.

    Args:
        length: instances in the data set.
        batch_size: rows of one rank.
        shuffle: permute in every epoch; also drops the last incomplete batch.
        seed: seed of the permutation.
        rank: this process.
        world_size: number of processes.
        epoch: which permutation.
        start: batches already taken of this epoch, skipped on resume.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        start: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        self.length, self.batch_size, self.shuffle, self.seed = length, batch_size, shuffle, seed
        self.rank, self.world_size, self.epoch, self.start = rank, world_size, epoch, start
        # Data smaller than one batch still trains: the one batch is padded like an evaluation batch.
        self.drop_last = shuffle and length >= batch_size * world_size

    @property
    def sampler(self) -> "ShardedBatchSampler":
        """Itself: Lightning looks for `set_epoch` at ``loader.batch_sampler.sampler``, not at the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        total = self.batch_size * self.world_size
        return self.length // total if self.drop_last else -(-self.length // total)

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.length, generator=generator).tolist()
        else:
            order = list(range(self.length))
        total = self.batch_size * self.world_size
        start, self.start = self.start, 0
        for step in range(start, len(self)):
            first = step * total + self.rank * self.batch_size
            yield [(order[i % self.length], i < self.length) for i in range(first, first + self.batch_size)]


def collate(rows: Sequence[dict[str, Any]]) -> Batch:
    """Stacks what the rows have; keys that are missing in one row are missing in the batch."""
    keys = [key for key in rows[0] if all(key in row for row in rows)]
    return {key: torch.stack([torch.as_tensor(row[key]) for row in rows]) for key in keys}  # type: ignore[return-value]


class _Indexed(Dataset[Batch]):
    """Passes a batch of (index, valid) to the data set, in one call where it has `batch(indices)`."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, pairs: list[tuple[int, bool]]) -> Batch:
        indices = [index for index, _ in pairs]
        if hasattr(self.data, "batch"):
            batch = self.data.batch(torch.tensor(indices))
        else:
            batch = collate([self.data[index] for index in indices])
        batch["index"] = torch.tensor(indices)
        # A row that the data set itself could not read (a corrupt file) is marked there.
        valid = torch.tensor([valid for _, valid in pairs])
        batch["valid"] = valid & batch["valid"] if "valid" in batch else valid
        return batch


def _identity(batch: Batch) -> Batch:
    return batch


class ImageDataModule(pl.LightningDataModule):
    """Base of the image datamodules: subclasses fill `self.datasets` in `setup`.

    Args:
        batch_size: instances a step and a process.
        num_workers: loader processes; 0 loads in the training process.
        preprocess: geometry of the inputs; by default that of the module's black box.
        augment: changes training batches.
        seed: seed of order and augmentation.

    Attributes:
        datasets: "train", "val", "test", "predict" -> a data set of dicts (`Batch` without the batch axis), or one
            with ``batch(indices) -> Batch``.
        class_names: names of the labels, where the data has them.
    """

    class_names: list[str] | None = None

    def __init__(
        self,
        batch_size: int = 32,
        num_workers: int = 0,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size, self.num_workers, self.augment, self.seed = batch_size, num_workers, augment, seed
        self._preprocess = preprocess
        self.datasets: dict[str, Any] = {}

    @property
    def known_preprocess(self) -> Preprocess | None:
        """Given, or that of the Lightning module's black box, or None."""
        if self._preprocess is not None:
            return self._preprocess
        module = self.trainer.lightning_module if self.trainer is not None else None
        return getattr(module, "preprocess", None)

    @property
    def preprocess(self) -> Preprocess:
        """As `known_preprocess`, where there must be one."""
        found = self.known_preprocess
        if found is None:
            raise ValueError(f"{type(self).__name__} knows no input size: set `preprocess`, or use it with a module.")
        return found

    def _loader(self, stage: str) -> DataLoader[Any]:
        if stage not in self.datasets:
            raise ValueError(f"{type(self).__name__} has no {stage!r} data; it has {sorted(self.datasets)}.")
        data = self.datasets[stage]
        if len(data) == 0:
            raise ValueError(f"The {stage!r} data of {type(self).__name__} is empty.")
        trainer = self.trainer
        shuffle = stage == "train"
        start = 0
        if trainer is not None and shuffle:
            # Mid-epoch resume: the loop's progress has been restored by now, the order is a function of the epoch.
            start = trainer.fit_loop.epoch_loop.batch_progress.current.processed if trainer.fit_loop.restarting else 0
        sampler = ShardedBatchSampler(
            len(data),
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            epoch=trainer.current_epoch if trainer and shuffle else 0,
            start=start,
        )
        return DataLoader(
            _Indexed(data),
            sampler=None,
            batch_sampler=sampler,
            collate_fn=_identity,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, without the last incomplete batch."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, padded."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """In order, padded."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """The "predict" data, or else the test data."""
        return self._loader("predict" if "predict" in self.datasets else "test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments training batches, by a generator that depends on seed, step and rank alone."""
        if self.augment is not None and self.trainer is not None and self.trainer.training:
            trainer = self.trainer
            step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 4096 + trainer.global_rank)
            batch["inputs"] = self.augment(batch["inputs"], generator)
        return batch
