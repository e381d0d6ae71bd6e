"""`fex-explain` on texts: strings, and files of texts of any size."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fex.cli.explain.arguments import tell_earlier_results
from fex.cli.explain.journal import Journal
from fex.cli.explain.measured import Measured
from fex.cli.explain.notes import own_class_note, resume_settings, text_key
from fex.storage.atomic import claimed
from fex.texts.files import TEXT_SUFFIXES, TextRecord, read_records

if TYPE_CHECKING:
    from fex.explainers.texts import AmortizedTextExplainer
    from fex.report.text_folder import TextResultFolder

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
        flat: maps whose scores hardly differ.
        note: what to know of the classes.
        done: texts that an earlier run had finished.
        measured: what was asked about the maps, and how faithful they are.
    """

    explained: int = 0
    skipped: int = 0
    truncated: int = 0
    tokens_cut: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    output: Path | None = None
    flat: int = 0
    note: str = ""
    done: int = 0
    measured: Measured = field(default_factory=Measured)

    def __str__(self) -> str:
        new = self.explained + self.skipped - self.done
        rate = new / self.seconds if self.seconds else 0.0
        unit = "text" if self.explained == 1 else "texts"
        text = f"explained {self.explained:,} {unit}"
        if self.done:
            text += f" ({self.done:,} of all were finished before)"
        if new:
            text += f" in {self.seconds:.1f} s ({rate:.1f} texts/s)"
        if self.flat:
            text += f"\nmaps that are nearly flat and say little: {self.flat:,}"
        if self.truncated:
            text += (
                f"\nlonger than the explainer reads: {self.truncated:,}, whose last {self.tokens_cut:,} tokens were "
                "cut off (--window explains them whole)"
            )
        if self.skipped:
            where = "" if self.output is None else f" (all in {self.output / 'skipped.csv'})"
            text += f"\nskipped {self.skipped:,} that could not be explained{where}:"
            text += "".join(f"\n  {name}: {reason}" for name, reason in self.named)
        text += str(self.measured)
        if self.note:
            text += f"\n{self.note}"
        return text if self.output is None else f"{text}\nresults: {self.output}"

    def count(self, name: str, skipped: str | None, cut: int = 0, flat: int = 0) -> None:
        """Counts one text, explained or skipped for a reason."""
        if skipped is not None:
            self.skipped += 1
            if len(self.named) < 3:
                self.named.append((name, skipped))
            return
        self.explained += 1
        self.truncated += cut > 0
        self.tokens_cut += cut
        self.flat += flat


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
    if arguments.refine_total is not None:
        raise ValueError("--refine-total is for pictures; texts: leave it out, or use fex.refine.spend in Python.")
    files = [given for given in arguments.inputs if _is_file(given)]
    tables = [given for given in files if not given.lower().endswith(".txt")]
    for flag, name in (("--column", arguments.column), ("--pair-column", arguments.pair_column)):
        if name is not None and not tables:
            raise ValueError(f"{flag} {name}: none of the inputs has columns; give a .csv, .tsv or .jsonl file.")
    if arguments.window is not None and arguments.pair_column is not None:
        raise ValueError("--window with --pair-column: pairs of texts are explained whole or cut off; leave one out.")
    if arguments.window is not None and arguments.window < 0:
        raise ValueError(f"--window is {arguments.window}: windows overlap by 0 tokens or more.")


def _replay(journal: Journal, summary: TextSummary, results: "TextResultFolder") -> None:
    """Adds what a stopped run had finished."""
    from fex.report.text_folder import WrittenText

    for entry in journal.replay():
        name, reason = entry["key"][0], entry.get("skip")
        summary.count(name, reason, entry.get("cut", 0), entry.get("flat", 0))
        if reason is not None:
            results.skip(name, reason)
            continue
        results.add_written(WrittenText.of(entry))
        summary.measured.add(name, entry.get("fidelity"))


