"""A gallery of explanations as self-contained HTML: no scripts, styles, fonts or pictures from elsewhere."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from PIL import Image

from fex.explanations.base import BaseExplanation
from fex.explanations.image import Explanation
from fex.report.fidelity import fidelity_mark
from fex.report.gallery_page import PICTURES, Kind, page_foot, page_head
from fex.report.heatmap import normalise, overlay, to_picture, upsample
from fex.report.page import data_uri
from fex.storage.atomic import replacing

__all__ = ["Card", "Gallery", "doubts", "make_card", "write_page"]

THUMBNAIL = 192  # pixels of the longer side


class Card(NamedTuple):
    """One image's HTML, and the name under which the index lists it."""

    name: str
    html: str


def _figure(picture: Image.Image, alt: str, caption: str) -> str:
    return (
        f'<figure><img loading="lazy" decoding="async" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(alt)}" src="{data_uri(picture)}"><figcaption>{caption}</figcaption></figure>'
    )


def make_card(
    explanations: Sequence[Explanation], link: str | None = None, *, curve: str | None = None, sound: str | None = None
) -> Card:
    """The picture and one overlay for each explained class; pure, so that threads can share the work.

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
    figures = [_figure(picture, first.source, "<span>input</span>")] if first.image is not None else []
    for explanation in explanations:
        grid = explanation.grid
        shown = upsample(normalise(grid, span=explanation.span), (size[1], size[0]))
        caption = (
            f"{escape(explanation.target_name)} <span>p = {explanation.probability:.3f} ({explanation.estimated_by})"
            f"<br>colours: {grid.min():.3g} … {grid.max():.3g}{' · nearly flat' if explanation.flat else ''}"
            f"{'<br>' if explanation.measured else ''}{escape(explanation.measured)}</span>"
        )
        figures.append(_figure(overlay(picture, shown), f"map for {explanation.target_name}", caption))
    name = escape(first.source or "input")
    heading = f'<a href="{escape(link)}">{name}</a>' if link else name
    every = escape(" ".join(e.target_name for e in explanations))
    heard = f'<nav><a href="{escape(curve)}">spectrogram, map and time curve</a></nav>' if curve else ""
    if sound:
        heard += f'<audio controls preload="none" src="{escape(sound)}" title="the sound under its mask"></audio>'
    html = (
        f'<article data-file="{name}" data-class="{escape(first.target_name)}" data-all="{every}" '
        f'data-p="{first.probability:.6f}"{fidelity_mark(explanations)}><h2>{heading}</h2>'
        f'<div class="row">{"".join(figures)}</div>{heard}</article>\n'
    )
    return Card(first.source or "input", html)


def doubts(results: Iterable[Sequence[BaseExplanation]]) -> str:
    """What is said above explanations whose class the explainer chose by itself; "" where it did not."""
    found = dict.fromkeys(f"{e.method} chose the class; {e.doubt}" for every in results for e in every if e.doubt)
    return f"{'. '.join(found)}." if found else ""


class Gallery:
    """Cards written to disk as they come; one page is open at a time, so memory does not grow with their number.

    Up to `page_size` cards are ``gallery.html``. More are ``gallery-0001.html`` ... and ``gallery.html`` lists them.
    Each page appears when it is complete.

    Args:
        folder: where the pages go.
        title: heading.
        note: a line under it.
        page_size: cards a page.
        name: stem of the pages' names.
        kind: what the cards show.

    Attributes:
        count: cards so far.
        remark: text at the foot of the pages that are completed from now on.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        title: str,
        note: str = "",
        page_size: int = 500,
        name: str = "gallery",
        kind: Kind = PICTURES,
    ) -> None:
        if page_size < 1:
            raise ValueError(f"A page of a gallery needs at least one card, got page_size={page_size}.")
        self.folder, self.title, self.note, self.page_size, self.name = Path(folder), title, note, page_size, name
        self.kind, self.count, self.remark = kind, 0, ""
        self._stack = ExitStack()
        self._file: TextIO | None = None
        self._pages: list[tuple[str, str, int]] = []  # first and last name, cards

    @property
    def index(self) -> Path:
        """The page to open first."""
        return self.folder / f"{self.name}.html"

    def _page(self, number: int) -> str:
        return f"{self.name}-{number:04d}.html"

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
        back = self._links(number, more=False) if number > 1 else ""
        self._file.write(page_head(self.kind, self.title, self.note, back))
        self._pages.append((first, first, 0))

    def _links(self, number: int, *, more: bool) -> str:
        links = [f'<a href="{self.name}.html">index</a>']
        if number > 1:
            links.append(f'<a rel="prev" href="{self._page(number - 1)}">previous</a>')
        if more:
            links.append(f'<a rel="next" href="{self._page(number + 1)}">next</a>')
        return " · ".join(links)

    def _finish(self, *, more: bool) -> None:
        assert self._file is not None
        number = len(self._pages)
        links = self._links(number, more=more) if more or number > 1 else ""
        self._file.write(page_foot(self.kind, links, self.remark))
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
        items = "".join(
            f'<li><a href="{self._page(number)}">{escape(first)} … {escape(last)}</a> ({count})</li>\n'
            for number, (first, last, count) in enumerate(self._pages, 1)
        )
        remark = f" · {self.remark}" if self.remark else ""
        head = page_head(self.kind, self.title, self.note).split("<form", 1)[0]
        with replacing(self.index) as part:
            part.write_text(
                f"{head}<p>{self.count:,} {self.kind.unit}{escape(remark)}</p><ol>\n{items}</ol></body></html>\n",
                encoding="utf-8",
            )


def write_page(path: str | Path, images: Iterable[Sequence[Explanation]], title: str = "Explanations") -> None:
    """One page for the given images (each a list of explanations of one image), all on `path`."""
    images = list(images)
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(page_head(PICTURES, title, doubts(images)))
        for explanations in images:
            file.write(make_card(explanations).html)
        file.write(page_foot(PICTURES))
