"""Results of a benchmark on disk, one file a method and batch, so that an interrupted run goes on where it stopped."""

import json
import logging
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fex.atomic import replacing

__all__ = ["Record", "ResultStore"]

log = logging.getLogger("fex")
_DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)


@dataclass
class Record:
    """What one method gave on one batch.

    Attributes:
        instances: B.
        queries: that the explanations of the batch spent.
        seconds: that they took.
        cold: they were the method's first in their process, and took what is made at first use as well.
        components: of each protocol, by its key, (B,) or (B, D), float32, on the CPU.
        evaluation: queries that each protocol spent on the batch, by its key.
        maps: of the first instances, to be shown: (b, h, w), or (b, L) of texts, float32, or None.
    """

    instances: int
    queries: int
    seconds: float
    components: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    evaluation: dict[str, int] = field(default_factory=dict)
    maps: Tensor | None = None
    cold: bool = False

    @property
    def mapped(self) -> int:
        """How many instances have their maps."""
        return 0 if self.maps is None else len(self.maps)


class ResultStore:
    """A folder of records; each file appears whole or not at all.

    Args:
        folder: made when something is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _path(self, method: str, batch: str) -> Path:
        return self.folder / method[:32] / f"{batch[:32]}.npz"

    def load(self, method: str, batch: str) -> Record | None:
        """The record of a method and a batch, by their fingerprints; None where there is none that can be read."""
        found = self._arrays(self._path(method, batch))
        if found is None:
            return None
        meta = json.loads(str(found.pop("meta")))
        maps = found.pop("maps", None)
        record = Record(meta["instances"], meta["queries"], meta["seconds"], evaluation=meta["evaluation"])
        record.maps, record.cold = None if maps is None else torch.from_numpy(maps), meta["cold"]
        for name, values in found.items():
            protocol, _, component = name.rpartition(":")
            record.components.setdefault(protocol, {})[component] = torch.from_numpy(values)
        return record

    def save(self, method: str, batch: str, record: Record) -> None:
        """Writes a record in place of an older one."""
        arrays = {
            f"{protocol}:{name}": values.numpy()
            for protocol, components in record.components.items()
            for name, values in components.items()
        }
        meta = {key: getattr(record, key) for key in ("instances", "queries", "seconds", "evaluation", "cold")}
        if record.maps is not None:
            arrays["maps"] = record.maps.numpy()
        self._write(self._path(method, batch), {"meta": np.array(json.dumps(meta)), **arrays})

    def load_clean(self, black_box: str, batch: str) -> Tensor | None:
        """The box's probabilities (B, C) of a batch's inputs, or None."""
        found = self._arrays(self._path(black_box, batch))
        return None if found is None else torch.from_numpy(found["clean"])

    def save_clean(self, black_box: str, batch: str, clean: Tensor) -> None:
        """Keeps the box's probabilities (B, C)."""
        self._write(self._path(black_box, batch), {"clean": clean.cpu().numpy()})

    def load_note(self, method: str) -> dict[str, object]:
        """What was noted of a method."""
        path = self.folder / method[:32] / "method.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            return {}

    def save_note(self, method: str, note: dict[str, object]) -> None:
        """Plain data of a method: what it is, its peak memory."""
        with replacing(self.folder / method[:32] / "method.json") as part:
            part.write_text(json.dumps(note, indent=1))

    @staticmethod
    def _arrays(path: Path) -> dict[str, np.ndarray] | None:
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except _DAMAGED as error:
            log.warning("%s cannot be read (%s): that batch is done again.", path, error)
            return None

    @staticmethod
    def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)
