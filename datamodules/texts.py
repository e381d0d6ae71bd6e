"""Texts for classification: files of your own, data sets of the hub, folders; single texts and pairs."""

import glob
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.base import DataModule
from datamodules.hub import load_reason
from datamodules.order import held_back
from datamodules.text_rows import TextRows
from fex.class_names import class_index
from fex.images import passed_over
from fex.texts import LONGEST_TEXT, Text, TextPreprocess, TextRecord, read_records, unfit
from fex.texts.files import text_column

__all__ = ["TextDataModule", "TextTable", "Texts"]

log = logging.getLogger("datamodules")

LONGEST_LABEL = 1_000  # characters, a name of many synonyms


class TextTable(NamedTuple):
    """Rows as they were read.

    Attributes:
        texts: texts, pairs, or lists of words.
        labels: as they stand there, or None.
        rationales: human spans of words of each text, or None.
        names: what each row is called.
        broken: names and reasons of rows that could not be read.
    """

    texts: list[Text]
    labels: list[Any] | None
    rationales: list[list[tuple[int, int]]] | None
    names: list[str]
    broken: list[tuple[str, str]]

    def part(self, rows: Sequence[int]) -> "TextTable":
        """Some of the rows."""

        def some(values: list[Any] | None) -> Any:
            return None if values is None else [values[row] for row in rows]

        return TextTable(some(self.texts), some(self.labels), some(self.rationales), some(self.names), self.broken)


class TextDataModule(DataModule, ABC):
    """Base of the text datamodules: subclasses give `read`.

    Batches hold texts of like length. Rows that cannot be read, or that have no token, are counted, named and left
    out; texts that are cut off are counted, and it is said.

    Args:
        class_names: names in label order, for labels that are names; by default those of the module.
        val_fraction: share of the training rows held back by a fixed permutation, where there is no validation part.
        num_train: use only the first so many training rows.
        num_test: use only the first so many test rows.
        batch_size: texts a step and a process.
        num_workers: loader processes.
        preprocess: the tokenizer; by default that of the module's black box.
        seed: seed of the order.
    """

    noun = "texts"

    def __init__(
        self,
        class_names: list[str] | None = None,
        val_fraction: float = 0.1,
        num_train: int | None = None,
        num_test: int | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
        preprocess: TextPreprocess | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, preprocess, seed)
        self.class_names, self.val_fraction = class_names, val_fraction
        self.num_train, self.num_test = num_train, num_test

    @abstractmethod
    def read(self, split: str) -> TextTable | None:
        """The rows of "train", "val" or "test"; None where there is no such part.

        Raises:
            FileNotFoundError: nothing there.
            ValueError: columns or labels that do not fit.
        """

    def _classes(self) -> list[str] | None:
        module = self.trainer.lightning_module if self.trainer is not None else None
        return self.class_names or getattr(module, "class_names", None)

    def _numbered(self, table: TextTable) -> list[int] | None:
        """Labels as numbers.

        Raises:
            ValueError: one that is none of the classes.
        """
        if table.labels is None:
            return None
        names, known = self._classes(), {}
        found = []
        for label, name in zip(table.labels, table.names, strict=True):
            if label not in known:
                known[label] = _number(label, names, name)
            found.append(known[label])
        return found

    def _rows(self, table: TextTable, stage: str) -> TextRows:
        try:
            labels = self._numbered(table)
        except ValueError as error:
            if self.labels_needed:
                raise
            log.warning("%s The %s data goes without labels, which nothing here needs.", error, stage)
            labels = None
        rows = TextRows(
            table.texts,
            self.preprocess,
            labels,
            table.rationales,
            table.names,
            keep_texts=stage in ("test", "predict"),
        )
        for name, reason in table.broken[:5]:
            log.warning("Skipped a text that cannot be read: %s (%s).", name, reason)
        if table.broken:
            log.warning("%d rows of the %s data could not be read and were skipped.", len(table.broken), stage)
        if rows.truncated:
            log.warning(
                "%d of %d texts of the %s data are longer than %d tokens: their last %d tokens are cut off.",
                rows.truncated, len(rows), stage, self.preprocess.max_length, rows.tokens_cut,
            )  # fmt: skip
        return rows

    def setup(self, stage: str) -> None:
        """Reads and tokenises the parts the stage needs, once."""
        if stage in ("fit", "validate") and "val" not in self.datasets:
            train, val = self.read("train") if stage == "fit" else None, self.read("val")
            if val is None:
                train = train or self.read("train")
                if train is None:
                    raise ValueError(f"{type(self).__name__} has neither validation nor training texts.")
                parts = held_back(len(train.texts), {"val": self.val_fraction})
                train, val = train.part(parts["train"]), train.part(parts["val"])
            if stage == "fit":
                if train is None:
                    raise ValueError(f"{type(self).__name__} has no training texts.")
                self.datasets["train"] = self._rows(_first(train, self.num_train), "train")
            self.datasets["val"] = self._rows(val, "val")
        if stage in ("test", "predict") and stage not in self.datasets:
            test = self.read("test")
            if test is not None:
                self.datasets[stage] = self._rows(_first(test, self.num_test), stage)


