"""The loader that Lightning iterates over: resumable, and dealt out to the ranks already."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.order import ShardedBatchSampler
from datamodules.rows import RowStream, collate
from fex.types import Batch

__all__ = ["BatchLoader", "Indexed", "stream_loader", "table_loader"]

log = logging.getLogger("datamodules")


class BatchLoader:
    """Batches of one rank.

    Not a `DataLoader` itself: Lightning would rebuild one with samplers of its own (when predicting, and on several
    devices). Begins its work at the first batch and not at ``iter()``: Lightning calls that before it knows the epoch.

    Args:
        loader: what loads the batches.
        position: number of the next training batch of the run; None when evaluating.
        setting: what the order of the batches depends on; a checkpoint of another setting is resumed with a warning.

    Attributes:
        finish: last change of each batch, where nobody else makes it.
    """

    finish: Callable[[Batch], Batch] | None = None

    def __init__(
        self, loader: DataLoader[Any], position: Callable[[], int] | None = None, setting: dict[str, int] | None = None
    ) -> None:
        self.loader, self.position, self.setting = loader, position, setting or {}

    @property
    def _iterator(self) -> Any:
        """By this name Lightning finds the loader processes, which it ends with the run.

        Left to the garbage collector, each of them is waited for in vain for five seconds, whenever that may be.
        """
        return self.loader._iterator

    @_iterator.setter
    def _iterator(self, value: Any) -> None:
        self.loader._iterator = value

    @property
    def dataset(self) -> Any:
        """What is loaded."""
        return self.loader.dataset

    def __len__(self) -> int:
        if not isinstance(self.dataset, RowStream):
            return len(self.loader)
        if self.dataset.steps is None:
            raise TypeError("This stream has no known length.")
        return self.dataset.steps

    def __iter__(self) -> Iterator[Batch]:
        skip, steps = 0, None
        if isinstance(self.dataset, RowStream):
            skip = self.dataset.seek(self.position() if self.position is not None else 0)
            steps = self.dataset.steps
        for number, batch in enumerate(self.loader, -skip):
            if number >= 0:
                yield batch if self.finish is None else self.finish(batch)
            if number + 1 == steps:
                return

    def state_dict(self) -> dict[str, int]:
        """What the order depends on; the position itself is in Lightning's own progress."""
        return dict(self.setting)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Warns if the run goes on with other data or another global batch."""
        changed = {key: (state[key], value) for key, value in self.setting.items() if state.get(key, value) != value}
        if changed:
            log.warning(
                "The resumed run sees another order of the data than an unbroken one, since these changed (checkpoint, "
                "now): %s.",
                changed,
            )


class Indexed(Dataset[Batch]):
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


def table_loader(data: Any, sampler: ShardedBatchSampler, num_workers: int) -> BatchLoader:
    """Loads from a data set with random access."""
    loader = DataLoader(
        Indexed(data),
        batch_sampler=sampler,
        collate_fn=_identity,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    setting = {"instances": sampler.length, "global_batch": sampler.batch_size * sampler.world_size}
    return BatchLoader(loader, setting={**setting, "seed": sampler.seed} if sampler.shuffle else None)


def stream_loader(stream: RowStream, num_workers: int, position: Callable[[], int] | None, seed: int) -> BatchLoader:
    """Loads from a stream, with no more loader processes than it has parts."""
    workers = min(num_workers, stream.max_workers)
    if position is not None:
        stream.set_workers(workers)
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    if position is None:
        return BatchLoader(loader)
    # Unlike a table's, the order depends on who reads which part.
    setting = {"ranks": stream.world_size, "batch": stream.batch_size, "workers": workers, "seed": seed}
    return BatchLoader(loader, position, setting)
