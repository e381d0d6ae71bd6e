"""What all data modules of texts share: a table a split, labels as numbers, rows of ids."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from datamodules.base import DataModule
from datamodules.order import held_back
from datamodules.text_rows import TextRows
from fex.class_names import class_index
from fex.texts import Text, TextPreprocess

__all__ = ["TextDataModule", "TextTable", "class_number"]

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
                known[label] = class_number(label, names, name)
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


def class_number(label: Any, names: list[str] | None, row: str) -> int:
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
