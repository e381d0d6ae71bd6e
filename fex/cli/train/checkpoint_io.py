"""Checkpoints that appear whole or not at all, and that run no code when they are read."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fex.storage.atomic import replacing
from fex.storage.checkpoint import read_plain

__all__ = ["SafeCheckpointIO"]


def _is_remote(path: str | Path) -> bool:
    return "://" in str(path)


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a killed or failing run leaves the previous checkpoint intact.

    Lightning's own goes through the system's temporary folder, from where a move to another disk is a copy, which can
    break off. Addresses with a protocol ("s3://...") are left to it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes `checkpoint` to `path`.

        Raises:
            OSError: the place cannot be written, or the disk is full; what was at `path` is still there.
        """
        if _is_remote(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(path) as part:
            try:
                torch.save(checkpoint, part)
            except RuntimeError as error:  # what torch makes of a failed write, such as on a full disk
                raise OSError(str(error).splitlines()[0]) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = lambda storage, _: storage,
        weights_only: bool | None = None,  # noqa: FBT001 Lightning's signature
    ) -> dict[str, Any]:
        """Reads `path`; by default nothing in it is executed.

        Raises:
            FileNotFoundError: nothing there.
            ValueError: no checkpoint, a broken one, or one that could run code.
        """
        if _is_remote(path) or weights_only is False:
            return super().load_checkpoint(path, map_location, weights_only=weights_only is not False)
        return read_plain(path)
