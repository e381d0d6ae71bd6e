import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from fex.explanations import Explanation
from fex.images import PatchGrid
from fex.report.html import Gallery, make_card, write_page

VOID = {"meta", "input", "img", "br"}


class Page(HTMLParser):
    """Tags in balance, attributes of each tag, text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def explanation(source="a.jpg", name="drum", probability=0.5):
    return Explanation(
        attribution=torch.rand(4), features=PatchGrid(2, 2), size=(8, 16), target=0, target_name=name,
        probability=probability, probability_of="explainer", method="FEX", removal="mean", black_box="toy",
        source=source, image=torch.rand(3, 8, 16),
    )  # fmt: skip


def test_page_is_self_contained_and_well_formed(tmp_path):
    write_page(tmp_path / "x.html", [[explanation(), explanation(name="crane")], [explanation("b.jpg")]])
    text = (tmp_path / "x.html").read_text()
    page = Page(text)
    assert len(page.all("article")) == 2
    images = page.all("img")
    assert len(images) == 5  # input and two classes, input and one
    for attrs in images:
        assert attrs["loading"] == "lazy"
        with Image.open(io.BytesIO(base64.b64decode(attrs["src"].removeprefix("data:image/jpeg;base64,")))) as picture:
            assert picture.size == (192, 96)
    assert not page.all("link")
    assert "src" not in page.all("script")[0]
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))


def test_captions_tell_range_and_whose_estimate(tmp_path):
    page = Page(make_card([replace(explanation(), attribution=torch.tensor([0.25, 0.5, 0.75, 0.125]))]).html)
    text = " ".join(page.text)
    assert "p = 0.500 (explainer's estimate)" in text
    assert "colours: 0.125 … 0.75" in text
    asked = Page(make_card([replace(explanation(), probability_of="black box")]).html)
    assert "(the black box's)" in " ".join(asked.text)


@pytest.mark.parametrize("page_size", [1, 5])
def test_pages_end_with_the_remark_and_say_how_to_read_them(tmp_path, page_size):
    with Gallery(tmp_path, title="T", page_size=page_size) as gallery:
        gallery.add(make_card([explanation()]))
        gallery.add(make_card([explanation("b.jpg")]))
        gallery.remark = "3 more <skipped>"
    text = (tmp_path / "gallery.html").read_text()
    assert "3 more &lt;skipped&gt;" in text
    pages = [path.read_text() for path in tmp_path.glob("gallery-*.html")] or [text]
    assert all("after its resize and crop" in page for page in pages)


def test_names_are_escaped():
    bad = '"><script>alert(1)</script>&'
    page = Page(make_card([explanation(source=bad, name=bad)], link="a%22b.png").html)
    (article,) = page.all("article")
    assert article["data-file"] == article["data-class"] == bad
    assert not page.all("script")
    assert page.all("a") == [{"href": "a%22b.png"}]
    assert bad in page.text


def test_a_sound_beside_the_page_may_be_played(tmp_path):
    """Its policy forbids all that it does not name."""
    with Gallery(tmp_path, title="T") as gallery:
        gallery.add(make_card([explanation()], sound="a.wav"))
    page = Page((tmp_path / "gallery.html").read_text())
    assert [each["src"] for each in page.all("audio")] == ["a.wav"]
    (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
    assert "media-src 'self'" in policy.split("; ")


def test_few_images_are_one_page(tmp_path):
    with Gallery(tmp_path, title="A & B", note="<x>", page_size=3) as gallery:
        for number in range(3):
            gallery.add(make_card([explanation(f"{number}.jpg")]))
    assert [p.name for p in tmp_path.iterdir()] == ["gallery.html"]
    text = (tmp_path / "gallery.html").read_text()
    assert [a["data-file"] for a in Page(text).all("article")] == ["0.jpg", "1.jpg", "2.jpg"]
    assert "<h1>A &amp; B</h1><p>&lt;x&gt;</p>" in text


def test_many_images_are_pages_with_an_index(tmp_path):
    with Gallery(tmp_path, title="T", page_size=3) as gallery:
        for number in range(7):
            gallery.add(make_card([explanation(f"{number}.jpg")]))
            complete = sorted(p.name for p in tmp_path.glob("gallery-*.html"))
            assert len(complete) == number // 3  # a page appears when the next one begins
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["gallery-0001.html", "gallery-0002.html", "gallery-0003.html", "gallery.html"]
    links = {name: [a["href"] for a in Page((tmp_path / name).read_text()).all("a")] for name in names}
    assert links["gallery.html"] == names[:3]
    middle = ["gallery.html", "gallery-0001.html"] + ["gallery.html", "gallery-0001.html", "gallery-0003.html"]
    assert links["gallery-0002.html"] == middle
    assert "gallery-0004.html" not in str(links)
    counts = [len(Page((tmp_path / name).read_text()).all("article")) for name in names]
    assert counts == [3, 3, 1, 0]
    assert "6.jpg … 6.jpg</a> (1)" in (tmp_path / "gallery.html").read_text()


def test_nothing_is_written_without_cards(tmp_path):
    with Gallery(tmp_path, title="T"):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"page_size=0"):
        Gallery(tmp_path, title="T", page_size=0)
