"""Arrays and plain data in one file, which appears whole or not at all; what a damaged one held is made again."""

import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fex.storage.atomic import replacing

__all__ = ["load_arrays", "save_arrays"]

log = logging.getLogger("fex")
T = TypeVar("T")
_META = "meta"


def save_arrays(path: str | Path, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `meta`, as JSON can say it, and `arrays`, in place of an older file."""
    text = json.dumps({**meta, "arrays": sorted(arrays)})
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **{_META: np.array(text)}, **arrays)


def load_arrays(
    path: str | Path, make: Callable[[dict[str, Any], dict[str, np.ndarray]], T], *, only_meta: bool = False
) -> T | None:
    """What `make` builds of meta and arrays of a file; None, and a line in the log, where it is damaged.

    Args:
        path: by `save_arrays`; None is given where there is no such file.
        make: raises where meta or arrays are not what it needs; then the file counts as damaged, too.
        only_meta: read no arrays.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as file:
            names = {name.removesuffix(".npy") for name in file.namelist()} - {_META}
            meta = json.loads(str(_array(file, _META)))
            if meta.pop("arrays") != sorted(names):
                raise ValueError(f"it has the arrays {sorted(names)}")
            return make(meta, {} if only_meta else {name: _array(file, name) for name in names})
    except Exception as error:  # whatever a damaged file makes of the readers
        log.warning("%s cannot be read (%s: %s): what it held is done again.", path, type(error).__name__, error)
        return None


def _array(file: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array, compared with its checksum as a whole: NumPy stops where the array seems to end."""
    if file.getinfo(f"{name}.npy").compress_type != zipfile.ZIP_STORED:
        raise ValueError("its parts are packed")  # a small file might become one without end
    return np.lib.format.read_array(io.BytesIO(file.read(f"{name}.npy")), allow_pickle=False)
