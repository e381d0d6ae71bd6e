"""Progress of a long run: a bar on a terminal, plain lines elsewhere; on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

__all__ = ["Advance", "progress"]

INTERVAL = 10.0  # seconds between plain lines


class Advance(Protocol):
    """Counts `count` more instances; `free` ones took no time, and those that come first say nothing of the rest."""

    def __call__(self, count: int = 1, *, free: bool = False) -> None: ...


@contextmanager
def progress(
    total: int | None,
    unit: str,
    *,
    stream: TextIO | None = None,
    interval: float = INTERVAL,
    note: Callable[[], str] | None = None,
) -> Iterator[Advance]:
    """Shows done, total, rate and time left.

    Args:
        total: instances expected, where that is known.
        unit: their name, in the plural.
        stream: by default standard error.
        interval: seconds between plain lines.
        note: what else to show, asked anew each time, also while one instance takes long.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        lines = _Lines(total, unit, stream, interval, note)
        with lines.meanwhile():
            yield lines
        return
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn(), _Note(note))
    with Progress(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task("", total=total)

        def advance(count: int = 1, *, free: bool = False) -> None:  # noqa: ARG001 the bar looks at the last seconds
            bar.update(task, advance=count)

        yield advance


class _Rate(ProgressColumn):
    """Instances a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {self.unit}/s" if speed else "")


class _Note(ProgressColumn):
    """What else there is to say."""

    def __init__(self, note: Callable[[], str] | None) -> None:
        super().__init__()
        self.note = note

    def render(self, task: Task) -> Text:  # noqa: ARG002 it is not the task's
        return Text(self.note() if self.note else "")


class _Lines:
    """A line every now and then."""

    def __init__(
        self, total: int | None, unit: str, stream: TextIO, interval: float, note: Callable[[], str] | None = None
    ) -> None:
        self.total, self.unit, self.stream, self.interval, self.note = total, unit, stream, interval, note
        self.done, self.skipped, self.start = 0, 0, time.perf_counter()
        self.told = self.start

    def __call__(self, count: int = 1, *, free: bool = False) -> None:
        """Counts, and tells if it is time."""
        now = time.perf_counter()
        if (
            free and self.done == self.skipped
        ):  # nothing was done yet: what is finished already says nothing of the rest
            self.skipped, self.start = self.skipped + count, now
        self.done += count
        self._tell(now)

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Goes on telling while nothing is counted, where there is a note to tell."""
        if self.note is None:
            yield
            return
        over = Event()

        def tick() -> None:
            while not over.wait(self.interval):
                self._tell(time.perf_counter())

        ticker = Thread(target=tick, name="progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()

    def _tell(self, now: float) -> None:
        if now - self.told < self.interval:
            return
        self.told = now
        # Later ones that are free count: of the rest as many will be.
        rate = (self.done - self.skipped) / max(now - self.start, 1e-9)
        text = f"{self.done:,}{'' if self.total is None else f' of {self.total:,}'} {self.unit}"
        if rate > 0:
            text += f", {rate:,.1f} {self.unit}/s"
            if self.total is not None:
                text += f", {_duration(max(0, self.total - self.done) / rate)} left"
        note = self.note() if self.note else ""
        print(f"{text}, {note}" if note else text, file=self.stream, flush=True)


def _duration(seconds: float) -> str:
    """As h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
