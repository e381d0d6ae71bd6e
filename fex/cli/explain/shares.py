"""`fex-explain --formats parquet`: tables of a fixed number of pictures, shared among processes, resumed one by one."""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fex.cli.explain.measured import Measured
from fex.cli.explain.summary import Summary

if TYPE_CHECKING:
    from fex.explainers.image_stream import ImageFile

__all__ = ["check_processes", "default_device", "processes", "run_shards"]


def processes() -> tuple[int, int]:
    """(this process, their number) where `torchrun` started several."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def default_device() -> str:
    """The GPU of this process, or the CPU."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}" if processes()[1] > 1 else "cuda"


def check_processes(arguments: argparse.Namespace) -> None:
    """Only tables can be shared.

    Raises:
        ValueError: several processes would write the same files.
    """
    count = processes()[1]
    if count > 1 and arguments.formats != ["parquet"]:
        raise ValueError(f"{count} processes would write the same gallery and tables: share --formats parquet alone.")


def _shards(arguments: argparse.Namespace) -> Iterator[tuple[int, list["ImageFile"]]]:
    """This process's shards: their numbers and pictures."""
    from fex.cli.found_pictures import find_pictures

    rank, count = processes()
    files = enumerate(find_pictures(arguments.inputs, arguments.output))
    for number, group in groupby(files, key=lambda item: item[0] // arguments.shard_size):
        if number % count == rank:
            yield number, [file for _, file in group]


def _inputs(files: list["ImageFile"]) -> str:
    """A hash of what tells these pictures from others."""
    from fex.cli.found_pictures import picture_key

    return hashlib.sha256(json.dumps([picture_key(file) for file in files]).encode()).hexdigest()


def _prepare(arguments: argparse.Namespace, settings: dict[str, Any], shards: int) -> dict[int, Path]:
    """The tables that are finished; without --resume none, and those of an earlier run are removed.

    Raises:
        ValueError: tables of other settings, or of more pictures than there are now.
    """
    from fex.checks import differences
    from fex.report.shards import read_head, shards_of

    rank, count = processes()
    found = shards_of(arguments.output)
    own = {number: path for number, path in found.items() if number % count == rank}
    if not arguments.resume:
        for path in own.values():
            path.unlink()
        return {}
    for path in own.values():
        unlike = differences("the run's", read_head(path).get("settings"), json.loads(json.dumps(settings)))
        if unlike:
            raise ValueError(
                f"{path} is of another run ({'; '.join(unlike)}): give the settings of that run, or leave out --resume "
                "to explain all inputs anew, or give another --output."
            )
    if max(found, default=-1) >= shards:
        raise ValueError(
            f"{arguments.output} has tables of more pictures than there are now: resume with the same inputs, or leave "
            "out --resume."
        )
    return own


def run_shards(explainer: Any, box: Any, arguments: argparse.Namespace, checkpoint: Any, total: int) -> Summary:
    """Explains the pictures of this process, and writes a table of every `--shard-size` of them.

    Which picture belongs to which table depends on the inputs alone, so that a stopped run goes on after the last whole
    table, and any number of processes writes the same ones.

    Raises:
        ValueError: --resume with other settings or inputs than those of the tables that are there.
        OSError: results that cannot be written.
    """
    from fex.cli.explain.arguments import tell_earlier_results
    from fex.cli.explain.notes import own_class_note, resume_settings
    from fex.cli.progress import progress
    from fex.storage.atomic import claimed

    rank, count = processes()
    settings = resume_settings(arguments, checkpoint, getattr(explainer, "box", box))
    settings |= {"shard_size": arguments.shard_size, "scores": arguments.scores}
    summary = Summary(output=arguments.output, note=own_class_note(explainer, box, arguments), kept_in="the tables")
    alone = claimed(arguments.output) if count == 1 else nullcontext()
    shards = -(-total // arguments.shard_size)
    with alone, progress(total if count == 1 else None, "images") as advance:
        if not arguments.resume and rank == 0:
            tell_earlier_results(arguments.output)
        done, start = _prepare(arguments, settings, shards), time.perf_counter()
        for number, files in _shards(arguments):
            if number in done:
                counts = _finished(done[number], files)
                summary.done += len(files)
                advance(len(files), free=True)
            else:
                counts = _write(explainer, box, arguments, settings, number, files, advance, summary.measured)
            summary.explained += counts["explained"]
            summary.skipped += counts["skipped"]
            summary.flat += counts["flat"]
            summary.named += [tuple(pair) for pair in counts["named"]][: 3 - len(summary.named)]
        summary.seconds = time.perf_counter() - start
    return summary


def _finished(path: Path, files: list["ImageFile"]) -> dict[str, Any]:
    """The counts of a table that is there, if it is of these pictures."""
    from fex.report.shards import read_head

    head = read_head(path)
    if head.get("inputs") != _inputs(files):
        raise ValueError(
            f"{path} is of other pictures, or they have changed: resume with the same inputs, or leave out --resume."
        )
    return head["counts"]


def _write(
    explainer: Any,
    box: Any,
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    number: int,
    files: list["ImageFile"],
    advance: Any,
    measured: Measured,
) -> dict[str, Any]:
    """Explains the pictures of one table and writes it; returns its counts."""
    from fex.explainers.image_stream import explain_files
    from fex.report.fidelity import least_fidelity
    from fex.report.shards import shard_name, write_shard
    from fex.storage.names import printable

    stream = explain_files(
        explainer, files, target=arguments.target, top_k=arguments.top_k, batch_size=arguments.batch_size,
        num_workers=arguments.num_workers or min(8, os.cpu_count() or 1), black_box=box,
    )  # fmt: skip
    found = []
    for file, explained in stream:
        name = printable(file.name)
        found.append((name, explained))
        measured.add(name, None if isinstance(explained, str) else least_fidelity(explained))
        advance()
    good = [each for _, explained in found if not isinstance(explained, str) for each in explained]
    skipped = [(name, reason) for name, reason in found if isinstance(reason, str)]
    counts = {
        "explained": len(found) - len(skipped), "skipped": len(skipped), "named": skipped[:3],
        "flat": sum(each.flat for each in good),
    }  # fmt: skip
    about = {name: getattr(good[0], name) for name in ("method", "black_box", "removal", "probability_of") if good} | (
        {"grid": list(good[0].features.grid), "size": list(good[0].size)} if good else {}
    )
    head = {"settings": settings, "inputs": _inputs(files), "counts": counts, **about}
    write_shard(arguments.output / shard_name(number), found, head, arguments.scores)
    return counts
