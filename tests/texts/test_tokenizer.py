"""Texts, tokens, words and characters."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fex.texts import TextPreprocess, Tokens
from fex.texts.features import model_arguments
from tests.texts.tiny import preprocess

ODD = [
    "",
    "   ",
    "\n\t",
    "\x00",
    "😀😀",
    "电影很好看",
    "هذا فيلم جميل",
    "a [SEP] b [MASK]",
    "don't, stop!",
    "films\x00filming",
    "half \ud83d a character \udcff",
]


def words_of(text, row):
    """(start, end) of each word, in order."""
    spans = {}
    for (start, end), word in zip(row.spans, row.words, strict=True):
        if word >= 0:
            low, high = spans.get(word, (start, end))
            spans[word] = (min(low, start), max(high, end))
    return [spans[word] for word in sorted(spans)]


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=40))
def test_words_and_what_is_between_them_give_the_text_back(text):
    spans = words_of(text, preprocess(512)(text))
    rebuilt, place = "", 0
    for start, end in spans:
        assert place <= start < end <= len(text)
        rebuilt += text[place:start] + text[start:end]
        place = end
    assert rebuilt + text[place:] == text


def test_pieces_belong_to_their_word():
    row = preprocess()("films so dull")
    assert row.ids.tolist() == [2, 5, 20, 17, 18, 3]
    assert row.words == [-1, 0, 0, 1, 2, -1]
    assert row.spans == [(0, 0), (0, 4), (4, 5), (6, 8), (9, 13), (0, 0)]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_have_special_tokens_only_at_their_ends(text):
    row = preprocess()(text)
    assert row.ids[0] == 2
    assert row.ids[-1] == 3
    assert not {0, 2, 3, 4} & set(row.ids[1:-1].tolist())
    assert len(row.ids) == len(row.spans) == len(row.words) == len(row.parts)


def test_unknown_characters_are_features():
    features = preprocess().features
    assert features.valid(preprocess()("😀").ids[None]).tolist() == [[False, True, False]]


def test_what_is_cut_off_is_counted():
    row = preprocess(max_length=8)("the film is a gem and so very odd")
    assert (len(row.ids), row.cut, int(row.ids[-1])) == (8, 3, 3)
    pair = preprocess(max_length=8)(("the film is a gem", "a mess and a mess"))
    assert (len(pair.ids), pair.cut) == (8, 5)
    assert preprocess()("a " * 100_000).cut == 100_000 - 30


def test_windows_cover_the_text_and_overlap():
    text = "the film is a gem and so very odd"
    rows = preprocess(max_length=6).windows(text, overlap=2)
    assert [row.words for row in rows] == [
        [-1, 0, 1, 2, 3, -1],
        [-1, 2, 3, 4, 5, -1],
        [-1, 4, 5, 6, 7, -1],
        [-1, 6, 7, 8, -1],
    ]
    assert [text[slice(*span)] for span in rows[-1].spans[1:-1]] == ["so", "very", "odd"]
    with pytest.raises(ValueError, match=r"can overlap by 0 ... 3, got 4"):
        preprocess(max_length=6).windows(text, overlap=4)
    with pytest.raises(ValueError, match="pair of texts cannot be explained in windows"):
        preprocess().windows(("a", "a"), 1)


def test_pairs_have_types_and_words_of_their_own():
    row = preprocess()(("a gem", "a mess"))
    assert row.parts == [-1, 0, 0, -1, 1, 1, -1]
    assert row.words == [-1, 0, 1, -1, 2, 3, -1]
    found = model_arguments(torch.cat([row.ids, torch.zeros(2, dtype=torch.int64)])[None], pad=0, separator=3)
    assert found["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 0, 0]]
    assert found["attention_mask"].tolist() == [[1] * 7 + [0, 0]]


def test_lists_of_words_keep_their_numbers():
    row = preprocess()(["films", "don't"])
    assert row.words == [-1, 0, 0, 1, 1, 1, 1, 1, -1] or row.words[1:3] == [0, 0]
    assert set(row.words) == {-1, 0, 1}
    with pytest.raises(TypeError, match="Got texts and lists of words together"):
        preprocess().many(["a", ["a"]])
    with pytest.raises(TypeError, match="Got NoneType"):
        preprocess()(None)


def test_survives_checkpoints_and_loader_processes():
    one = preprocess()
    assert TextPreprocess(**one.to_dict()) == one
    copied = pickle.loads(pickle.dumps(one))
    assert copied("a gem").ids.equal(one("a gem").ids)


def test_decoding_keeps_masks_and_leaves_out_the_rest():
    assert preprocess().decode(torch.tensor([2, 7, 4, 9, 3, 0, 0])).split() == ["actor", "[MASK]", "gem"]


def test_tokens_refuse_padding_that_is_a_feature():
    with pytest.raises(ValueError, match="the padding among the special ids"):
        Tokens(4, special=(1,), pad=0)
