"""A folder of results: files for each image, a table of all, a gallery; written as they come."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from fex.explanations.image import SUFFIXES, Explanation
from fex.report.fidelity import fidelity_cells, least_fidelity
from fex.report.html import Card, Gallery, make_card
from fex.report.result_files import ResultFiles

__all__ = [
    "FORMATS", "MASKED_SOUND", "SOUND_PICTURE", "ResultFolder", "Written", "inside", "result_path", "write_files",
]  # fmt: skip

FORMATS = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
COLUMNS = (
    "file", "rank", "class_index", "class", "probability", "probability_of", "top_feature", "top_row", "top_column",
    "top_attribution", "flat", "fidelity", "fidelity_low", "fidelity_high", "queries", "seconds",
)  # fmt: skip
SOUND_PICTURE, MASKED_SOUND = "sound.png", "masked.wav"  # beside the results of a sound, where they were made
_LONGEST = 200  # bytes of a name; file systems take 255, and suffixes are added


def inside(name: str) -> PurePath:
    """The name as a path below the results' folder, whatever it is: /data/a.wav -> data/a.wav, ../a.wav -> a.wav."""
    path = PurePath(name)
    return PurePath(*(part for part in path.parts if part not in ("..", path.anchor)))


def result_path(name: PurePath, rank: int, ranks: int) -> PurePath:
    """Results' path without suffix: a/b.jpg -> a/b.jpg, or a/b.jpg.top1 of several.

    The picture's suffix stays, so that b.jpg and b.png do not share results.
    """
    stem = name.name
    if len(os.fsencode(stem)) > _LONGEST:
        stem = f"{stem[: _LONGEST // 4]}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:12]}"
    return name.with_name(f"{stem}.top{rank}" if ranks > 1 else stem)


@dataclass(frozen=True)
class Written:
    """What is left to add in order.

    Attributes:
        card: of the gallery; None without one.
        rows: of the table.
        flat: how many of its maps are nearly flat.
        fidelity: the least of its maps, see `least_fidelity`.
    """

    card: Card | None
    rows: list[list[Any]]
    flat: int = 0
    fidelity: list[float] | str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"card": self.card, "rows": self.rows, "flat": self.flat, "fidelity": self.fidelity}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Written":
        """What `to_dict` was, or was before it became JSON."""
        card = None if data["card"] is None else Card(*data["card"])
        return cls(card, data["rows"], data["flat"], data.get("fidelity"))


def _address(stem: PurePath, suffix: str) -> str:
    return quote(os.fsencode(f"{stem.as_posix()}.{suffix}"))


def write_files(
    folder: Path, formats: Sequence[str], name: PurePath, explanations: Sequence[Explanation], *, gallery: bool = True
) -> Written:
    """Writes the files of one image below `folder`; threads and processes may call it, for different names."""
    rows, ranks = [], len(explanations)
    for rank, explanation in enumerate(explanations, 1):
        stem = result_path(name, rank, ranks)
        for suffix in formats:
            explanation.save(folder / stem.with_name(f"{stem.name}.{suffix}"))
        top = int(explanation.attribution.argmax())
        rows.append(
            [explanation.source, rank, explanation.target, explanation.target_name,
             f"{explanation.probability:.6f}", explanation.probability_of,
             top, *divmod(top, explanation.features.width), f"{float(explanation.attribution[top]):.6f}",
             "yes" if explanation.flat else "no", *fidelity_cells(explanation), explanation.queries,
             f"{explanation.seconds:.6f}"]
        )  # fmt: skip
    stem = result_path(name, 1, ranks)
    drawn = next((kind for kind in ("png", "webp", "jpg") if kind in formats), None)
    link = None if drawn is None else _address(stem, drawn)
    beside = {
        kind: _address(stem, suffix)
        for kind, suffix in (("curve", SOUND_PICTURE), ("sound", MASKED_SOUND))
        if (folder / f"{stem}.{suffix}").is_file()
    }
    flat = sum(explanation.flat for explanation in explanations)
    card = make_card(explanations, link, **beside) if gallery else None
    return Written(card, rows, flat, least_fidelity(explanations))


class ResultFolder(ResultFiles):
    """Writes results under one folder.

    Args:
        folder: made if missing.
        formats: files for each explanation, of `FORMATS`; none is allowed.
        title: heading of the gallery.
        note: line under it.
        page_size: images a page of the gallery.
        gallery: whether there is one.

    Raises:
        ValueError: an unknown format.
        OSError: the folder cannot be written.
    """

    named = "file"

    def __init__(
        self,
        folder: str | Path,
        *,
        formats: Sequence[str] = ("png", "npz", "json"),
        title: str = "Explanations",
        note: str = "",
        page_size: int = 500,
        gallery: bool = True,
    ) -> None:
        unknown = sorted(set(formats) - set(FORMATS))
        if unknown:
            raise ValueError(f"Unknown format {', '.join(unknown)}: give some of {', '.join(FORMATS)}.")
        self.formats, self.shown = tuple(formats), gallery
        super().__init__(folder, Gallery(Path(folder), title=title, note=note, page_size=page_size))

    def _begin(self) -> None:
        self._table = self._csv("explanations.csv", COLUMNS)

    def write(self, name: PurePath, explanations: Sequence[Explanation]) -> Written:
        """Writes the files of one image; threads may call it, for different names."""
        return write_files(self.folder, self.formats, name, explanations, gallery=self.shown)

    def add(self, written: Written) -> None:
        """Adds what `write` gave to table and gallery; in the order of the calls."""
        self._table.writerows(written.rows)
        if written.card is not None:
            self.gallery.add(written.card)
