"""The texts that a command line of `fex-explain` names, and what tells each from others."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fex.cli.explain.notes import text_key
from fex.storage.tables import DatasetRows, Row, Unread, is_dataset, open_dataset, parquet_rows
from fex.texts.columns import text_column
from fex.texts.files import TEXT_SUFFIXES, TextRecord, read_records, unfit

__all__ = ["as_record", "find_texts", "found_key", "is_text_file", "read_texts"]

SUFFIXES = (*TEXT_SUFFIXES, ".parquet")


def find_texts(arguments: argparse.Namespace) -> Iterator[TextRecord | Row]:
    """Rows of the files and tables and the strings, in the order given; those of tables are not read yet.

    Raises:
        ValueError: no such column, or it is not told.
    """
    number, columns = 0, (arguments.column, arguments.pair_column)
    for given in arguments.inputs:
        if not is_text_file(given):
            number += 1
            yield TextRecord(f"text {number}", given)
        elif (dataset := open_dataset(given)) is not None:
            yield from DatasetRows(dataset, Path(given).name, partial(_text_columns, columns))
        elif given.lower().endswith(".parquet"):
            rows = parquet_rows(Path(given), Path(given).name, partial(_text_columns, columns))
            yield from [TextRecord(Path(given).name, None, error=rows.reason)] if isinstance(rows, Unread) else rows
        else:
            yield from read_records(given, column=arguments.column, pair_column=arguments.pair_column)


def read_texts(arguments: argparse.Namespace) -> Iterator[TextRecord]:
    """The same, read as they are taken."""
    return map(as_record, find_texts(arguments))


def _text_columns(wanted: tuple[str | None, str | None], schema: Any, source: str) -> list[str]:
    kinds = {field.name: str(field.type) for field in schema}
    able = {name for name, kind in kinds.items() if kind in ("string", "large_string", "string_view")}
    column, pair = wanted
    found = [text_column(schema.names, column, source, able)]
    found += [] if pair is None else [text_column(schema.names, pair, source)]
    for name in found:
        if name not in able:
            raise ValueError(f"Column {name!r} of {source} holds {kinds[name]}, expected texts. Name another.")
    return found


def as_record(found: TextRecord | Row) -> TextRecord:
    """What `explain_records` takes; a row is read."""
    if isinstance(found, TextRecord):
        return found
    cells = found.read()
    if isinstance(cells, Unread):
        return TextRecord(found.name, None, error=cells.reason)
    error = next(filter(None, map(unfit, cells)), "")
    return TextRecord(found.name, None if error else cells[0] if len(cells) == 1 else cells, error=error)


def found_key(found: TextRecord | Row) -> list[Any]:
    """What tells a text from others."""
    return found.key if isinstance(found, Row) else text_key(found)


def is_text_file(given: str) -> bool:
    """Whether an argument is a file or data set of texts. A name of a file that is not there is a mistake, no text.

    Raises:
        FileNotFoundError: a file that is not there.
        ValueError: a folder, or a file of another kind.
    """
    if is_dataset(given):
        return True
    if not given.lower().endswith(SUFFIXES):
        if _exists(given):
            kind = "a folder" if Path(given).is_dir() else "a file"
            raise ValueError(f"{given} is {kind}; this explainer takes texts, and files {', '.join(SUFFIXES)}.")
        return False
    if any(character.isspace() for character in given) and not Path(given).is_file():
        return False  # "see notes.txt" is a sentence
    if not Path(given).is_file():
        raise FileNotFoundError(f"Found no file at {given}.")
    return True


def _exists(given: str) -> bool:
    try:
        return bool(given.strip()) and Path(given).exists()
    except (OSError, ValueError):  # too long for a name, or with characters that no name has
        return False
