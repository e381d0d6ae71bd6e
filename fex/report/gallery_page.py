"""The frame of a page of the gallery: style, search, order, legend; no scripts or styles from elsewhere."""

import re
from dataclasses import dataclass
from html import escape

from fex.report.page import PAGE_START

__all__ = ["PICTURES", "Kind", "page_foot", "page_head"]


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
