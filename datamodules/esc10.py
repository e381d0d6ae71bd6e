"""ESC-10 (Piczak 2015): 400 environmental sounds of five seconds, ten classes, five folds."""

import csv
from pathlib import Path
from typing import Any

from datamodules.sound import Clip, NoisePadding, SoundDataModule
from fex.audio import LogMel

__all__ = ["ESC10"]


class ESC10(SoundDataModule):
    """Four folds train, the fifth is validated and tested on; clips of one recording are in one fold.

    The folder holds ``meta.csv`` (filename, fold, label, category) and the clips in ``audio/``. With `padding`, by
    default 1 to 5 s of noise on both sides at 10 dB, the clip's own place is the ground-truth interval (DAX, section
    IV-B): it is in ``masks``, as columns of the spectrogram.

    Args:
        root: the folder.
        fold: 1 ... 5, held out.
        seconds: length of a clip.
        log_mel: makes the spectrograms.
        padding: noise around each clip; ``null`` in a YAML leaves it out.
        waveforms: batches carry the sound too.
        **options: see `ImageDataModule`.

    Raises:
        ValueError: no such fold.
    """

    def __init__(
        self,
        root: str,
        fold: int = 5,
        seconds: float = 5.0,
        log_mel: LogMel | None = None,
        padding: NoisePadding | None = NoisePadding(),  # noqa: B008 frozen
        *,
        waveforms: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(root, seconds, log_mel, padding, waveforms=waveforms, **options)
        if not 1 <= fold <= 5:
            raise ValueError(f"ESC-10 has folds 1 ... 5, got fold={fold}.")
        self.fold = fold

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Reads the table, once.

        Raises:
            FileNotFoundError: there is no meta.csv.
            ValueError: a fold without clips.
        """
        if self.datasets:
            return
        path = Path(self.root) / "meta.csv"
        if not path.is_file():
            raise FileNotFoundError(f"Found no {path}: set `root` to the folder of ESC-10, with meta.csv and audio/.")
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = {int(row["label"]): row["category"] for row in rows}
        self.class_names = [names[label] for label in sorted(names)]
        parts: dict[bool, list[Clip]] = {True: [], False: []}
        for row in rows:
            parts[int(row["fold"]) == self.fold].append(Clip(f"audio/{row['filename']}", int(row["label"])))
        if not parts[True] or not parts[False]:
            raise ValueError(f"{path} has {len(parts[True])} clips of fold {self.fold} and {len(parts[False])} others.")
        self.datasets["train"] = self._table(parts[False])
        self.datasets["val"] = self.datasets["test"] = self._table(parts[True])
