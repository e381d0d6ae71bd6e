"""What can be told of the inputs of `fex-explain` before anything is loaded."""

import argparse
from pathlib import Path

from fex.cli.explain.arguments import refuse_text_flags
from fex.cli.explain.found_pictures import find_pictures
from fex.cli.explain.found_texts import is_text_file
from fex.cli.explain.processes import check_processes
from fex.storage.tables import Row, is_dataset

__all__ = ["check_pictures", "check_texts"]


def check_pictures(arguments: argparse.Namespace) -> int:
    """Returns the number of pictures; chooses an output folder, and tables for those that have no files.

    Raises:
        FileNotFoundError: no such picture or folder.
        ValueError: flags that do not fit the inputs, or no pictures.
    """
    arguments.output = arguments.output or Path("explanations")
    missing = [given for given in arguments.inputs if not is_dataset(given) and not Path(given).exists()]
    if missing:
        raise FileNotFoundError(f"Found no picture or folder at {', '.join(missing)}.")
    if any(Path(given).is_dir() and Path(given).resolve() == arguments.output.resolve() for given in arguments.inputs):
        raise ValueError(f"{arguments.output} is both input and output: give another --output.")
    total, rows, packed = 0, False, False
    for found in find_pictures(arguments.inputs, arguments.output, arguments.column):
        total += 1
        rows = rows or isinstance(found, Row)
        packed = packed or rows or not isinstance(found.path, Path)
    if total == 0:
        raise ValueError(
            f"Found no images in {', '.join(arguments.inputs)}: give a folder of pictures, or of parquet files or tars."
        )
    refuse_text_flags(arguments, tables=rows)
    if packed:
        arguments.formats = arguments.formats or ["parquet"]
        if arguments.formats != ["parquet"]:
            raise ValueError(
                f"--formats {','.join(arguments.formats)}: pictures of tables and tars have no files beside which to "
                "write; give --formats parquet alone."
            )
    check_processes(arguments)
    return total


def check_texts(arguments: argparse.Namespace) -> None:
    """Whether the flags fit the inputs.

    Raises:
        FileNotFoundError: no such file.
        ValueError: flags that do not fit the inputs.
    """
    files = [given for given in arguments.inputs if is_text_file(given)]
    tables = [given for given in files if not given.lower().endswith(".txt")]
    for flag, name in (("--column", arguments.column), ("--pair-column", arguments.pair_column)):
        if name is not None and not tables:
            raise ValueError(
                f"{flag} {name}: none of the inputs has columns; give a .csv, .tsv, .jsonl or .parquet file."
            )
    if arguments.window is not None and arguments.pair_column is not None:
        raise ValueError("--window with --pair-column: pairs of texts are explained whole or cut off; leave one out.")
    if arguments.window is not None and arguments.window < 0:
        raise ValueError(f"--window is {arguments.window}: windows overlap by 0 tokens or more.")
