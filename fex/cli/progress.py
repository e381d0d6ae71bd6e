"""Progress of a long run: a bar on a terminal, plain lines elsewhere; on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

__all__ = ["Advance", "progress"]

INTERVAL = 10.0  # seconds between plain lines


class Advance(Protocol):
    """Counts `count` more instances."""

    def __call__(self, count: int = 1) -> None: ...


@contextmanager
def progress(total: int, unit: str, *, stream: TextIO | None = None, interval: float = INTERVAL) -> Iterator[Advance]:
    """Shows done, total and rate.

    Args:
        total: instances expected.
        unit: their name, in the plural.
        stream: by default standard error.
        interval: seconds between plain lines.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _Lines(total, unit, stream, interval)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Instances a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.1f} {unit}/s" if speed else "")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task("", total=total)

        def advance(count: int = 1) -> None:
            bar.update(task, advance=count)

        yield advance


class _Lines:
    """A line every now and then."""

    def __init__(self, total: int, unit: str, stream: TextIO, interval: float) -> None:
        self.total, self.unit, self.stream, self.interval = total, unit, stream, interval
        self.done, self.start = 0, time.perf_counter()
        self.told = self.start

    def __call__(self, count: int = 1) -> None:
        """Counts, and tells if it is time."""
        self.done += count
        now = time.perf_counter()
        if now - self.told >= self.interval:
            self.told = now
            rate = self.done / (now - self.start)
            print(
                f"{self.done:,} of {self.total:,} {self.unit}, {rate:,.1f} {self.unit}/s", file=self.stream, flush=True
            )
