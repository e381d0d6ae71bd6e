"""What the datamodules of images share: geometry, bytes that become floats on the device, augmentation, views."""

import torch

from datamodules.augment import Augment
from datamodules.base import DataModule
from datamodules.loader import BatchLoader
from fex.images import Preprocess, as_unit
from fex.seeding import RowDraws
from fex.types import Batch

__all__ = ["ImageDataModule"]


class ImageDataModule(DataModule):
    """Base of the image datamodules.

    Args:
        batch_size: see `DataModule`.
        num_workers: see there.
        preprocess: geometry of the inputs; by default that of the module's black box.
        augment: changes training batches.
        seed: seed of order and augmentation.
        views: fixed inputs of each row, of which an epoch shows one (view = epoch mod views, `batch["view"]`): 0 is the
            picture itself, the others `augment` makes of seed, row and view alone. None makes another each epoch.

    Raises:
        ValueError: views without an `augment`, or none of them.
    """

    noun = "images"

    def __init__(
        self,
        batch_size: int = 32,
        num_workers: int = 0,
        preprocess: Preprocess | None = None,
        augment: Augment | None = None,
        seed: int = 0,
        views: int | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, preprocess, seed)
        if views is not None and (views < 1 or augment is None):
            raise ValueError(
                f"Got views={views} and augment={augment}: views are at least 1, and `augment` makes them."
            )
        self.augment, self.views = augment, views

    @property
    def fixed_views(self) -> int | None:
        """See `DataModule`."""
        return 1 if self.augment is None else self.views

    def _stream_loader(self, stage: str, rank: int, world_size: int) -> BatchLoader:
        if stage == "train" and self.views is not None:
            raise ValueError(
                "Views belong to numbered rows, which a stream does not have: set views to null, or read the data as a "
                "table (streaming: false)."
            )
        return super()._stream_loader(stage, rank, world_size)

    def finished(self, batch: Batch) -> Batch:
        """Bytes become floats in [0, 1]."""
        batch["inputs"] = as_unit(batch["inputs"])
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Makes floats of bytes, now that they are on the device, and augments training batches.

        The noise depends on seed, step and row of the global batch alone.
        """
        batch = self.finished(batch)
        if self.augment is not None and self.trainer is not None and self.trainer.training:
            if self.views is not None:
                batch["view"] = torch.full_like(batch["index"], self.trainer.current_epoch % self.views)
                batch["inputs"] = self.augment.view(batch["inputs"], batch["index"], batch["view"], self.seed)
                return batch
            count = len(batch["inputs"])
            draws = RowDraws(self.seed, self._position(), self.trainer.global_rank * count, stream=1)  # 0: the masks'
            rows = draws.rand(count, self.augment.numbers).to(batch["inputs"].device)
            batch["inputs"] = self.augment(batch["inputs"], rows)
        return batch
