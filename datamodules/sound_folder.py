"""A folder of sound clips with a table of labels and one of labelled intervals: the form of Coswara and DiCOVA."""

import csv
from pathlib import Path
from typing import Any

from datamodules.order import held_back
from datamodules.sound import Clip, SoundDataModule
from fex.sounds import AUDIO_SUFFIXES, LogMel

__all__ = ["SoundFolder"]


class SoundFolder(SoundDataModule):
    """Clips of classes, perhaps with events in them that were annotated by hand.

    Without tables (`labels` null) each folder below the root is a class; clips that lie in the root itself have none.
    ``labels.csv`` has the columns file and label (a name), and perhaps split (train, val or test).
    ``annotations.csv`` has file, start, end (seconds) and event, such as cough, inhale or silence; one row an interval.
    The ground truth of a clip are its intervals of the chosen event; a clip without any has an empty mask.

    Args:
        root: the folder.
        event: whose intervals are the ground truth; None where there are no annotations: no clip then has an interval.
        seconds: every clip is cut, or continued by silence, to this length.
        labels: table of labels; None where folders are the classes.
        annotations: table of intervals.
        log_mel: makes the spectrograms.
        val_fraction: share held back for validation, where labels.csv has no split.
        test_fraction: share held back for the test, where it has none.
        split_seed: seed of the split.
        waveforms: batches carry the sound too.
        **options: see `ImageDataModule`.
    """

    def __init__(
        self,
        root: str,
        event: str | None,
        seconds: float,
        labels: str | None = "labels.csv",
        annotations: str = "annotations.csv",
        log_mel: LogMel | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        *,
        waveforms: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, seconds, log_mel, waveforms=waveforms, **options)
        self.event, self.labels, self.annotations = event, labels, annotations
        self.fractions, self.split_seed = {"val": val_fraction, "test": test_fraction}, split_seed

    def _rows(self, name: str, columns: set[str]) -> list[dict[str, str]]:
        path = Path(self.root) / name
        if not path.is_file():
            raise FileNotFoundError(f"Found no {path}: it should have the columns {', '.join(sorted(columns))}.")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        missing = columns - set(rows[0] if rows else {})
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}, or no rows.")
        for line, row in enumerate(rows, 2):
            if short := [name for name in ("file", "label", "event", "split") if name in row and not row[name]]:
                raise ValueError(f"{path} line {line} has no {', '.join(short)}: is it cut off?")
        return rows

    def _in_folders(self) -> list[dict[str, str]]:
        """The clips below the root, each with the folder that it is in on the first level, "" in the root itself."""
        root = Path(self.root)
        files = [path.relative_to(root) for path in root.rglob("*") if path.name.lower().endswith(AUDIO_SUFFIXES)]
        if not files:
            raise FileNotFoundError(f"Found no sounds in {root}: expected files {', '.join(AUDIO_SUFFIXES)}.")
        return [{"file": each.as_posix(), "label": each.parts[0] if len(each.parts) > 1 else ""} for each in files]

    def _intervals(self, files: set[str]) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        if self.event is None:
            return found
        rows = self._rows(self.annotations, {"file", "start", "end", "event"})
        events = sorted({row["event"] for row in rows})
        if self.event not in events:
            raise ValueError(f"{self.annotations} has no event {self.event!r}; it has {', '.join(events)}.")
        for number, row in enumerate(rows, 2):
            if row["file"] not in files:
                raise ValueError(f"{self.annotations} line {number} names {row['file']!r}, which has no label.")
            if row["event"] == self.event:
                found.setdefault(row["file"], []).append(self._interval(row, number))
        return found

    def _interval(self, row: dict[str, str], line: int) -> tuple[float, float]:
        try:
            start, end = float(row["start"]), float(row["end"])
        except (TypeError, ValueError):  # None, where the line is cut off
            start, end = 1.0, 0.0
        if not 0 <= start <= end < float("inf"):  # NaN fails too
            raise ValueError(
                f"{self.annotations} line {line} has an interval from {row['start']!r} to {row['end']!r}, expected "
                "seconds with 0 <= start <= end."
            )
        return start, end

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Reads both tables, once.

        Raises:
            FileNotFoundError: a table is missing.
            ValueError: a column, the event or a label is missing.
        """
        if self.datasets:
            return
        found = self._in_folders() if self.labels is None else self._rows(self.labels, {"file", "label"})
        rows = sorted(found, key=lambda row: row["file"])
        names = sorted({row["label"] for row in rows})
        self.class_names = None if "" in names else names
        intervals = self._intervals({row["file"] for row in rows})
        clips = [
            Clip(row["file"], None if "" in names else names.index(row["label"]), tuple(intervals.get(row["file"], ())))
            for row in rows
        ]
        if "split" in rows[0]:
            parts: dict[str, list[int]] = {}
            for number, row in enumerate(rows):
                parts.setdefault(row["split"], []).append(number)
            unknown = sorted(set(parts) - {"train", "val", "test"})
            if unknown:
                raise ValueError(f"{self.labels} has split {', '.join(unknown)}, expected train, val and test.")
        else:
            parts = held_back(len(clips), self.fractions, self.split_seed)
        for part, chosen in parts.items():
            if chosen:
                self.datasets[part] = self._table([clips[number] for number in chosen])
