"""A gallery of explanations as self-contained HTML: no scripts, styles, fonts or pictures from elsewhere."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import numpy as np
from PIL import Image

from fex.explanations.base import BaseExplanation
from fex.explanations.image import Explanation
from fex.report.fidelity import fidelity_mark
from fex.report.heatmap import normalise, overlay, to_picture, upsample
from fex.report.page import render
from fex.storage.atomic import replacing

__all__ = ["Card", "Gallery", "Kind", "doubts", "make_card", "write_cards", "write_page"]

THUMBNAIL = 192  # pixels of the longer side
Kind = Literal["images", "texts"]


class Card(NamedTuple):
    """One input's HTML, and the name under which the index lists it."""

    name: str
    html: str

    @classmethod
    def of(cls, name: str, explanations: Sequence[BaseExplanation], template: str, **values: Any) -> "Card":
        """By a template of this room that builds on ``card.html``; pure, so that threads can share the work."""
        marks = {"explanations": explanations, "fidelity": fidelity_mark(explanations)}
        return cls(name, render(f"report/templates/{template}", name=name, **marks, **values))


def make_card(
    explanations: Sequence[Explanation], link: str | None = None, *, curve: str | None = None, sound: str | None = None
) -> Card:
    """The picture and one overlay for each explained class.

    Args:
        explanations: of one image, at least one.
        link: address of the full picture, relative to the page, quoted as addresses are.
        curve: address of a sound's picture with its time curve, as `link`.
        sound: address of the masked sound, as `link`: it can be played on the page.
    """
    first = explanations[0]
    scale = THUMBNAIL / max(first.size)
    size = (max(1, round(first.size[1] * scale)), max(1, round(first.size[0] * scale)))
    blank = np.full((3, *first.size), 0.5, np.float32)
    picture = to_picture(blank if first.image is None else first.image.cpu()).resize(size, Image.Resampling.BICUBIC)
    maps = [
        (each, overlay(picture, upsample(normalise(each.grid, span=each.span), (size[1], size[0]))))
        for each in explanations
    ]
    shown = {"picture": picture if first.image is not None else None, "maps": maps}
    beside = {"link": link, "curve": curve, "sound": sound}
    return Card.of(first.source or "input", explanations, "picture_card.html", **shown, **beside)


def doubts(results: Iterable[Sequence[BaseExplanation]]) -> str:
    """What is said above explanations whose class the explainer chose by itself; "" where it did not."""
    found = dict.fromkeys(f"{e.method} chose the class; {e.doubt}" for every in results for e in every if e.doubt)
    return f"{'. '.join(found)}." if found else ""


def _frame(**values: Any) -> list[str]:
    """What a page has before its cards, and what it has after them."""
    return render("report/templates/gallery.html", **values).split("<!-- cards -->")


class Gallery:
    """Cards written to disk as they come; one page is open at a time, so memory does not grow with their number.

    Up to `page_size` cards are ``gallery.html``. More are ``gallery-0001.html`` ... and ``gallery.html`` lists them.
    Each page appears when it is complete.

    Args:
        folder: where the pages go.
        title: heading.
        note: a line under it.
        page_size: cards a page.
        kind: what the cards show.

    Attributes:
        count: cards so far.
        remark: text at the foot of the pages that are completed from now on.
    """

    def __init__(
        self, folder: str | Path, *, title: str, note: str = "", page_size: int = 500, kind: Kind = "images"
    ) -> None:
        if page_size < 1:
            raise ValueError(f"A page of a gallery needs at least one card, got page_size={page_size}.")
        self.folder, self.title, self.note, self.page_size = Path(folder), title, note, page_size
        self.kind, self.count, self.remark = kind, 0, ""
        self._stack = ExitStack()
        self._file: TextIO | None = None
        self._pages: list[tuple[str, str, int]] = []  # first and last name, cards

    @property
    def index(self) -> Path:
        """The page to open first."""
        return self.folder / "gallery.html"

    def _page(self, number: int) -> str:
        return f"gallery-{number:04d}.html"

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, card: Card) -> None:
        """Appends one card."""
        if self._file is not None and self._pages[-1][2] == self.page_size:
            self._finish(more=True)
        if self._file is None:
            self._open(card.name)
        assert self._file is not None
        self._file.write(card.html)
        first, _, count = self._pages[-1]
        self._pages[-1] = (first, card.name, count + 1)
        self.count += 1

    def _open(self, first: str) -> None:
        number = len(self._pages) + 1
        # The first page takes its final name when it is known whether a second one follows.
        target = self.folder / self._page(number)
        part = self._stack.enter_context(replacing(target))
        self._file = self._stack.enter_context(part.open("w", encoding="utf-8"))
        self._file.write(self._around(number, more=False)[0])
        self._pages.append((first, first, 0))

    def _around(self, number: int, *, more: bool) -> list[str]:
        links = [("", self.index.name, "index")] if number > 1 or more else []
        links += [("prev", self._page(number - 1), "previous")] if number > 1 else []
        links += [("next", self._page(number + 1), "next")] if more else []
        return _frame(**self._values(links))

    def _values(self, links: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
        """Of all pages; links are relation, address and word."""
        return {"kind": self.kind, "title": self.title, "note": self.note, "remark": self.remark, "links": links}

    def _finish(self, *, more: bool) -> None:
        assert self._file is not None
        self._file.write(self._around(len(self._pages), more=more)[1])
        self._file = None
        self._stack.close()

    def close(self) -> None:
        """Completes the last page, and the index where there are several."""
        if self._file is None:
            return
        self._finish(more=False)
        if len(self._pages) == 1:
            (self.folder / self._page(1)).replace(self.index)
            return
        pages = [(self._page(number), *page) for number, page in enumerate(self._pages, 1)]
        index = render("report/templates/index.html", count=self.count, pages=pages, **self._values(()))
        with replacing(self.index) as part:
            part.write_text(index, encoding="utf-8")


def write_cards(path: str | Path, kind: Kind, title: str, note: str, cards: Iterable[Card]) -> None:
    """One page with the given cards, all on `path`."""
    head, foot = _frame(kind=kind, title=title, note=note, remark="", links=())
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(head)
        file.writelines(card.html for card in cards)
        file.write(foot)


def write_page(path: str | Path, images: Iterable[Sequence[Explanation]], title: str = "Explanations") -> None:
    """One page for the given images (each a list of explanations of one image), all on `path`."""
    images = list(images)
    write_cards(path, "images", title, doubts(images), map(make_card, images))
