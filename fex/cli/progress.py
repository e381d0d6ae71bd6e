"""Progress of a long run: a bar of one line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

__all__ = ["INTERVAL", "Advance", "progress"]

INTERVAL = 10.0  # seconds between plain lines


class Advance(Protocol):
    """Counts `count` more instances; `free` ones took no time, and those that come first say nothing of the rest."""

    def __call__(self, count: int = 1, *, free: bool = False) -> None: ...


@contextmanager
def progress(
    total: int | None,
    unit: str,
    *,
    what: str = "",
    stream: TextIO | None = None,
    interval: float = INTERVAL,
    note: Callable[[], str] | None = None,
) -> Iterator[Advance]:
    """Shows done, total, rate and time left.

    Args:
        total: instances expected, where that is known.
        unit: their name, in the plural.
        what: a word on what is done, before all else.
        stream: by default standard error.
        interval: seconds between plain lines; the last instance always has one.
        note: what else to show, asked anew each time, also while one instance takes long.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        lines = _Lines(total, unit, what, stream, interval, note)
        with lines.meanwhile():
            yield lines
        return
    kept = [Column(no_wrap=True) for _ in range(4)]  # the note alone gives way where the terminal is narrow
    columns = (
        BarColumn(bar_width=10, table_column=kept[0]),
        MofNCompleteColumn(table_column=kept[1]),
        _Shown(lambda task: _rate(task.finished_speed or task.speed or 0, unit), table_column=kept[2]),
        TimeRemainingColumn(table_column=kept[3]),
        _Shown(lambda task: note() if note else ""),
    )
    with Progress(*([what] if what else []), *columns, console=Console(file=stream)) as bar:
        task = bar.add_task("", total=total)

        def advance(count: int = 1, *, free: bool = False) -> None:  # noqa: ARG001 the bar looks at the last seconds
            bar.update(task, advance=count)

        yield advance


class _Shown(ProgressColumn):
    """A text of the task, cut where it does not fit."""

    def __init__(self, text: Callable[[Task], str], table_column: Column | None = None) -> None:
        super().__init__(table_column)
        self.text = text

    def render(self, task: Task) -> Text:
        return Text(self.text(task), no_wrap=True, overflow="ellipsis")


class _Lines:
    """A line every now and then."""

    def __init__(
        self, total: int | None, unit: str, what: str, stream: TextIO, interval: float, note: Callable[[], str] | None
    ) -> None:
        self.total, self.unit, self.stream, self.interval, self.note = total, unit, stream, interval, note
        self.what = f"{what}: " if what else ""
        self.done, self.skipped, self.start = 0, 0, time.perf_counter()
        self.told = self.start

    def __call__(self, count: int = 1, *, free: bool = False) -> None:
        """Counts, and tells if it is time."""
        now = time.perf_counter()
        if free and self.done == self.skipped:  # nothing was done yet: what is finished says nothing of the rest
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
            while not over.wait(max(self.interval, 0.01)):
                self._tell(time.perf_counter())

        ticker = Thread(target=tick, name="progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            over.set()
            ticker.join()

    def _tell(self, now: float) -> None:
        if now - self.told < self.interval and self.done != self.total:
            return
        self.told = now
        # Later ones that are free count: of the rest as many will be.
        rate = (self.done - self.skipped) / max(now - self.start, 1e-9)
        text = f"{self.what}{self.done:,}{'' if self.total is None else f' of {self.total:,}'} {self.unit}"
        if rate > 0:
            text += f", {_rate(rate, self.unit)}"
            if self.total is not None and self.done < self.total:
                text += f", {_duration((self.total - self.done) / rate)} left"
        note = self.note() if self.note else ""
        print(f"{text}, {note}" if note else text, file=self.stream, flush=True)


def _rate(value: float, unit: str) -> str:
    """Instances a second."""
    return f"{value:,.1f} {unit}/s" if value >= 1 else f"{value:.2g} {unit}/s" if value else ""


def _duration(seconds: float) -> str:
    """As h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
