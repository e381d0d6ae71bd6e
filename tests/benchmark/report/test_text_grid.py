"""Every method on the same texts: a block a text, a line a method, nothing is executed, long texts are cut."""

import re
from html import unescape

from fex.benchmark.report.text_grid import text_blocks
from fex.report.page import render
from tests.report.test_text import explanation, opacity


def block(text, scores, **more):
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    return {name: explanation(text, spans, values, method=name, **more) for name, values in scores.items()}


def text_grid(rows):
    return render("benchmark/report/templates/texts.html", texts=text_blocks(rows))


def lines(html):
    """(method, words) of each line, without tags."""
    found = re.findall(r"<dt>(.*?) <span>.*?</dt><dd>(.*?)</dd>", html, re.DOTALL)
    return [(unescape(name), unescape(re.sub(r"<[^>]*>", "", words))) for name, words in found]


def test_a_block_a_text_and_in_it_a_line_a_method():
    first = block(
        "so <b>odd</b>", {"FEX": (0.1, 0.7), "RISE & <i>": (9.0, 3.0)}, source="<u>.tsv:1", target_name="<no>"
    )
    second = block("a gem", {"FEX": (0.2, 0.4), "RISE & <i>": (0.0, 0.0)}, source="b.tsv:2", probability=0.987)
    html = text_grid([first, second])
    assert lines(html) == [
        ("FEX", "so <b>odd</b>"), ("RISE & <i>", "so <b>odd</b>"), ("FEX", "a gem"), ("RISE & <i>", "a gem"),
    ]  # fmt: skip
    assert not re.search(r"<[bui]>", html)
    assert opacity(html) == [0, 1, 1, 0, 0, 1, 0, 0]  # each from its own lowest to its own highest
    headings = re.findall(r"<h3>(.*?)</h3>", html)
    assert [re.sub(r"<[^>]*>", "", each) for each in headings] == [
        "&lt;u&gt;.tsv:1 · &lt;no&gt; p = 0.750", "b.tsv:2 · yes p = 0.987",
    ]  # fmt: skip
    assert "<span>3 … 9</span>" in html


def test_long_texts_are_cut_and_fewer():
    words = [f"{number:04}" for number in range(300)]
    row = block(" ".join(words), {"FEX": [0.1 * number for number in range(300)]})
    html = text_grid([row] * 8)
    assert html.count("<h3>") == 4
    assert "its first 100 of 300 words are shown" in html
    assert ">0099<" in html
    assert ">0100<" not in html
    short = block("a gem", {"FEX": (0.1, 0.2)})
    assert text_grid([short] * 8).count("<h3>") == 8
    assert "are shown" not in text_grid([short])


def test_scores_that_are_not_finite_are_told():
    row = block("a gem", {"FEX": (0.1, 0.2)}) | {"Broken": None}
    assert "<dt>Broken</dt><dd><p>its scores are not finite</p></dd>" in text_grid([{"Broken": None}, row])
    assert text_grid([row]) == text_grid([{"Broken": None}, row])
    assert text_grid([{"Broken": None}]) == text_grid([]) == ""
