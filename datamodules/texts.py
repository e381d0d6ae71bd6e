"""Texts for classification: files of your own, data sets of the hub, folders; single texts and pairs."""

import glob
import logging
from pathlib import Path
from typing import Any

from datamodules.hub_rows import load_split
from datamodules.text_module import TextDataModule, TextTable
from fex.images import passed_over
from fex.texts import LONGEST_TEXT, Text, TextRecord, read_records, unfit
from fex.texts.columns import text_column

__all__ = ["Texts"]

log = logging.getLogger("datamodules")


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
        advice = (
            "Check the id and the name of the split; without a network, give local files in `train`, `val` and `test`."
        )
        data = load_split(self.name, split, advice, self.config_name)
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
