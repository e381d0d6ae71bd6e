"""The frame of a page of the gallery: style, search, order, legend; no scripts or styles from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from fex.report.page import render

__all__ = ["PICTURES", "Kind", "frame"]


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


def frame(
    kind: Kind, title: str, note: str = "", links: Sequence[tuple[str, str, str]] = (), remark: str = ""
) -> tuple[str, str]:
    """What stands before the cards of a page, and what stands after them.

    Args:
        kind: what the cards show.
        title: heading.
        note: line under it.
        links: relation, address and word of each page that this one leads to.
        remark: at the foot.
    """
    values = {"kind": kind, "title": title, "note": note, "links": links, "remark": remark}
    head, end, foot = render("report/templates/gallery.html", **values).partition("</main>")
    return head, end + foot
