"""Results of a benchmark on disk, one file a method and batch, so that an interrupted run goes on where it stopped."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fex.storage.array_files import load_arrays, save_arrays
from fex.storage.atomic import replacing

__all__ = ["Record", "ResultStore"]


@dataclass
class Record:
    """What one method gave on one batch.

    Attributes:
        instances: B.
        queries: that the explanations of the batch spent.
        seconds: that they took.
        cold: they were the method's first in their process, and took what is made at first use as well.
        flat: how many of the maps have hardly any contrast.
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
    flat: int = 0

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
        return load_arrays(self._path(method, batch), _record)

    def save(self, method: str, batch: str, record: Record) -> None:
        """Writes a record in place of an older one."""
        arrays = {
            f"{protocol}:{name}": values.numpy()
            for protocol, components in record.components.items()
            for name, values in components.items()
        }
        meta = {key: getattr(record, key) for key in ("instances", "queries", "seconds", "evaluation", "cold", "flat")}
        if record.maps is not None:
            arrays["maps"] = record.maps.numpy()
        save_arrays(self._path(method, batch), meta, arrays)

    def load_clean(self, black_box: str, batch: str) -> Tensor | None:
        """The box's probabilities (B, C) of a batch's inputs, or None."""
        return load_arrays(self._path(black_box, batch), _clean)

    def save_clean(self, black_box: str, batch: str, clean: Tensor) -> None:
        """Keeps the box's probabilities (B, C)."""
        save_arrays(self._path(black_box, batch), {}, {"clean": clean.cpu().numpy()})

    def load_note(self, method: str) -> dict[str, object]:
        """What was noted of a method."""
        path = self.folder / method[:32] / "method.json"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def save_note(self, method: str, note: dict[str, object]) -> None:
        """Plain data of a method: what it is, its peak memory."""
        with replacing(self.folder / method[:32] / "method.json") as part:
            part.write_text(json.dumps(note, indent=1))


def _record(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Record:
    """A record of what was read; raises where that is none."""
    maps = arrays.pop("maps", None)
    record = Record(**meta, maps=None if maps is None else torch.from_numpy(maps))
    for name, values in arrays.items():
        protocol, _, component = name.rpartition(":")
        record.components.setdefault(protocol, {})[component] = torch.from_numpy(values)
    counts = [record.instances, record.queries, record.flat, *record.evaluation.values()]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f"it counts {counts}")
    if type(record.seconds) not in (int, float) or not 0 <= record.seconds < float("inf"):
        raise ValueError(f"it took {record.seconds!r} seconds")
    rows = {len(values) for parts in record.components.values() for values in parts.values()}
    if not rows <= {record.instances} or record.mapped > record.instances or type(record.cold) is not bool:
        raise ValueError(f"it has {sorted(rows)} rows and {record.mapped} maps of {record.instances} instances")
    if not record.components.keys() <= record.evaluation.keys():
        raise ValueError("it does not say what its scores have cost")
    return record


def _clean(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> Tensor:  # noqa: ARG001
    found = torch.from_numpy(arrays["clean"])
    if found.ndim != 2:
        raise ValueError(f"probabilities have the shape {tuple(found.shape)}")
    return found
