"""A text as token ids, each with its place in the text."""

import re
from dataclasses import dataclass

import torch
from tokenizers import Encoding
from torch import Tensor

__all__ = ["Text", "TokenizedText", "encodable", "tokenized"]

# A text, a pair of texts, or a text that is split into words already.
Text = str | tuple[str, str] | list[str]
LONE = re.compile("[\ud800-\udfff]")  # halves of characters, as in JSON that was cut: no encoding has them


@dataclass(frozen=True)
class TokenizedText:
    """One text as token ids, each with its place in the text.

    Attributes:
        ids: (L,), int64, special tokens included.
        spans: character span [start, end) of each token in its own text; (0, 0) of special tokens.
        words: number of the word that each token belongs to, counted over both texts of a pair; -1 of special tokens.
        parts: 0 or 1, the text of a pair that each token belongs to; -1 of special tokens.
        cut: tokens that did not fit and were left out.
    """

    ids: Tensor
    spans: list[tuple[int, int]]
    words: list[int]
    parts: list[int]
    cut: int = 0

    @property
    def has_tokens(self) -> bool:
        """Whether there is anything beside special tokens."""
        return max(self.parts, default=-1) >= 0


def encodable(text: Text) -> Text:
    """The text with replacement characters for lone surrogates; as long as it was."""
    return LONE.sub("\ufffd", text) if isinstance(text, str) else type(text)(LONE.sub("\ufffd", part) for part in text)


def tokenized(encoding: Encoding, cut: int) -> TokenizedText:
    """What a fast tokenizer found; `cut` tokens were left out."""
    parts = [-1 if part is None else part for part in encoding.sequence_ids]
    words = [-1 if part < 0 or word is None else word for part, word in zip(parts, encoding.word_ids, strict=True)]
    if max(parts, default=0) > 0:  # the second text's words go on where the first's end
        first = 1 + max((word for word, part in zip(words, parts, strict=True) if part == 0), default=-1)
        words = [word + first if part == 1 else word for word, part in zip(words, parts, strict=True)]
    return TokenizedText(torch.tensor(encoding.ids, dtype=torch.int64), list(encoding.offsets), words, parts, cut)
