"""SST-2, the binary Stanford Sentiment Treebank (Socher et al. 2013)."""

from pathlib import Path
from typing import Any

from datamodules.text_module import TextTable
from datamodules.texts import Texts

__all__ = ["SST2"]


class SST2(Texts):
    """67,349 training phrases, 872 validation sentences; labels 0 = negative, 1 = positive.

    The hub's test part has no labels; a local test.tsv may have them (the 1,821 sentences of the original release).

    Args:
        root: folder with train.tsv, dev.tsv and test.tsv (columns sentence and label), or an id of the hub.
        **options: see `TextDataModule`.
    """

    def __init__(self, root: str = "stanfordnlp/sst2", **options: Any) -> None:
        folder = Path(root)
        if folder.is_dir():
            parts = {part: str(folder / f"{name}.tsv") for part, name in _FILES.items()}
            super().__init__(**parts, text_column="sentence", label_column="label", **options)
            self.parts = {part: path for part, path in self.parts.items() if Path(str(path)).is_file()}
            if not self.parts:
                raise FileNotFoundError(f"Found no train.tsv, dev.tsv or test.tsv in {folder}.")
        elif root.startswith((".", "/", "~")):
            raise FileNotFoundError(f"Found no folder at {root}: give one with train.tsv, or an id of the hub.")
        else:
            super().__init__("train", "validation", "test", name=root, label_column="label", **options)
        self.root = root

    def read(self, split: str) -> TextTable | None:
        """See `TextDataModule`."""
        return super().read(split) if split in self.parts else None


_FILES = {"train": "train", "val": "dev", "test": "test"}
