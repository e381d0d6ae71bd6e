"""ESC-10 (Piczak 2015): 400 environmental sounds of five seconds, ten classes, five folds."""

import csv
from pathlib import Path
from typing import Any

from datamodules.sound import Clip, NoisePadding, SoundDataModule
from fex.sounds import LogMel

__all__ = ["ESC10"]


CATEGORIES = (
    "dog", "rain", "sea_waves", "crying_baby", "clock_tick", "sneezing", "helicopter", "chainsaw", "rooster",
    "crackling_fire",
)  # fmt: skip


def _table_of(root: Path) -> tuple[Path, list[dict[str, str]]]:
    """Path and rows of the table, with filename, fold, label and category."""
    own, whole = root / "meta.csv", root / "meta" / "esc50.csv"
    path = own if own.is_file() or not whole.is_file() else whole
    if not path.is_file():
        raise FileNotFoundError(
            f"Found neither {own} nor {whole}: set `root` to a folder of ESC-10 (meta.csv, audio/) or of ESC-50 "
            "(meta/esc50.csv, audio/)."
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    wanted = {"filename", "fold", "category"} | ({"label"} if path == own else {"esc10"})
    missing = wanted - set(rows[0] if rows else {})
    if missing:
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}, or no rows.")
    if path == own:
        return path, rows
    rows = [row for row in rows if row["esc10"].strip().lower() == "true"]
    unknown = sorted({row["category"] for row in rows} - set(CATEGORIES))
    if unknown:
        raise ValueError(f"{path} counts {', '.join(unknown)} among ESC-10, which has {', '.join(CATEGORIES)}.")
    return path, [{**row, "label": str(CATEGORIES.index(row["category"]))} for row in rows]


class ESC10(SoundDataModule):
    """Four folds train, the fifth is validated and tested on; clips of one recording are in one fold.

    The folder holds the clips in ``audio/`` and ``meta.csv`` (filename, fold, label 0 ... 9, category), or is a
    checkout of ESC-50, whose ``meta/esc50.csv`` says which clips are of ESC-10; labels are then numbered as in
    `CATEGORIES`. Classes are counted in the order of their labels, whatever numbers these are. With `padding`, by
    default 1 to 5 s of noise on both sides at 10 dB, the clip's own place is the ground-truth interval
    (DAX, section IV-B): it is in ``masks``, as columns of the spectrogram.

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
            FileNotFoundError: there is no table.
            ValueError: a table without a column, a fold without clips.
        """
        if self.datasets:
            return
        path, rows = _table_of(Path(self.root))
        names = {int(row["label"]): row["category"] for row in rows}
        self.class_names = [names[label] for label in sorted(names)]
        index = {label: place for place, label in enumerate(sorted(names))}
        parts: dict[bool, list[Clip]] = {True: [], False: []}
        for row in rows:
            parts[int(row["fold"]) == self.fold].append(Clip(f"audio/{row['filename']}", index[int(row["label"])]))
        if not parts[True] or not parts[False]:
            raise ValueError(f"{path} has {len(parts[True])} clips of fold {self.fold} and {len(parts[False])} others.")
        self.datasets["train"] = self._table(parts[False])
        self.datasets["val"] = self.datasets["test"] = self._table(parts[True])
