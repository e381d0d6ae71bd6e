"""Files of texts, row by row in constant memory: .csv, .tsv, .jsonl and .txt; a broken row is told, not fatal."""

import json
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from fex.texts.columns import USUAL_COLUMNS, named_column, plain_name, text_column
from fex.texts.lines import LONGEST_ROW, decoded_lines, table_rows

__all__ = ["LONGEST_TEXT", "TEXT_SUFFIXES", "TextRecord", "read_records", "unfit"]

log = logging.getLogger(__name__)

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
DELIMITERS = ";\t,|"
LONGEST_TEXT = 2**20  # characters, a novel; far more than any model reads, and ten times more take a minute to cut up
LONGEST_INTEGER = 100  # digits; a longer one fits into no column of numbers
PEEKED = 100  # rows of a .jsonl that tell which columns there are


class TextRecord(NamedTuple):
    """One row.

    Attributes:
        name: file and line (the first, of a row with line breaks), or what the row is called.
        text: the text, or a pair of texts; None where the row is broken.
        label: as it stands there; None where there is none.
        error: why it could not be read; "" where it could.
        fields: the other columns, where the file has such.
    """

    name: str
    text: str | tuple[str, str] | None
    label: Any = None
    error: str = ""
    fields: dict[str, Any] = {}


def unfit(text: Any, what: str = "text") -> str:
    """Why something cannot be explained as a text; "" where it can.

    Args:
        text: what stands in its place.
        what: it is called.
    """
    if not isinstance(text, str):
        return f"no {what}, but {type(text).__name__}"
    return f"{what} of {len(text):,} characters, the limit is {LONGEST_TEXT:,}" if len(text) > LONGEST_TEXT else ""


