"""`fex-explain` on texts: strings, and files of texts of any size."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fex.atomic import claimed
from fex.cli.explain_arguments import tell_earlier_results
from fex.text_files import TEXT_SUFFIXES, TextRecord, read_records

if TYPE_CHECKING:
    from fex.report.text_folder import TextResultFolder
    from fex.text_explainer import AmortizedTextExplainer

__all__ = ["TextSummary", "check_texts", "run_texts"]

SHOWN = 20  # texts in the terminal


@dataclass
class TextSummary:
    """What a run did.

    Attributes:
        explained: texts with results.
        skipped: texts without.
        truncated: texts that were cut off.
        tokens_cut: tokens that were left out in them.
        named: the first few of the skipped, with reasons.
        seconds: wall time after loading.
        output: folder of the results; None where there is none.
    """

    explained: int = 0
    skipped: int = 0
    truncated: int = 0
    tokens_cut: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    output: Path | None = None

    def __str__(self) -> str:
        rate = (self.explained + self.skipped) / self.seconds if self.seconds else 0.0
        unit = "text" if self.explained == 1 else "texts"
        text = f"explained {self.explained:,} {unit} in {self.seconds:.1f} s ({rate:.1f} texts/s)"
        if self.truncated:
            text += (
                f"\nlonger than the explainer reads: {self.truncated:,}, whose last {self.tokens_cut:,} tokens were "
                "cut off (--window explains them whole)"
            )
        if self.skipped:
            where = "" if self.output is None else f" (all in {self.output / 'skipped.csv'})"
            text += f"\nskipped {self.skipped:,} that could not be explained{where}:"
            text += "".join(f"\n  {name}: {reason}" for name, reason in self.named)
        return text if self.output is None else f"{text}\nresults: {self.output}"


def _records(inputs: list[str], arguments: argparse.Namespace) -> Iterator[TextRecord]:
    """Rows of the files and the strings, in the order given."""
    number = 0
    for given in inputs:
        if _is_file(given):
            yield from read_records(given, column=arguments.column, pair_column=arguments.pair_column)
        else:
            number += 1
            yield TextRecord(f"text {number}", given)


def _is_file(given: str) -> bool:
    """Whether an argument is a file of texts; a name with such a suffix that is not there is a mistake, not a text.

    Raises:
        FileNotFoundError: a file that is not there.
        ValueError: a folder, or a file of another kind.
    """
    if not given.lower().endswith(TEXT_SUFFIXES):
        if _exists(given):
            kind = "a folder" if Path(given).is_dir() else "a file"
            raise ValueError(f"{given} is {kind}; this explainer takes texts, and files {', '.join(TEXT_SUFFIXES)}.")
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


def check_texts(arguments: argparse.Namespace) -> None:
    """What can be told before anything is loaded.

    Raises:
        FileNotFoundError: no such file.
        ValueError: flags that do not fit the inputs.
    """
    files = [given for given in arguments.inputs if _is_file(given)]
    tables = [given for given in files if not given.lower().endswith(".txt")]
    for flag, name in (("--column", arguments.column), ("--pair-column", arguments.pair_column)):
        if name is not None and not tables:
            raise ValueError(f"{flag} {name}: none of the inputs has columns; give a .csv, .tsv or .jsonl file.")
    if arguments.window is not None and arguments.pair_column is not None:
        raise ValueError("--window with --pair-column: pairs of texts are explained whole or cut off; leave one out.")
    if arguments.window is not None and arguments.window < 0:
        raise ValueError(f"--window is {arguments.window}: windows overlap by 0 tokens or more.")


def _tell(stream: Iterable[Any], summary: TextSummary, results: "TextResultFolder | None" = None) -> None:
    """Counts, shows and stores what comes."""
    from rich.console import Console

    from fex.report.text import terminal_text

    console = Console()
    for record, found in stream:
        if isinstance(found, str):
            summary.skipped += 1
            if len(summary.named) < 3:
                summary.named.append((record.name, found))
            if results is not None:
                results.skip(record.name, found)
            continue
        summary.explained += 1
        summary.truncated += found[0].cut > 0
        summary.tokens_cut += found[0].cut
        if results is not None:
            results.add(found)
        if summary.explained <= SHOWN:
            for explanation in found:
                console.print(terminal_text(explanation))
        elif summary.explained == SHOWN + 1:
            print("... (the others are in the results alone)", file=sys.stderr)


def run_texts(explainer: "AmortizedTextExplainer", box: Any, arguments: argparse.Namespace) -> TextSummary:
    """Explains the strings and files of a command line.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such column or format; nothing that can be explained.
        OSError: results that cannot be written.
    """
    from fex.report.text_folder import TEXT_FORMATS, TextResultFolder, check_formats
    from fex.text_streaming import explain_records

    files = any(map(_is_file, arguments.inputs))
    output = arguments.output or (Path("explanations") if files else None)  # strings alone are shown, not stored
    formats = arguments.formats or list(TEXT_FORMATS)
    check_formats(formats)
    note = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    summary = TextSummary(output=output)
    for given in filter(_is_file, arguments.inputs):  # a wrong column of the last file stops the run before the first
        next(read_records(given, column=arguments.column, pair_column=arguments.pair_column), None)
    start = time.perf_counter()
    stream = explain_records(
        explainer,
        _records(arguments.inputs, arguments),
        target=arguments.target,
        top_k=arguments.top_k,
        batch_size=arguments.batch_size,
        window=arguments.window,
        black_box=box,
    )
    first = list(islice(stream, 1))  # what is wrong is told before the results of an earlier run are written over
    if output is None:
        _tell(chain(first, stream), summary)
    else:
        tell_earlier_results(output)
        with claimed(output), TextResultFolder(output, formats=formats, note=note) as results:
            _tell(chain(first, stream), summary, results)
    summary.seconds = time.perf_counter() - start
    return summary
