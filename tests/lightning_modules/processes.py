"""Processes of their own, quickly: forked from a server that has imported the heavy libraries once."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["fex.cli.train", "lightning_modules", "datamodules", "fex.nets", "torch._dynamo"])


def _quietly(function: Callable[..., Any], log: str, environment: dict[str, str], args: tuple[Any, ...]) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    import torch

    torch.set_num_threads(1)
    function(*args)


def start(function: Callable[..., Any], *args: Any, log: Path, **environment: str) -> Any:
    """Starts ``function(*args)`` in a process; what it prints goes to `log`."""
    process = CONTEXT.Process(target=_quietly, args=(function, str(log), environment, args))
    process.start()
    return process


def finish(process: Any, log: Path, seconds: float = 1200) -> int:
    """Waits; returns the exit code."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"still running after {seconds} s: {log.read_text()[-3000:]}")
    return process.exitcode


def wait_for(condition: Callable[[], Any], process: Any, log: Path, seconds: float = 1200) -> None:
    """Waits until `condition` holds, while `process` lives."""
    end = time.monotonic() + seconds
    while not condition():
        if not process.is_alive() or time.monotonic() > end:
            raise AssertionError(f"never happened (exit code {process.exitcode}): {log.read_text()[-3000:]}")
        time.sleep(0.02)


def fex_train(*argv: str) -> None:
    """The console script."""
    from fex.cli.train.train import main

    sys.argv = ["fex-train", *argv]
    main()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def together(function: Callable[..., Any], *args: Any, folder: Path, count: int = 2) -> None:
    """Runs ``function(*args)`` in `count` processes that find each other as those of `torchrun` do."""
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
    }
    logs = [folder / f"rank{rank}.log" for rank in range(count)]
    running = [
        start(function, *args, log=log, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank, log in enumerate(logs)
    ]
    codes = [finish(process, log) for process, log in zip(running, logs, strict=True)]
    assert codes == [0] * count, "\n".join(log.read_text()[-3000:] for log in logs)
