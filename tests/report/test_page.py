"""All kinds of pages: whatever the names are, they are shown, and a page has the elements of any other."""

import pytest
import torch

from fex.benchmark.report.page import benchmark_page
from fex.report.html import Gallery, make_card, write_page
from fex.report.page import displayable, render
from fex.report.text import first_pieces, text_card, write_text_page
from tests.benchmark.report.test_page import report
from tests.report.test_html import Page, explanation
from tests.report.test_text import explanation as text_explanation

# Ends a quoted attribute and opens an element; a template; a control character and half of a character.
HOSTILE = "\"><script>alert(1)</script>'&amp;{{ 7 * 7 }}{% raw %}\x07\ud83d"
HARMLESS = "drum"


def picture(bad, **more):
    return explanation(bad, bad, **more)


def text(bad):
    names = {"source": bad, "target_name": bad, "method": bad, "black_box": bad, "removal": bad}
    return text_explanation(bad + " so", [(0, len(bad)), (len(bad) + 1, len(bad) + 3)], (0.1, 0.9), **names)


def spoiled(value, bad):
    """The same data with `bad` at the end of every text."""
    if isinstance(value, dict):
        return {name: spoiled(each, bad) for name, each in value.items()}
    if isinstance(value, list):
        return [spoiled(each, bad) for each in value]
    return value + bad if isinstance(value, str) else value


def gallery(bad, folder, cards, **more):
    with Gallery(folder, title=bad, note=bad, page_size=1, **more) as pages:
        for card in cards:
            pages.add(card)
        pages.remark = bad
    return "".join(path.read_text("utf-8") for path in sorted(folder.iterdir()))


def of_pictures(bad, folder):
    return gallery(bad, folder, [make_card([picture(bad)] * 2, bad, curve=bad, sound=bad)] * 2)


def of_texts(bad, folder):
    return gallery(bad, folder, [text_card([text(bad)] * 2)] * 2, kind="texts")


def written(bad, folder):
    write_page(folder / "a.html", [[picture(bad, probability=0.1)]], title=bad)
    write_text_page(folder / "b.html", [[text(bad)]], title=bad)
    return "".join((folder / name).read_text("utf-8") for name in ("a.html", "b.html"))


def in_a_notebook(bad, folder):
    return picture(bad)._drawn("card") + text(bad)._repr_html_()


def in_the_demo(bad, folder):
    return render("demo/templates/text.html", caption=bad, pieces=first_pieces(text(bad)))


def benchmark(bad, folder):
    pictures = {"images": [torch.rand(3, 8, 8)], "titles": [bad], "maps": {bad: [torch.rand(4, 4)]}}
    return benchmark_page(spoiled(report(), bad), texts=[{bad: text(bad), bad + "2": None}], **pictures)


@pytest.mark.parametrize("make", [of_pictures, of_texts, written, in_a_notebook, in_the_demo, benchmark])
def test_names_are_text_on_every_kind_of_page(make, tmp_path):
    pages = []
    for name in (HOSTILE, HARMLESS):
        (tmp_path / name[-4:-1]).mkdir()
        html = make(name, tmp_path / name[-4:-1])
        html.encode()
        pages.append(Page(html))
    hostile, harmless = pages
    assert [(tag, list(attrs)) for tag, attrs in hostile.tags] == [(tag, list(attrs)) for tag, attrs in harmless.tags]
    told = [
        [*page.text, *(value for _, attrs in page.tags for value in attrs.values() if value)]
        for page in pages
    ]  # fmt: skip
    shown = displayable(HOSTILE)
    assert sum(each.count(shown) for each in told[0]) == sum(each.count(HARMLESS) for each in told[1]) > 0