def _tell(
    stream: Iterable[Any],
    summary: TextSummary,
    results: "TextResultFolder | None" = None,
    journal: Journal | None = None,
) -> None:
    """Counts, shows and stores what comes."""
    from rich.console import Console

    from fex.report.fidelity import least_fidelity
    from fex.report.text import terminal_text

    console = Console()
    for record, found in stream:
        if isinstance(found, str):
            summary.count(record.name, found)
            if results is not None and journal is not None:
                results.skip(record.name, found)
                journal.append(text_key(record), skip=found)
            continue
        summary.count(record.name, None, found[0].cut, sum(each.flat for each in found))
        fidelity = least_fidelity(found)
        summary.measured.add(record.name, fidelity)
        if results is not None and journal is not None:
            written = results.add(found)
            journal.append(text_key(record), cut=found[0].cut, fidelity=fidelity, **written.to_dict())
        if summary.explained <= SHOWN:
            for explanation in found:
                console.print(terminal_text(explanation))
        elif summary.explained == SHOWN + 1:
            print("... (the others are in the results alone)", file=sys.stderr)


def run_texts(
    explainer: "AmortizedTextExplainer", box: Any, arguments: argparse.Namespace, checkpoint: Any
) -> TextSummary:
    """Explains the strings and files of a command line.

    Args:
        explainer: trained.
        box: asked too, where there is one.
        arguments: of the command line.
        checkpoint: what the explainer was built of, for `--resume`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such column or format; nothing that can be explained.
        OSError: results that cannot be written.
    """
    from fex.report.text_folder import TEXT_FORMATS, check_formats

    files = any(map(_is_file, arguments.inputs))
    output = arguments.output or (Path("explanations") if files else None)  # strings alone are shown, not stored
    formats = arguments.formats or list(TEXT_FORMATS)
    if arguments.no_gallery:
        formats = [name for name in formats if name != "html"]
    check_formats(formats)
    if arguments.resume and output is None:
        raise ValueError("--resume goes on in a folder of results, and strings alone are shown: give --output.")
    with nullcontext() if output is None else claimed(output):
        return _run_texts(explainer, box, arguments, checkpoint, output, formats)


def _run_texts(
    explainer: "AmortizedTextExplainer",
    box: Any,
    arguments: argparse.Namespace,
    checkpoint: Any,
    output: Path | None,
    formats: Sequence[str],
) -> TextSummary:
    """What is left to do of a run whose output folder is this process's alone."""
    from fex.explainers.text_stream import explain_records
    from fex.report.text_folder import TextResultFolder

    note = f"{explainer.method} explains {explainer.black_box} · {explainer.removal} removal · {arguments.checkpoint}"
    summary = TextSummary(output=output, note=own_class_note(explainer, box, arguments))
    note += f" · {summary.note}" if summary.note else ""
    journal = None
    if output is not None:
        journal = Journal(output, resume_settings(arguments, checkpoint, box), resume=arguments.resume)
        summary.done = journal.check(map(text_key, _records(arguments.inputs, arguments)))
        if journal.counts is not None:
            return replace(summary, **{**journal.counts, "measured": Measured.of(journal.counts.get("measured"))})
    for given in filter(_is_file, arguments.inputs):  # a wrong column of the last file stops the run before the first
        next(read_records(given, column=arguments.column, pair_column=arguments.pair_column), None)
    start = time.perf_counter()
    stream = explain_records(
        explainer,
        islice(_records(arguments.inputs, arguments), summary.done, None),
        target=arguments.target,
        top_k=arguments.top_k,
        batch_size=arguments.batch_size,
        window=arguments.window,
        black_box=box,
    )
    first = list(islice(stream, 1))  # what is wrong is told before the results of an earlier run are written over
    if output is None or journal is None:
        _tell(chain(first, stream), summary)
    else:
        if not arguments.resume:
            tell_earlier_results(output)
        with TextResultFolder(output, formats=formats, note=note) as results, closing(journal):
            _replay(journal, summary, results)
            _tell(chain(first, stream), summary, results, journal)
        keys = ("explained", "skipped", "truncated", "tokens_cut", "named", "flat")
        every = summary.explained + summary.skipped
        counts = {key: getattr(summary, key) for key in keys}
        journal.close({**counts, "done": every, "measured": summary.measured.to_dict()})
    summary.seconds = time.perf_counter() - start
    return summary
