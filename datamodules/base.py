"""What every datamodule shares: sharded, resumable batches whose order does not depend on the number of processes."""

import logging
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch

from datamodules.loader import BatchLoader, Indexed, stream_loader, table_loader
from datamodules.order import ShardedBatchSampler
from datamodules.rows import EvalStream, RowStream, TrainStream, collate
from fex.types import Batch

__all__ = ["DataModule", "ShardedBatchSampler", "collate"]

log = logging.getLogger("datamodules")


class DataModule(pl.LightningDataModule):
    """Base of the datamodules of any modality: subclasses fill `self.datasets` in `setup`.

    Args:
        batch_size: instances a step and a process.
        num_workers: loader processes; 0 loads in the training process.
        preprocess: from raw data to inputs; by default that of the module's black box.
        seed: seed of the order.

    Attributes:
        datasets: "train", "val", "test", "predict" -> a data set of dicts (`Batch` without the batch axis), one with
            ``batch(indices) -> Batch``, or a `StreamSource`; with ``lengths`` (n,) where rows differ in length.
        class_names: names of the labels, where the data has them.
        needs_labels: whether labels that are none of the classes end a run; None leaves it to the module's own
            `needs_labels`.
        epoch_size: training rows of an epoch where the training data is a stream; by default the stream's length.
    """

    class_names: list[str] | None = None
    needs_labels: bool | None = None
    epoch_size: int | None = None
    noun = "instances"

    def __init__(
        self,
        batch_size: int = 32,
        num_workers: int = 0,
        preprocess: Any = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(
                f"batch_size must be at least 1 and num_workers at least 0, got {batch_size} and {num_workers}."
            )
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._preprocess = preprocess
        self.datasets: dict[str, Any] = {}
        self._streams: dict[str, RowStream] = {}

    @property
    def known_preprocess(self) -> Any:
        """Given, or that of the Lightning module's black box, or None."""
        if self._preprocess is not None:
            return self._preprocess
        module = self.trainer.lightning_module if self.trainer is not None else None
        return getattr(module, "preprocess", None)

    @property
    def labels_needed(self) -> bool:
        """Whether the run needs labels; where nobody says that it does not, it does."""
        if self.needs_labels is not None:
            return self.needs_labels
        return getattr(self.trainer.lightning_module if self.trainer is not None else None, "needs_labels", True)

    @property
    def preprocess(self) -> Any:
        """As `known_preprocess`, where there must be one."""
        found = self.known_preprocess
        if found is None:
            raise ValueError(f"{type(self).__name__} knows no input size: set `preprocess`, or use it with a module.")
        return found

    @property
    def skipped(self) -> dict[str, int]:
        """Instances that could not be read so far, by stage."""
        sources = {**self.datasets, **self._streams}
        return {stage: len(data.skips) for stage, data in sources.items() if hasattr(data, "skips")}

    @property
    def fixed_views(self) -> int | None:
        """How many inputs a training row becomes over the epochs; None where it is another one each time."""
        return 1

    def _position(self) -> int:
        """Batches trained on since the run began; restored from a checkpoint before the first one is loaded.

        `processed` and not `completed`: Lightning increments the latter only after the hook that saves checkpoints.
        The total over epochs, since the count within an epoch is reset at varying moments.
        """
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed if self.trainer is not None else 0

    def _lacks(self, stage: str) -> str:
        """What to do where there is no such data."""
        shares = {f"{part}_fraction": share for part, share in getattr(self, "fractions", {}).items()}
        own = f"{stage}_fraction"
        if own in shares:
            advice = f"`{own}` ({shares[own]:g}) of so few instances is none, set a larger one"
        elif stage == "train" and shares:
            advice = f"{' and '.join(f'`{name}`' for name in shares)} hold back everything, set smaller ones"
        else:
            advice = "give it some (val_split, test_split, rows of that split)"
        if stage == "val":
            advice += "; to train without validating, set --trainer.limit_val_batches 0"
        return f"{type(self).__name__} has no {stage!r} data; it has {sorted(self.datasets)}: {advice}."

    def finished(self, batch: Batch) -> Batch:
        """A batch of the data sets as it is used: of pictures, bytes become floats."""
        return batch

    def _finishing(self, loader: BatchLoader) -> BatchLoader:
        if self.trainer is None:  # which otherwise has it done on the device: bytes are a quarter to copy
            loader.finish = self.finished
        return loader

    def _loader(self, stage: str) -> BatchLoader:
        if stage not in self.datasets:
            raise ValueError(self._lacks(stage))
        data, trainer = self.datasets[stage], self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        if hasattr(data, "deal"):
            return self._stream_loader(stage, rank, world_size)
        if len(data) == 0:
            raise ValueError(f"The {stage!r} data of {type(self).__name__} is empty.")
        # Overfitting means the same few batches in every epoch.
        shuffle = stage == "train" and not (trainer and trainer.overfit_batches)
        sampler = ShardedBatchSampler(
            len(data),
            self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            position=self._position if shuffle else None,
            lengths=getattr(data, "lengths", None) if stage != "predict" else None,  # results in the order given
        )
        return self._finishing(table_loader(data, sampler, self.num_workers))

    def _stream_loader(self, stage: str, rank: int, world_size: int) -> BatchLoader:
        source = self.datasets[stage]
        common = (source, self.preprocess, self.batch_size, rank, world_size)
        if stage != "train":
            self._streams[stage] = stream = EvalStream(*common)
            return self._finishing(stream_loader(stream, self.num_workers, None, self.seed))
        size = self.epoch_size or source.length
        if size is None:
            raise ValueError(f"The stream of {type(self).__name__} does not know its length: set `epoch_size` (rows).")
        self._streams[stage] = stream = TrainStream(*common, epoch_size=size)
        return self._finishing(stream_loader(stream, self.num_workers, self._position, self.seed))

    def train_dataloader(self) -> BatchLoader:
        """Shuffled, without the last incomplete batch."""
        return self._loader("train")

    def val_dataloader(self) -> BatchLoader:
        """In order, padded."""
        return self._loader("val")

    def test_dataloader(self) -> BatchLoader:
        """In order, padded."""
        return self._loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """The "predict" data, or else the test data."""
        return self._loader("predict" if "predict" in self.datasets else "test")

    def sample(self, count: int, stages: Sequence[str]) -> tuple[str, Batch] | None:
        """The first of `stages` that has data, and up to `count` instances of it.

        They are drawn by `seed`; of a stream, which cannot be drawn from, they are the first ones. None without data.
        """
        stage = next((stage for stage in stages if stage in self.datasets), None)
        if stage is None:
            return None
        data = self.datasets[stage]
        if hasattr(data, "deal"):
            first = next(iter(EvalStream(data, self.preprocess, count)), None)
            return None if first is None else (stage, self.finished(first))
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(self.seed))
        return stage, self.finished(Indexed(data).__getitems__([(row, True) for row in order[:count].tolist()]))

    def remarks(self) -> list[str]:
        """What the reader of a result must know of the data that was read so far, a sentence each."""
        return [
            f"{count} {self.noun} of the {part} data could not be read and were skipped."
            for part, count in self.skipped.items()
            if count
        ]

    def teardown(self, stage: str) -> None:
        """Says it."""
        for remark in self.remarks():
            log.warning("%s", remark)
