"""Coloured words, on pages and in the terminal: the text is whole, the strongest word stands out."""

import re
from html import unescape

import pytest
import torch
from rich.console import Console

from fex.explanations import TextExplanation, Word
from fex.report.text import first_pieces, strengths, terminal_text, text_card

TEXT = "so <odd>\n a gem"
SPANS = [(0, 2), (3, 8), (10, 11), (12, 15)]


def explanation(text=TEXT, spans=SPANS, scores=(0.1, 0.5, 0.3, 0.9), parts=None, **changes):
    fields = {
        "target": 1, "target_name": "yes", "probability": 0.75, "probability_of": "explainer", "method": "FEX",
        "removal": "mask token", "black_box": "toy", "source": "in.csv:2",
    }  # fmt: skip
    parts = parts or [0] * len(spans)
    scores = torch.tensor(scores)
    return TextExplanation(text, scores, spans, list(range(len(spans))), parts, 0, 1, **fields | changes)


def opacity(html):
    """Of each word's colour, in order."""
    return [float(value) for value in re.findall(r"rgb\(\d+ \d+ \d+ / calc\(([\d.]+) ", html)]


def test_pages_show_the_whole_text_and_the_strongest_word():
    card = text_card([explanation()])
    shown = opacity(card.html)
    assert shown.index(max(shown)) == 3
    assert shown[0] == 0
    paragraph = re.search(r"<p dir=.*?>(.*?)</p>", card.html, re.DOTALL).group(1)
    assert unescape(re.sub(r"<[^>]*>", "", paragraph)) == TEXT
    assert "p = 0.750" in card.html


def test_pages_hold_no_control_characters_and_no_halves_of_characters():
    text = "a\x00b \ud83d"
    html = text_card([explanation(text, [(0, 3), (4, 5)], (0.1, 0.2), source="in\x07.csv")]).html
    assert html.count("\ufffd") == 2 + 2  # the text, and the source in an attribute and the heading
    html.encode()
    assert not re.search(r"[\x00-\x08]", html)


def test_both_texts_of_a_pair_are_shown():
    html = text_card([explanation(("so", "gem"), [(0, 2), (0, 3)], (0.1, 0.9), parts=[0, 1])]).html
    assert html.index(">so<") < html.index("<hr>") < html.index(">gem<")


def test_equal_scores_have_no_colour():
    assert strengths([Word("a", 0.5, 0, 1, 0), Word("b", 0.5, 2, 3, 0)]) == [0.0, 0.0]


def test_the_terminal_shows_the_text_and_colours_the_strongest_word():
    console = Console(force_terminal=True, color_system="truecolor", width=200, record=True)
    with console.capture() as capture:
        console.print(terminal_text(explanation()))
    plain = re.sub(r"\x1b\[[\d;]*m", "", capture.get())
    assert plain.startswith("yes  p = 0.750 (explainer's estimate) · scores 0.1 … 0.9  in.csv:2\n" + TEXT)
    assert re.search(r"48;2;235;120;20m+gem", capture.get())
    assert not re.search(r"48;2;[\d;]*mso", capture.get())


def test_long_texts_are_shortened_in_the_terminal_alone():
    text = "gem " * 1000
    spans = [(4 * i, 4 * i + 3) for i in range(1000)]
    long = explanation(text, spans, [0.5] * 1000)
    assert len(terminal_text(long, longest=40).plain) < 130
    assert text_card([long]).html.count("gem") == 1000


def test_what_a_words_score_is_of_its_tokens_is_named():
    pieces = TextExplanation(
        "films", torch.tensor([0.2, 0.7]), [(0, 4), (4, 5)], [0, 0], [0, 0], 3, 1, target=0, target_name="no",
        probability=0.5, probability_of="explainer", method="FEX", removal="drop", black_box="toy",
    )  # fmt: skip
    found = pieces.to_dict()
    assert found["aggregation"] == "max of the tokens"
    assert found["words"] == [{"word": "films", "score": pytest.approx(0.7), "start": 0, "end": 5}]
    assert "3 tokens beyond the limit were cut off" in text_card([pieces]).html


def test_pages_cut_long_texts_between_words_and_keep_the_colours():
    long = explanation("gem odd film so", [(0, 3), (4, 7), (8, 12), (13, 15)], (0.5, 0.1, 0.2, 0.9))
    pieces = list(first_pieces(long, 10))
    assert [piece.characters for piece in pieces] == ["gem", " ", "odd", " ", " …"]
    assert [piece.word is not None for piece in pieces] == [True, False, True, False, False]
    assert pieces[0].strength == pytest.approx(0.5)  # of the strongest word, which is cut off
    assert list(first_pieces(long, 15)) == list(first_pieces(long))
    # One word without an end, and a tail without words.
    assert next(first_pieces(explanation("a" * 99, [(0, 99)], (0.5,)), 10)).characters == "a" * 10
    tail = first_pieces(explanation("so" + " tail" * 99, [(0, 2)], (0.5,)), 10)
    assert [piece.characters for piece in tail] == ["so", " …"]
