"""Explanations of very many pictures in few tables: parquet files, one row an input and class."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fex.explanations.image import Explanation
from fex.report.fidelity import fidelity_cells
from fex.storage.atomic import replacing

__all__ = ["SCORES", "read_head", "shard_name", "shards_of", "write_shard"]

SCORES = ("float16", "uint8")
_NAME = re.compile(r"explanations-(\d{5,})\.parquet")
_KEY = b"fex"


def shard_name(number: int) -> str:
    """File of a shard."""
    return f"explanations-{number:05d}.parquet"


def shards_of(folder: Path) -> dict[int, Path]:
    """Those that a folder has, by number."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("explanations-*.parquet"))
    return {int(match[1]): path for match, path in found if match}


def read_head(path: Path) -> dict[str, Any]:
    """What `write_shard` was told of a shard.

    Raises:
        ValueError: no file of this kind, or a damaged one; names it.
    """
    try:
        head = json.loads((pq.read_schema(path).metadata or {})[_KEY])
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ValueError(f"{path} is no table of fex-explain, or damaged: remove it.") from error
    if not isinstance(head, dict):
        raise ValueError(f"{path} is no table of fex-explain: remove it.")
    return head


def _scores(found: Sequence[Explanation | None], kind: str) -> dict[str, pa.Array]:
    """Columns of the scores; null where there is no explanation."""
    width = next((each.features.num_features for each in found if each is not None), 1)
    values = np.zeros((len(found), width), np.float32)
    missing = np.array([each is None for each in found], dtype=bool)
    for row, each in enumerate(found):
        if each is not None:
            values[row] = each.attribution.numpy()
    columns = {}
    if kind == "uint8":
        low, high = values.min(1), values.max(1)
        span = np.where(high > low, high - low, 1)[:, None]
        stored = np.rint((values - low[:, None]) / span * 255).astype(np.uint8)
        columns = {"low": pa.array(low, mask=missing), "high": pa.array(high, mask=missing)}
    else:
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise ValueError("Scores beyond 65504 do not fit into float16: give --scores uint8.")
        stored = values.astype(np.float16)
    flat = pa.array(stored.reshape(-1))
    return {**columns, "scores": pa.FixedSizeListArray.from_arrays(flat, width, mask=pa.array(missing))}


def write_shard(
    path: Path, found: Sequence[tuple[str, Sequence[Explanation] | str]], head: Mapping[str, Any], scores: str
) -> None:
    """Writes one table: whole or not at all.

    Columns: file, rank (1 the likeliest class), class_index, class, probability, flat, fidelity with low and high where
    it was asked, queries, scores (feature by feature, row by row of the grid), low and high of each map where scores
    are uint8 (score = low + (high - low) * value / 255), and error: why an input, which then has one row of nulls,
    could not be explained.

    Args:
        path: the file.
        found: name of each input, and its explanations or the reason why there are none.
        head: plain data kept in the file; `read_head` gives it back.
        scores: of `SCORES`.

    Raises:
        ValueError: scores that the type cannot hold.
        OSError: it cannot be written.
    """
    rows: list[tuple[str, int, Explanation | None, str | None]] = []
    for name, explained in found:
        if isinstance(explained, str):
            rows.append((name, 1, None, explained))
        else:
            rows += [(name, rank, each, None) for rank, each in enumerate(explained, 1)]
    maps = [each for _, _, each, _ in rows]

    def column(read: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([None if each is None else read(each) for each in maps], kind)

    table = {
        "file": pa.array([row[0] for row in rows], pa.string()),
        "rank": pa.array([row[1] for row in rows], pa.int16()),
        "class_index": column(lambda each: each.target, pa.int32()),
        "class": column(lambda each: each.target_name, pa.string()),
        "probability": column(lambda each: each.probability, pa.float32()),
        "flat": column(lambda each: each.flat, pa.bool_()),
        **{
            name: column(lambda each, cell=cell: float(fidelity_cells(each)[cell] or "nan"), pa.float32())
            for cell, name in enumerate(("fidelity", "fidelity_low", "fidelity_high"))
            if any(each is not None and each.fidelity is not None for each in maps)
        },
        "queries": column(lambda each: each.queries, pa.int32()),
        **_scores(maps, scores),
        "error": pa.array([row[3] for row in rows], pa.string()),
    }
    whole = pa.table(table).replace_schema_metadata({_KEY: json.dumps(dict(head)).encode()})
    with replacing(path) as part:
        pq.write_table(whole, part, compression="zstd", use_dictionary=["class"])
