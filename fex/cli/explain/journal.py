"""What a run of `fex-explain` has finished, input by input: `--resume` goes on where it was stopped."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fex.checks import differences
from fex.storage.atomic import replacing

__all__ = ["JOURNAL", "Journal"]

JOURNAL = ".fex-explain.jsonl"


class Journal:
    """Lines of JSON beside the results: the run's settings, then what table and gallery show of each input, in order.

    A line is written when the files of its input are there. When the run has ended, one line with its counts and a
    hash of the inputs takes the place of all these. A line that a killed process left unfinished is passed over.

    Args:
        folder: of the results.
        settings: plain data on which the results depend.
        resume: go on with the run of that folder; one that has none is begun.

    Attributes:
        counts: of the run, where it has ended; otherwise None.

    Raises:
        ValueError: the folder holds a run of other settings, or results without a journal.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self.path, self.settings = folder / JOURNAL, json.loads(json.dumps(dict(settings)))
        self.counts: dict[str, Any] | None = None
        self._digest = hashlib.sha256()
        self._ended, self._end, self._file = "", 0, None  # hash of an ended run's inputs; bytes that are whole
        self._resumed = resume and self._read_head()

    def _read_head(self) -> bool:
        head = next(self._lines(0), None)
        if head is None:
            if any((self.path.parent / name).exists() for name in ("explanations.csv", "explanations.jsonl")):
                raise ValueError(
                    f"{self.path.parent} has results, but no {JOURNAL} that says how far their run came: leave out "
                    "--resume to explain all inputs anew, or give another --output."
                )
            return False
        unlike = differences("the run's", head[0].get("settings"), self.settings)
        if unlike:
            raise ValueError(
                f"{self.path.parent} holds the results of another run ({'; '.join(unlike)}): give the settings of that "
                "run, or leave out --resume to explain all inputs anew, or give another --output."
            )
        self.counts, self._ended, self._end = head[0].get("counts"), head[0].get("inputs", ""), head[1]
        return True

    def _lines(self, start: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Whole lines from a place on, and where each ends."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                start += len(line)
                try:
                    found = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    found = None
                if not isinstance(found, dict):  # cut off: what comes after it was never written
                    return
                yield found, start

    def check(self, keys: Iterator[Any]) -> int:
        """Takes from `keys` those that are finished, and compares them; before anything is written.

        Args:
            keys: plain data that tells each input of this run from others, in order.

        Returns:
            How many are finished.

        Raises:
            ValueError: the inputs are not those of the run that is to go on.
        """
        done = 0
        for entry, _ in self._lines(self._end) if self._resumed and self.counts is None else ():
            key = next(keys, None)
            if entry["key"] != key:
                raise ValueError(
                    f"Input {done + 1} of the run in {self.path.parent} was {entry['key'][0]!r}, now it is "
                    f"{'not there' if key is None else repr(key[0])}, or its content is another: resume with the same "
                    "inputs, unchanged, or leave out --resume."
                )
            done += 1
        if self.counts is not None:
            for key in keys:
                self._add(key)
            if self._digest.hexdigest() != self._ended:
                raise ValueError(
                    f"The run in {self.path.parent} is finished, and these are not its inputs, or they have changed: "
                    "leave out --resume to explain all of them, or give another --output."
                )
        return done

    def replay(self) -> Iterator[dict[str, Any]]:
        """What is finished, in order; afterwards the journal is open for more."""
        if self._resumed:
            for entry, end in self._lines(self._end):
                self._end = end
                self._add(entry["key"])
                yield entry
            self._file = self.path.open("r+b")
            self._file.truncate(self._end)
            self._file.seek(self._end)
        else:
            self._file = self.path.open("wb")
            self._write({"settings": self.settings})

    def _add(self, key: Any) -> None:
        self._digest.update(json.dumps(key).encode())

    def _write(self, line: Mapping[str, Any]) -> None:
        file: BinaryIO | None = self._file
        assert file is not None
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()

    def append(self, key: Any, **entry: Any) -> None:
        """Notes a finished input: plain data."""
        self._add(key)
        self._write({"key": key, **entry})

    def close(self, counts: Mapping[str, Any] | None = None) -> None:
        """Ends the writing; with `counts` the run as well."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if counts is not None:
            ended = {"settings": self.settings, "counts": dict(counts), "inputs": self._digest.hexdigest()}
            with replacing(self.path) as part:
                part.write_bytes(json.dumps(ended).encode() + b"\n")
