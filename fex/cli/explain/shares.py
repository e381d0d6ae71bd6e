"""`fex-explain --formats parquet`: tables of a fixed number of inputs, shared among processes, resumed one by one."""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from fex.cli.explain.foreseen import choose_refined
from fex.cli.explain.inputs import Inputs
from fex.cli.explain.notes import TABLES, tell_earlier_results
from fex.cli.explain.processes import processes
from fex.cli.explain.spent import SpentMethod
from fex.cli.explain.summary import PictureSummary, TextSummary
from fex.cli.explain.unlike import unlike
from fex.cli.progress import progress
from fex.refine import Fidelity
from fex.report.fidelity import least_fidelity
from fex.report.shards import read_head, shard_name, shards_of, write_shard
from fex.storage.atomic import claimed

__all__ = ["run_shards"]

_NOT_ASKED = Fidelity(math.nan, math.nan, math.nan, 0)


class _Hashed:
    """Hands inputs on, counts them, and hashes what tells them from others."""

    def __init__(self, found: Iterable[Any], key: Callable[[Any], Any]) -> None:
        self.found, self.key, self.count, self._digest = found, key, 0, hashlib.sha256()

    def __iter__(self) -> Iterator[Any]:
        for each in self.found:
            self.count += 1
            self._digest.update(json.dumps(self.key(each)).encode() + b"\n")
            yield each

    @property
    def digest(self) -> str:
        """Of those that were handed on."""
        return self._digest.hexdigest()