def read_records(
    path: str | Path, *, column: str | None = None, pair_column: str | None = None, label_column: str | None = None
) -> Iterator[TextRecord]:
    """Rows of a file, in order.

    A .csv has a header and quoted fields; a .tsv a header and no quotes; a .jsonl an object or a string a line; a .txt
    a text a line. Files are UTF-8, or UTF-16 with a byte order mark; other bytes become the replacement character and
    are counted in a warning, NUL bytes are left out. A quote that is never closed breaks its own line alone. A column
    of another name that is taken because it is the only one is told in a warning.

    Args:
        path: the file.
        column: of the texts; by default "text", "sentence", "review", "content" or "document", or the only one. Of a
            .jsonl, one that holds a string.
        pair_column: of the second texts of pairs.
        label_column: of the labels.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: another suffix, no such column or several, or a header with another delimiter.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in TEXT_SUFFIXES:
        raise ValueError(f"{path} is no file of texts: expected one of {', '.join(TEXT_SUFFIXES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"Found no file at {path}.")
    wanted = (column, pair_column, label_column)
    if suffix in (".csv", ".tsv"):
        return _table(path, "\t" if suffix == ".tsv" else ",", *wanted)
    return _json_lines(path, *wanted) if suffix in (".jsonl", ".ndjson") else _lines(path)


def _lines(path: Path) -> Iterator[TextRecord]:
    for number, line in enumerate(decoded_lines(path), 1):
        yield _text(f"{path.name}:{number}", line.rstrip("\r\n"))


def _text(place: str, text: str) -> TextRecord:
    error = _too_long(text) or unfit(text)
    return TextRecord(place, None if error else text, error=error)


def _too_long(line: str) -> str:
    return f"a line of more than {LONGEST_ROW:,} characters" if len(line) > LONGEST_ROW else ""


def _table(
    path: Path, delimiter: str, column: str | None, pair_column: str | None, label_column: str | None
) -> Iterator[TextRecord]:
    rows = table_rows(path, delimiter)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path} is empty: expected a header with the names of its columns.")
    if first.error:
        raise ValueError(f"{path.name}:{first.start} is no header with the names of the columns: {first.error}.")
    header = first.fields
    if len(header) == 1 and header[0] != column and any(character in header[0] for character in DELIMITERS):
        raise ValueError(
            f"{path.name}: the header is one column {header[0]!r}: is the delimiter another one, or the header missing?"
            " Expected commas between the columns of a .csv, tabs in a .tsv. If this is one column, name it (--column)."
        )
    found = text_column(header, column, path.name)
    if column is None and plain_name(found) not in USUAL_COLUMNS:
        log.warning(
            "%s: took its only column, %r, for the texts. If that is a text, the file has no header: add one.",
            path.name, found,
        )  # fmt: skip
    pair, label = (
        None if name is None else text_column(header, name, path.name) for name in (pair_column, label_column)
    )
    for row in rows:
        place = f"{path.name}:{row.start}"
        if row.error:
            yield TextRecord(place, None, error=row.error)
        elif len(row.fields) != len(header):
            lines = f" (lines {row.start} to {row.end})" if row.end > row.start else ""
            yield TextRecord(place, None, error=f"{len(row.fields)} fields, the header has {len(header)}{lines}")
        else:
            yield _record(place, dict(zip(header, row.fields, strict=True)), found, pair, label)


def _record(
    place: str, values: dict[str, Any], column: str, pair_column: str | None, label_column: str | None
) -> TextRecord:
    texts = [values.get(name) for name in (column, pair_column) if name is not None]
    for name, text in zip((column, pair_column), texts, strict=False):
        if error := unfit(text, f"text in {name!r}"):
            return TextRecord(place, None, error=error)
    label = values.get(label_column) if label_column else None
    others = {key: value for key, value in values.items() if key not in (column, pair_column)}
    return TextRecord(place, texts[0] if len(texts) == 1 else tuple(texts), label, "", others)  # type: ignore[arg-type]


def _json_lines(
    path: Path, column: str | None, pair_column: str | None, label_column: str | None
) -> Iterator[TextRecord]:
    rows, names = _json_rows(path), None
    while some := list(islice(rows, PEEKED if names is None else 1)):
        objects = [values for _, values in some if isinstance(values, dict)]
        if names is None and objects:
            names = _json_names(path.name, objects, column, pair_column, label_column)
        for place, values in some:
            if isinstance(values, dict) and names is not None:
                yield _record(place, values, *names)
            elif isinstance(values, TextRecord):
                yield values


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | TextRecord]]:
    """Place of each line, and its object or what is known without the names of the columns."""
    for number, line in enumerate(decoded_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path.name}:{number}"
        try:
            if error := _too_long(line):
                raise ValueError(error)
            values = json.loads(line, parse_int=_integer)
        except RecursionError:
            yield place, TextRecord(place, None, error="no JSON: nested too deep")
            continue
        except ValueError as error:
            yield place, TextRecord(place, None, error=f"no JSON: {error}")
            continue
        if isinstance(values, dict):
            yield place, values
        elif isinstance(values, str):
            yield place, _text(place, values)
        else:
            reason = f"{type(values).__name__}, expected an object or a string"
            yield place, TextRecord(place, None, error=reason)


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(digits):,} digits, the limit is {LONGEST_INTEGER}")
    return int(digits)


def _json_names(
    source: str, objects: list[dict[str, Any]], column: str | None, pair_column: str | None, label_column: str | None
) -> tuple[str, str | None, str | None]:
    """The columns as they stand in the first objects; one that none of them has is a mistake, not a broken row."""
    columns = list(dict.fromkeys(key for values in objects for key in values))
    texts = {key for values in objects for key, value in values.items() if isinstance(value, str)}
    found = text_column(columns, column, source, texts)
    if column is None and plain_name(found) not in USUAL_COLUMNS:
        log.warning("%s: took its only column, %r, for the texts.", source, found)
    pair = None if pair_column is None else text_column(columns, pair_column, source)
    # Labels may be missing from all: such texts have none.
    label = None if label_column is None else named_column(columns, label_column, source)
    return found, pair, label_column if label is None else label
