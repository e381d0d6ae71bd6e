"""A gallery of explanations as self-contained HTML: no scripts, styles, fonts or pictures from elsewhere."""

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from PIL import Image

from fex.explanations.base import BaseExplanation
from fex.explanations.image import Explanation
from fex.report.fidelity import fidelity_mark
from fex.report.heatmap import normalise, overlay, to_picture, upsample
from fex.report.page import PAGE_START, data_uri
from fex.storage.atomic import replacing

__all__ = ["PICTURES", "Card", "Gallery", "Kind", "doubts", "make_card", "page_foot", "page_head", "write_page"]

THUMBNAIL = 192  # pixels of the longer side

_HEAD = (
    PAGE_START
    + """* {{ box-sizing: border-box }} p, nav {{ margin: .3rem 0; color: var(--faint) }} a {{ color: inherit }}
form {{ display: flex; flex-wrap: wrap; gap: .5rem; padding: .6rem 0; position: sticky; top: 0; z-index: 1;
  background: var(--paper); border-bottom: 1px solid var(--line) }}
input, select {{ font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; padding: .3rem .5rem; max-width: 100% }}
main {{ display: grid; gap: .8rem; padding: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)) }}
article {{ background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem;
  content-visibility: auto; contain-intrinsic-size: auto 16rem }}
article[hidden] {{ display: none }}
h2 {{ font-size: .85rem; font-weight: 500; margin: 0 0 .4rem; overflow-wrap: anywhere }}
.row {{ display: flex; flex-wrap: wrap; gap: .5rem }}
figure {{ margin: 0; flex: 1 1 8rem; max-width: 14rem; min-width: 0 }}
audio {{ width: 100% }} img {{ width: 100%; height: auto; border-radius: .3rem; display: block }}
figcaption {{ font-size: .8rem; overflow-wrap: anywhere }} figcaption span {{ color: var(--faint) }}
</style></head><body>
<h1>{title}</h1><p>{note}</p>
<nav>{back}</nav>
<form onsubmit="return false">
<input id="find" type="search" placeholder="{finds}" aria-label="{finds}">
<select id="class" aria-label="class"><option value="">all classes</option></select>
<select id="sort" aria-label="order"><option value="">as given</option><option value="file">by file</option>
<option value="class">by class</option><option value="p">least certain first</option>
<option value="f" hidden disabled>least faithful first</option></select>
<output id="count"></output></form>
<main>
"""
)

_FOOT = """</main>
<p>{remark}</p><p>{legend}</p>
<nav>{links}</nav>
<script>
const $ = id => document.getElementById(id), main = document.querySelector("main"), cards = [...main.children];
const classes = new Map();
for (const c of cards) classes.set(c.dataset.class, (classes.get(c.dataset.class) || 0) + 1);
for (const [name, n] of [...classes].sort((a, b) => a[0].localeCompare(b[0]))) {
  const option = new Option(name + " (" + n + ")", name); $("class").add(option); }
const order = {
  "": () => 0, file: (a, b) => a.dataset.file.localeCompare(b.dataset.file),
  class: (a, b) => a.dataset.class.localeCompare(b.dataset.class), p: (a, b) => a.dataset.p - b.dataset.p,
  f: (a, b) => ("f" in b.dataset) - ("f" in a.dataset) || a.dataset.f - b.dataset.f || 0 }; // unmeasured ones last
const faithful = $("sort").querySelector("[value=f]");
faithful.hidden = faithful.disabled = !cards.some(c => "f" in c.dataset);
function show() {
  const words = $("find").value.toLowerCase(), name = $("class").value; let n = 0;
  for (const c of cards) {
    const own = [...c.querySelectorAll("p")].map(p => p.textContent).join(" "); // the words of a text
    const text = (c.dataset.file + " " + c.dataset.all + " " + own).toLowerCase();
    c.hidden = (name && c.dataset.class !== name) || !text.includes(words); n += !c.hidden; }
  $("count").textContent = n + " of " + cards.length; }
$("find").oninput = $("class").onchange = show;
$("sort").onchange = () => { main.append(...[...cards].sort(order[$("sort").value])); };
show();
</script></body></html>
"""


@dataclass(frozen=True)
class Kind:
    """What a page shows.

    Attributes:
        unit: plural of what is explained.
        finds: what its search box looks through.
        legend: how to read it, at the foot.
    """

    unit: str
    finds: str
    legend: str


PICTURES = Kind(
    "images",
    "file or class",
    "Colours run from the smallest to the largest value of each map, which are written under it: maps of different "
    "range look alike. Only a map whose values hardly differ stays dark, and is called nearly flat: it says little. "
    "Pictures are shown as the explainer sees them, after its resize and crop.",
)


def page_head(kind: Kind, title: str, note: str = "", back: str = "") -> str:
    """All before the cards; `back` is HTML."""
    return _HEAD.format(title=escape(title), note=escape(note), back=back, finds=escape(kind.finds))


def page_foot(kind: Kind, links: str = "", remark: str = "") -> str:
    """All after the cards; `links` is HTML."""
    found = {"links": links, "remark": escape(remark), "legend": escape(kind.legend)}
    return re.sub(r"\{(links|remark|legend)\}", lambda match: found[match[1]], _FOOT)


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