def _shards(inputs: Inputs, size: int) -> Iterator[tuple[int, _Hashed]]:
    """This process's shards: their numbers and inputs."""
    rank, count = processes()
    for number, group in groupby(enumerate(inputs.found()), key=lambda item: item[0] // size):
        if number % count == rank:
            yield number, _Hashed((each for _, each in group), inputs.key)


def _own_tables(folder: Path) -> dict[int, Path]:
    """This process's tables that are there."""
    rank, count = processes()
    return {number: path for number, path in shards_of(folder).items() if number % count == rank}


def _clear(inputs: Inputs, arguments: argparse.Namespace) -> None:
    """Removes the tables of an earlier run, and says so."""
    if processes()[0] == 0:
        tell_earlier_results(arguments.output, [TABLES], pictures=inputs.unit == "images")
    for path in _own_tables(arguments.output).values():
        path.unlink()


def _beginning(explain: Callable[[Any, Iterable[Any]], Iterator[Any]], begin: Callable[[], None]) -> Any:
    """`explain`, with a call after its first result: what is wrong is told before anything is written over."""

    def explained(explainer: Any, found: Iterable[Any]) -> Iterator[Any]:
        for each in explain(explainer, found):
            begin()
            yield each

    return explained


def _finished_tables(arguments: argparse.Namespace, settings: dict[str, Any], total: int | None) -> dict[int, Path]:
    """The tables that are finished; without --resume none.

    Raises:
        ValueError: tables of other settings, or of more inputs than there are now.
    """
    if not arguments.resume:
        return {}
    found, own = shards_of(arguments.output), _own_tables(arguments.output)
    for path in own.values():
        told = unlike(read_head(path).get("settings"), json.loads(json.dumps(settings)))
        if told:
            raise ValueError(
                f"{path} is of another run ({told}): give the settings of that run, or leave out --resume "
                "to explain all inputs anew, or give another --output."
            )
    if total is not None and max(found, default=-1) * arguments.shard_size >= total:
        raise ValueError(
            f"{arguments.output} has tables of more inputs than there are now: resume with the same inputs, or leave "
            "out --resume."
        )
    return own


def run_shards(
    inputs: Inputs,
    summary: PictureSummary | TextSummary,
    arguments: argparse.Namespace,
    settings: dict[str, Any],
) -> None:
    """Explains the inputs of this process, and writes a table of every `--shard-size` of them.

    Which input belongs to which table depends on the inputs alone, so that a stopped run goes on after the last whole
    table, and any number of processes writes the same ones.

    Args:
        inputs: to explain.
        summary: counts them.
        arguments: of the command line.
        settings: plain data on which the results depend, see `resume_settings`.

    Raises:
        ValueError: --resume with other settings or inputs than those of the tables that are there.
        OSError: results that cannot be written.
    """
    rank = processes()[0]
    settings = settings | {"shard_size": arguments.shard_size, "scores": arguments.scores}
    total = inputs.total
    if total is None and arguments.resume:
        total = sum(1 for _ in inputs.found())
    # The first table is the first process's: of several, it holds the folder for all.
    alone = claimed(arguments.output) if rank == 0 else nullcontext()
    with alone:
        choose_refined(inputs, summary, arguments, settings)
        _run(inputs, summary, arguments, settings, total)


def _run(
    inputs: Inputs,
    summary: PictureSummary | TextSummary,
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    total: int | None,
) -> None:
    """This process's tables, in a folder that is this run's alone."""
    with progress(total if processes()[1] == 1 else None, inputs.unit) as advance:
        done, start = _finished_tables(arguments, settings, total), time.perf_counter()
        clear = ExitStack()
        if not (arguments.resume and shards_of(arguments.output)):
            clear.callback(_clear, inputs, arguments)
        inputs = inputs._replace(explain=_beginning(inputs.explain, clear.close))
        for number, given in _shards(inputs, arguments.shard_size):
            if number in done:
                counts = _finished(done[number], given)
                summary.done += given.count
                advance(given.count, free=True)
            else:
                counts = _write(inputs, summary, arguments, settings, (number, given), advance)
            summary.named += [tuple(pair) for pair in counts.pop("named")][: 3 - len(summary.named)]
            for name, value in counts.items():
                setattr(summary, name, getattr(summary, name) + value)
        clear.close()  # a process of no tables
        summary.seconds = time.perf_counter() - start


def _finished(path: Path, given: _Hashed) -> dict[str, Any]:
    """The counts of a table that is there, if it is of these inputs."""
    head = read_head(path)
    for _ in given:
        pass
    if head.get("inputs") != given.digest:
        raise ValueError(
            f"{path} is of other inputs, or they have changed: resume with the same inputs, or leave out --resume."
        )
    return head["counts"]


def _write(
    inputs: Inputs,
    summary: PictureSummary | TextSummary,
    arguments: argparse.Namespace,
    settings: dict[str, Any],
    shard: tuple[int, _Hashed],
    advance: Any,
) -> dict[str, Any]:
    """Explains the inputs of one table and writes it; returns its counts."""
    (number, given), found = shard, []
    spent = isinstance(inputs.explainer, SpentMethod)
    if spent:
        inputs.explainer.start(number * arguments.shard_size)
    for name, explained in inputs.explain(inputs.explainer, given):
        found.append((name, explained))
        summary.measured.add(name, None if isinstance(explained, str) else least_fidelity(explained))
        advance()
    good = [explained for _, explained in found if not isinstance(explained, str)]
    skipped = [(name, reason) for name, reason in found if isinstance(reason, str)]
    counts = {
        "explained": len(good), "skipped": len(skipped), "named": skipped[:3],
        "flat": sum(each.flat for explained in good for each in explained),
    }  # fmt: skip
    texts = inputs.unit == "texts"
    if texts:
        cut = [explained[0].cut for explained in good]
        counts |= {"truncated": sum(each > 0 for each in cut), "tokens_cut": sum(cut)}
    about = {name: _all_of(good, name) for name in ("method", "black_box", "removal", "probability_of") if good}
    if good and not texts:
        about |= {"grid": list(good[0][0].features.grid), "size": list(good[0][0].size)}
    head = {"settings": settings, "inputs": given.digest, "counts": counts, **about}
    if spent:  # a table of which nothing was refined has the same columns
        found = [(name, told if isinstance(told, str) else [_asked(each) for each in told]) for name, told in found]
    write_shard(arguments.output / shard_name(number), found, head, arguments.scores, texts=texts)
    return counts


def _all_of(found: list[list[Any]], name: str) -> str:
    """What explanations have as an attribute; of refined and other maps there are several."""
    return " or ".join(sorted({getattr(each, name) for explained in found for each in explained}))


def _asked(explanation: Any) -> Any:
    return replace(explanation, fidelity=_NOT_ASKED) if explanation.fidelity is None else explanation
