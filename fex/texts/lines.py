"""Lines of files of texts, decoded, and rows of tables, where an open quote costs its own line alone."""

import codecs
import csv
import logging
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

__all__ = ["LONGEST_ROW", "TableRow", "decoded_lines", "table_rows"]

log = logging.getLogger(__name__)

LONGEST_ROW = (
    2**22
)  # characters of a line, or of a row with line breaks, a long novel; more are taken for an open quote
REREADS = 20  # times that the lines are read on average, at most, however many quotes are open
ESCAPED = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of bytes that are not UTF-8


def decoded_lines(path: Path) -> Iterator[str]:
    """Lines with their ends, without NUL bytes: UTF-8, or UTF-16 where a byte order mark says so.

    Other bytes become the replacement character; a warning counts the lines that have such. Of a line that is longer
    than `LONGEST_ROW`, so many characters and one more are given, and the rest is passed over.
    """
    with path.open("rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    count = first = 0
    try:
        with path.open(encoding=encoding, errors=errors, newline="") as file:
            for number, line in enumerate(_bounded(file), 1):
                if not line.isascii() and ESCAPED.search(line):
                    count, first = count + 1, first or number
                    line = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield line.replace("\0", "")
    finally:  # also where the reader has enough before the end
        if count:
            log.warning(
                "%d %s of %s %s bytes that are not UTF-8, the first is line %d: they are read as \ufffd. "
                "Save the file as UTF-8.",
                count, "line" if count == 1 else "lines", path.name, "holds" if count == 1 else "hold", first,
            )  # fmt: skip


def _bounded(file: TextIO) -> Iterator[str]:
    """Lines, of a too long one its start."""
    kept = ""  # of the next line, read already

    def piece() -> str:
        nonlocal kept
        line, kept = kept + file.readline(LONGEST_ROW + 1), ""
        if len(line) > LONGEST_ROW and line.endswith("\r"):  # its line feed may lie beyond what was read
            kept = file.read(1)
            if kept == "\n":
                line, kept = line + kept, ""
        return line

    while line := piece():
        yield line
        while len(line) > LONGEST_ROW and not line.endswith(("\n", "\r")):
            rest = piece()
            if not rest or rest.endswith(("\n", "\r")):
                break


class TableRow(NamedTuple):
    """One row of a table.

    Attributes:
        start: its first line, from 1.
        end: its last line.
        fields: empty where it is broken.
        error: why it is broken; "" where it is not.
    """

    start: int
    end: int
    fields: list[str]
    error: str = ""


class _Lines:
    """Lines one by one; those that an open quote has swallowed can be given back."""

    def __init__(self, path: Path) -> None:
        self.lines, self.returned = decoded_lines(path), deque[str]()
        self.row: list[str] = []
        self.number = self.read = self.size = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.row and self.size > LONGEST_ROW:
            raise csv.Error(f"more than {LONGEST_ROW:,} characters")
        line = self.returned.popleft() if self.returned else next(self.lines)
        self.row.append(line)
        self.number, self.read, self.size = self.number + 1, self.read + 1, self.size + len(line)
        if len(line) > LONGEST_ROW:
            raise csv.Error(f"a line of more than {LONGEST_ROW:,} characters")
        return line

    def start_row(self) -> int:
        """Number of the line that the next row begins with."""
        self.row, self.size = [], 0
        return self.number + 1

    def give_back(self) -> str:
        """Gives back all lines of the row but its first; what to say of them."""
        swallowed, end = self.row[1:], self.number
        if not swallowed:
            return ""
        again = self.read <= REREADS * end
        if again:
            self.returned.extendleft(reversed(swallowed))
            self.number -= len(swallowed)
        what = "read as rows of their own" if again else "left out"
        return f"; a quote is not closed and takes {len(swallowed):,} more lines, to line {end}, which are {what}"


def table_rows(path: Path, delimiter: str) -> Iterator[TableRow]:
    """Rows of a table that are not blank, the header first; tabs go without quotes.

    Args:
        path: the file.
        delimiter: between fields.
    """
    csv.field_size_limit(2 * LONGEST_ROW + 2)  # never reached; Python's own, 131,072, is less than a long text
    lines = _Lines(path)
    # Strict, so that a quote that is never closed is an error of its row.
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    while True:
        start = lines.start_row()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            end = lines.number
            yield TableRow(start, end, [], f"broken row: {error}{lines.give_back()}")
            continue
        if fields:
            yield TableRow(start, lines.number, fields)
