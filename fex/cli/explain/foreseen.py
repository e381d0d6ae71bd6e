"""The first pass of `fex-explain --refine-total`: shared among processes, kept beside the results, the same for all."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fex.cli.explain.inputs import Inputs
from fex.cli.explain.processes import processes
from fex.cli.explain.spent import Foreseen, SpentMethod
from fex.cli.explain.summary import PictureSummary, TextSummary
from fex.cli.progress import progress
from fex.storage.array_files import load_arrays, save_arrays

__all__ = ["FORESEEN", "choose_refined"]

FORESEEN = ".fex-foreseen"  # folder of its files
PAUSE, PATIENCE = 1.0, 3600.0  # seconds: between two looks for what others do, and without any news of them
# Settings on which the foreseen depends; the box and the queries are none of them.
_DEPENDS = (
    "checkpoint", "backbone", "files of --black-box and --backbone", "target", "precision", "column", "pair_column",
    "version",
)  # fmt: skip


def choose_refined(
    inputs: Inputs, summary: PictureSummary | TextSummary, arguments: argparse.Namespace, settings: dict[str, Any]
) -> None:
    """Where --refine-total is given, foresees the misses of all inputs, and chooses those that are refined.

    Every process foresees its own parts of the inputs and reads those of the others, so that all choose alike. What is
    kept of an earlier run with the same inputs is not made again: a resumed run chooses what it chose before.

    Args:
        inputs: of the run, and its explainer.
        summary: is told what was chosen.
        arguments: of the command line.
        settings: of the run; a hash of the choice is added.

    Raises:
        TimeoutError: another process says nothing any more.
        OSError: what cannot be written.
    """
    method = inputs.explainer
    if not isinstance(method, SpentMethod):
        return
    about = {"shard_size": arguments.shard_size, **{name: settings[name] for name in _DEPENDS}}
    folder = None if arguments.output is None else arguments.output / FORESEEN
    (rank, count), parts, others = processes(), {}, {}
    slowest = 0.0
    with progress(inputs.total if count == 1 else None, f"{inputs.unit} foreseen") as advance:
        for number, found in enumerate(_pieces(inputs.found(), arguments.shard_size)):
            told = json.loads(json.dumps({**about, "inputs": _digest(inputs, found)}))
            part = None if folder is None else _kept(_file(folder, number), told)
            if part is None and number % count != rank:
                others[number] = told
                continue
            if part is None:
                start = time.perf_counter()
                part = _foreseen(inputs, method, found, advance)
                if folder is not None:
                    save_arrays(_file(folder, number), told, part._asdict())
                slowest = max(slowest, time.perf_counter() - start)
            else:
                advance(len(found), free=True)
            parts[number] = part
    if others:
        assert folder is not None  # several processes have one
        print(f"fex-explain: waiting for other processes, which foresee {len(others):,} parts more", file=sys.stderr)
    for number, told in others.items():
        parts[number] = _awaited(_file(folder, number), told, max(PATIENCE, 10 * slowest))  # type: ignore[arg-type]
    settings["choice of --refine-total"] = method.choose(Foreseen.joined([parts[number] for number in sorted(parts)]))
    summary.note = " · ".join(filter(None, [method.told, summary.note]))


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npz"


def _pieces(found: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while piece := list(islice(found, size)):
        yield piece


def _digest(inputs: Inputs, found: list[Any]) -> str:
    """Hash of what tells inputs from others."""
    return hashlib.sha256("\n".join(json.dumps(inputs.key(each)) for each in found).encode()).hexdigest()


def _foreseen(inputs: Inputs, method: SpentMethod, found: list[Any], advance: Any) -> Foreseen:
    misses, marks = np.zeros(len(found), np.float32), np.full(len(found), -1, np.int64)
    for row, (_, told) in enumerate(inputs.explain(method.foreseer, iter(found))):
        if not isinstance(told, str):
            misses[row], marks[row] = told[0]
        advance()
    return Foreseen(misses, marks)


def _kept(path: Path, wanted: Mapping[str, Any]) -> Foreseen | None:
    """What a file holds, if it is of these settings and inputs."""
    return load_arrays(path, partial(_of_file, wanted))


def _of_file(wanted: Mapping[str, Any], told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Foreseen | None:
    if told != wanted:
        return None
    misses, marks = arrays["misses"], arrays["marks"]
    if misses.dtype != np.float32 or marks.dtype != np.int64 or misses.ndim != 1 or misses.shape != marks.shape:
        raise ValueError(f"it has {misses.dtype} {misses.shape} and {marks.dtype} {marks.shape}")
    return Foreseen(misses, marks)


def _awaited(path: Path, wanted: Mapping[str, Any], patience: float) -> Foreseen:
    """What another process makes."""
    end = time.monotonic() + patience
    while (found := _kept(path, wanted)) is None:
        if time.monotonic() > end:
            raise TimeoutError(
                f"Waited {patience / 60:.0f} minutes for {path}, which another process makes: start all of them at "
                "once, with the same inputs and one output folder, which all can read."
            )
        time.sleep(PAUSE)
    return found
