"""Files of texts, row by row in constant memory: .csv, .tsv, .jsonl and .txt; a broken row is told, not fatal."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["TEXT_SUFFIXES", "TextRecord", "read_records", "text_column"]

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
USUAL_COLUMNS = ("text", "sentence", "review", "content", "document")
LONGEST_FIELD = 2**30  # characters; Python's own limit of 131,072 is less than a long text


class TextRecord(NamedTuple):
    """One row.

    Attributes:
        name: file and line, or what the row is called.
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


def text_column(columns: list[str], wanted: str | None, source: str) -> str:
    """The column of texts: the wanted one, one of a usual name, or the only one.

    Raises:
        ValueError: there is none; lists the columns.
    """
    if wanted is not None and wanted not in columns:
        raise ValueError(f"{source} has no column {wanted!r}; it has {columns}. Name one of these.")
    found = wanted or next((name for name in USUAL_COLUMNS if name in columns), None)
    if found is None and len(columns) != 1:
        raise ValueError(f"{source} does not say which column holds the texts; it has {columns}. Name one (--column).")
    return found or columns[0]


def read_records(
    path: str | Path, *, column: str | None = None, pair_column: str | None = None, label_column: str | None = None
) -> Iterator[TextRecord]:
    """Rows of a file, in order.

    A .csv has a header and quoted fields; a .tsv a header and no quotes; a .jsonl an object or a string a line; a .txt
    a text a line. Files are UTF-8; other bytes become the replacement character, NUL bytes are left out.

    Args:
        path: the file.
        column: of the texts; by default "text", "sentence", "review", "content" or "document", or the only one.
        pair_column: of the second texts of pairs.
        label_column: of the labels.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: another suffix, or no such column.
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


def _clean_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for line in file:
            yield line.replace("\0", "")


def _lines(path: Path) -> Iterator[TextRecord]:
    for number, line in enumerate(_clean_lines(path), 1):
        yield TextRecord(f"{path.name}:{number}", line.rstrip("\r\n"))


def _table(
    path: Path, delimiter: str, column: str | None, pair_column: str | None, label_column: str | None
) -> Iterator[TextRecord]:
    csv.field_size_limit(LONGEST_FIELD)
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    # Strict, so that a quote that is never closed is an error of its row.
    reader = csv.reader(_clean_lines(path), delimiter=delimiter, quoting=quoting, strict=True)
    header = next(reader, None)
    if not header:
        raise ValueError(f"{path} is empty: expected a header with the names of its columns.")
    names = (text_column(header, column, path.name), pair_column, label_column)
    for name in names[1:]:
        if name is not None:
            text_column(header, name, path.name)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield TextRecord(f"{path.name}:{reader.line_num}", None, error=f"broken row: {error}")
            continue
        if not row:
            continue
        place = f"{path.name}:{reader.line_num}"
        if len(row) != len(header):
            yield TextRecord(place, None, error=f"{len(row)} fields, the header has {len(header)}")
            continue
        yield _record(place, dict(zip(header, row, strict=True)), *names)


def _record(
    place: str, values: dict[str, Any], column: str, pair_column: str | None, label_column: str | None
) -> TextRecord:
    texts = [values.get(name) for name in (column, pair_column) if name is not None]
    for name, text in zip((column, pair_column), texts, strict=False):
        if not isinstance(text, str):
            return TextRecord(place, None, error=f"no text in {name!r}, but {type(text).__name__}")
    label = values.get(label_column) if label_column else None
    others = {key: value for key, value in values.items() if key not in (column, pair_column)}
    return TextRecord(place, texts[0] if len(texts) == 1 else tuple(texts), label, "", others)  # type: ignore[arg-type]


def _json_lines(
    path: Path, column: str | None, pair_column: str | None, label_column: str | None
) -> Iterator[TextRecord]:
    found = column
    for number, line in enumerate(_clean_lines(path), 1):
        if not line.strip():
            continue
        place = f"{path.name}:{number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            yield TextRecord(place, None, error=f"no JSON: {error}")
            continue
        if isinstance(values, str):
            yield TextRecord(place, values)
            continue
        if not isinstance(values, dict):
            yield TextRecord(place, None, error=f"{type(values).__name__}, expected an object or a string")
            continue
        if found is None or number == 1:  # a column that not even the first row has is a mistake, not a broken row
            found = text_column(list(values), column, path.name)
        yield _record(place, values, found, pair_column, label_column)
