"""Explanations of very many inputs in few tables: parquet files, one row an input and class."""

import json
import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fex.explanations.base import BaseExplanation
from fex.explanations.text import TextExplanation
from fex.report.fidelity import fidelity_cells
from fex.storage.atomic import replacing

__all__ = ["SCORES", "explanation_table", "read_head", "shard_name", "shards_of", "write_shard"]

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


def _scores(found: Sequence[BaseExplanation | None], kind: str) -> dict[str, pa.Array]:
    """Columns of the scores; null where there is no explanation.

    Lists of any length, also of pictures: pyarrow before 26 cannot read nulls in lists of a fixed one.
    """
    rows = [np.zeros(0, np.float32) if each is None else each.shown.astype(np.float32) for each in found]
    values, lengths = np.concatenate([np.zeros(0, np.float32), *rows]), [len(row) for row in rows]
    missing = np.array([each is None for each in found], dtype=bool)
    columns = {}
    if kind == "uint8":
        low, high = (np.array([edge(row) if len(row) else 0 for row in rows], np.float32) for edge in (np.min, np.max))
        span = np.where(high > low, high - low, 1)
        stored = np.rint((values - np.repeat(low, lengths)) / np.repeat(span, lengths) * 255).astype(np.uint8)
        columns = {"low": pa.array(low, mask=missing), "high": pa.array(high, mask=missing)}
    else:
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            raise ValueError("Scores beyond 65504 do not fit into float16: take scores of uint8 (--scores uint8).")
        stored = values.astype(np.float16)
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    return {**columns, "scores": pa.ListArray.from_arrays(offsets, pa.array(stored), mask=pa.array(missing))}


def _words(found: Sequence[BaseExplanation | None]) -> dict[str, pa.Array]:
    """What the scores of texts belong to."""
    texts = [each if isinstance(each, TextExplanation) else None for each in found]
    words = [None if each is None else each.word_scores() for each in texts]

    offsets = pa.array(np.cumsum([0, *(len(row or ()) for row in words)]), pa.int32())
    mask = pa.array([row is None for row in words], pa.bool_())
    flat = [word for row in words for word in row or ()]

    def column(name: str, kind: pa.DataType) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(map(attrgetter(name), flat), kind), mask=mask)

    return {
        "words": column("word", pa.string()), "start": column("start", pa.int32()), "end": column("end", pa.int32()),
        "tokens_cut": pa.array([None if each is None else each.cut for each in texts], pa.int32()),
    }  # fmt: skip


def explanation_table(
    found: Sequence[tuple[str | None, Sequence[BaseExplanation] | str]], scores: str, *, texts: bool = False
) -> pa.Table:
    """One row an input and class.

    Columns: file, rank (1 the likeliest class), class_index, class, probability, probability_of and class_chosen_by
    (whose estimate it is and who chose the class: user, black box or explainer), flat, fidelity with low and high where
    it was asked, queries, scores (of pictures feature by feature, row by row of the grid; of texts word by word), low
    and high of each map where scores are uint8 (score = low + (high - low) * value / 255), of texts words, start and
    end (characters) and tokens_cut (tokens that did not fit and were not looked at), and error: why an input, which
    then has one row of nulls, could not be explained.

    Args:
        found: name of each input, and its explanations or the reason why there are none.
        scores: of `SCORES`.
        texts: whether the inputs are texts.

    Raises:
        ValueError: scores that the type cannot hold.
    """
    rows: list[tuple[str | None, int, BaseExplanation | None, str | None]] = []
    for name, explained in found:
        if isinstance(explained, str):
            rows.append((name, 1, None, explained))
        else:
            rows += [(name, rank, each, None) for rank, each in enumerate(explained, 1)]
    maps = [each for _, _, each, _ in rows]

    def column(read: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([None if each is None else read(each) for each in maps], kind)

    return pa.table({
        "file": pa.array([row[0] for row in rows], pa.string()),
        "rank": pa.array([row[1] for row in rows], pa.int16()),
        "class_index": column(lambda each: each.target, pa.int32()),
        "class": column(lambda each: each.target_name, pa.string()),
        "probability": column(lambda each: each.probability, pa.float32()),
        "probability_of": column(lambda each: each.probability_of, pa.string()),
        "class_chosen_by": column(lambda each: each.chosen_by, pa.string()),
        "flat": column(lambda each: each.flat, pa.bool_()),
        **{
            name: column(lambda each, cell=cell: float(fidelity_cells(each)[cell] or "nan"), pa.float32())
            for cell, name in enumerate(("fidelity", "fidelity_low", "fidelity_high"))
            if any(each is not None and each.fidelity is not None for each in maps)
        },
        "queries": column(lambda each: each.queries, pa.int32()),
        **_scores(maps, scores),
        **(_words(maps) if texts else {}),
        "error": pa.array([row[3] for row in rows], pa.string()),
    })  # fmt: skip


def write_shard(
    path: Path,
    found: Sequence[tuple[str, Sequence[BaseExplanation] | str]],
    head: Mapping[str, Any],
    scores: str,
    *,
    texts: bool = False,
) -> None:
    """Writes one table, see `explanation_table`: whole or not at all.

    Args:
        path: the file.
        found: name of each input, and its explanations or the reason why there are none.
        head: plain data kept in the file; `read_head` gives it back.
        scores: of `SCORES`.
        texts: whether the inputs are texts.

    Raises:
        ValueError: scores that the type cannot hold.
        OSError: it cannot be written.
    """
    about = {_KEY: json.dumps(dict(head)).encode()}
    table = explanation_table(found, scores, texts=texts).replace_schema_metadata(about)
    with replacing(path) as part:
        pq.write_table(table, part, compression="zstd", use_dictionary=["class", "probability_of", "class_chosen_by"])