def _first(table: TextTable, count: int | None) -> TextTable:
    return table if count is None else table.part(range(min(count, len(table.texts))))


def _number(label: Any, names: list[str] | None, row: str) -> int:
    """One label as a number."""
    text = str(label).strip()
    if len(text) > LONGEST_LABEL:
        raise ValueError(f"Label {text[:20]!r}... of {row} has {len(text):,} characters, the limit is {LONGEST_LABEL}.")
    if text.lstrip("-").isdecimal() and (names is None or text not in names):
        number = int(text)
        if number < 0 or (names is not None and number >= len(names)):
            count = "no" if names is None else str(len(names))
            raise ValueError(f"Label {number} of {row} does not match the model, which has {count} classes: {names}.")
        return number
    if names is None:
        raise ValueError(f"Label {text!r} of {row} is no number: set class_names, in the order of the model's classes.")
    try:
        return class_index(text, names)
    except ValueError as error:
        raise ValueError(f"Label {text!r} of {row} does not match the model's classes: {error}") from error


class Texts(TextDataModule):
    """Files (.csv, .tsv, .jsonl, .txt), folders of .txt files by class, or a data set of the hub.

    Args:
        train: files or patterns; a folder whose sub-folders are classes of .txt files; or, with `name`, a split.
        val: the same; None holds back `val_fraction` of the training rows.
        test: the same.
        name: id of a `datasets` data set, or a local folder that `datasets.load_dataset` understands.
        config_name: which of its configurations.
        text_column: by default "text", "sentence" and the like, or the only one.
        pair_column: column of the second texts of pairs.
        label_column: None if there are no labels; a folder's labels are its sub-folders.
        **options: see `TextDataModule`.
    """

    def __init__(
        self,
        train: str | list[str] | None = None,
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        name: str | None = None,
        config_name: str | None = None,
        text_column: str | None = None,
        pair_column: str | None = None,
        label_column: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.parts = {"train": train, "val": val, "test": test}
        self.name, self.config_name = name, config_name
        self.text_column, self.pair_column, self.label_column = text_column, pair_column, label_column

    def read(self, split: str) -> TextTable | None:
        """See `TextDataModule`."""
        part = self.parts[split]
        if part is None:
            return None
        if self.name is not None:
            return self._from_hub(str(part))
        texts: list[Text] = []
        labels: list[Any] = []
        names: list[str] = []
        broken: list[tuple[str, str]] = []
        for path in _found(part):
            for record in _folder(path) if path.is_dir() else self._file(path):
                if record.text is None:
                    broken.append((record.name, record.error))
                    continue
                texts.append(record.text)
                labels.append(record.label)
                names.append(record.name)
        labelled = bool(labels) and all(label is not None for label in labels)
        return TextTable(texts, labels if labelled else None, None, names, broken)

    def _file(self, path: Path) -> Any:
        return read_records(path, column=self.text_column, pair_column=self.pair_column, label_column=self.label_column)

    def _from_hub(self, split: str) -> TextTable:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError

        try:
            data = load_dataset(self.name, self.config_name, split=split)
        except (OSError, ValueError, DatasetsError) as error:
            raise ValueError(
                f"Cannot load the split {split!r} of {self.name!r} ({load_reason(error)}). Check the id and the name "
                "of the split; without a network, give local files in `train`, `val` and `test`."
            ) from error
        source = f"{self.name} ({split})"
        column = text_column(data.column_names, self.text_column, source)
        texts: Any = list(data[column])
        if self.pair_column is not None:
            texts = list(zip(texts, data[text_column(data.column_names, self.pair_column, source)], strict=True))
        labels = None
        if self.label_column is not None:
            labels = list(data[text_column(data.column_names, self.label_column, source)])
            if all(label == -1 for label in labels):  # how the hub says that labels are kept back
                labels = None
        names = [f"row {index}" for index in range(len(texts))]
        reasons = [max(map(unfit, text if isinstance(text, tuple) else (text,))) for text in texts]
        broken = [(name, reason) for name, reason in zip(names, reasons, strict=True) if reason]
        table = TextTable(texts, labels, None, names, broken)
        return table.part([row for row, reason in enumerate(reasons) if not reason]) if broken else table


def _found(part: str | list[str]) -> list[Path]:
    paths: list[Path] = []
    for pattern in [part] if isinstance(part, str) else part:
        matches = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
        if not matches:
            raise FileNotFoundError(f"Found no file of texts at {pattern!r}.")
        paths += matches
    return paths


def _folder(root: Path) -> Any:
    found = root.glob("*/*.txt")
    files = sorted(path for path in found if not passed_over(path.name) and not passed_over(path.parent.name))
    if not files:
        raise FileNotFoundError(f"{root} has no sub-folders (classes) with .txt files.")
    for path in files:
        name = f"{path.parent.name}/{path.name}"
        if not path.is_file():  # a pipe has no end
            yield TextRecord(name, None, error="no regular file")
            continue
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(LONGEST_TEXT + 1).replace("\0", "")
        error = f"more than {LONGEST_TEXT:,} characters" if len(text) > LONGEST_TEXT else ""
        yield TextRecord(name, None if error else text, path.parent.name, error)
