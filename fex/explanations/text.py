"""The explanation of one text: which words count, for which class, by which method, at what cost."""

import csv
import io
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from fex.explanations.base import FIGURES, BaseExplanation
from fex.texts.tokenized import Text, TokenizedText

__all__ = ["TextExplanation", "Word"]


class Word(NamedTuple):
    """A word and its score.

    Attributes:
        word: as it stands in the text.
        score: largest score of its tokens.
        start: first character in its text.
        end: character after the last.
        part: 0, or 1 in the second text of a pair.
    """

    word: str
    score: float
    start: int
    end: int
    part: int


@dataclass(frozen=True, eq=False)
class TextExplanation(BaseExplanation):
    """Attribution of the tokens of one text, or pair of texts, for one class.

    It is saved as ``.html`` (a self-contained page with coloured words), ``.png``, ``.pdf`` or ``.svg`` (see `plot`),
    ``.json`` (see `to_dict`) or ``.csv``, one line a word: word, score, start, end, part.

    Args:
        text: the text, a pair of texts, or a list of words (which are put together by spaces).
        scores: of its tokens in order, special ones left out, (N,), float32.
        spans: characters [start, end) of each token in its own text; in its own word for a list of words.
        words: number of each token's word.
        parts: 0 or 1, the text of a pair that each token belongs to.
        cut: tokens that did not fit and were not looked at.
        windows: passes that were needed; more than 1 for long texts in windows.
        **named: see `BaseExplanation`.

    Raises:
        ValueError: scores that are not one a token, or not finite.
    """

    text: Text
    scores: Tensor = field(repr=False)
    spans: list[tuple[int, int]] = field(repr=False)
    words: list[int] = field(repr=False)
    parts: list[int] = field(repr=False)
    cut: int
    windows: int

    suffixes: ClassVar[tuple[str, ...]] = (".html", ".json", ".csv", ".png", *FIGURES)

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.spans),):
            raise ValueError(f"Got scores of shape {tuple(self.scores.shape)} for {len(self.spans)} tokens.")
        self._own("scores", self.scores)

    @classmethod
    def of_tokens(cls, text: Text, row: TokenizedText, scores: Tensor, **named: Any) -> "TextExplanation":
        """The explanation of a text that was read in one pass.

        Args:
            text: the text.
            row: its tokens.
            scores: of its tokens, special ones included, and perhaps of padding after them (L,).
            **named: see `BaseExplanation`.
        """
        own = [place for place, part in enumerate(row.parts) if part >= 0]
        return cls(
            text=text,
            scores=scores[own],
            spans=[row.spans[place] for place in own],
            words=[row.words[place] for place in own],
            parts=[row.parts[place] for place in own],
            cut=row.cut,
            windows=1,
            **named,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or both of a pair."""
        if isinstance(self.text, list):
            return (" ".join(self.text),)
        return (self.text,) if isinstance(self.text, str) else self.text

    def word_scores(self) -> list[Word]:
        """Words in the order of the text, each with the largest score of its tokens.

        Characters between them (spaces, what the tokenizer ignores) belong to no word.
        """
        return list(self._words)

    @cached_property
    def _words(self) -> list[Word]:
        """Put together once; a result, its table, its page and its flatness all ask."""
        starts: list[int] = []
        if isinstance(self.text, list):
            starts = [0, *accumulate(len(word) + 1 for word in self.text)]
        found: dict[tuple[int, int], tuple[float, int, int]] = {}
        for score, (start, end), number, part in zip(
            self.scores.tolist(), self.spans, self.words, self.parts, strict=True
        ):
            if starts:
                start, end = start + starts[number], end + starts[number]  # noqa: PLW2901
            key = part, number
            if key in found:
                best, first, last = found[key]
                found[key] = max(best, score), min(first, start), max(last, end)
            else:
                found[key] = score, start, end
        texts = self.texts
        words = [
            Word(texts[part][start:end], score, start, end, part) for (part, _), (score, start, end) in found.items()
        ]
        return sorted(words, key=attrgetter("part", "start"))

    @property
    def shown(self) -> np.ndarray:
        """The words' scores."""
        return np.array([word.score for word in self.word_scores()])

    def word_errors(self) -> list[float] | None:
        """Standard error of each of `word_scores`: that of the token that gave it; None where they are not known."""
        if self.std is None:
            return None
        best: dict[tuple[int, int], tuple[float, float]] = {}
        for score, error, number, part in zip(
            self.scores.tolist(), self.std.tolist(), self.words, self.parts, strict=True
        ):
            best[part, number] = max(best.get((part, number), (score, error)), (score, error), key=lambda each: each[0])
        return [best[key][1] for key in sorted(best)]  # words are numbered in their order

    def top(self, count: int | None) -> list[Word]:
        """The words of the largest scores, the largest first; None gives all."""
        return sorted(self.word_scores(), key=lambda word: -word.score)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: words with scores, character spans and, where known, standard errors, and the rest."""
        words, errors = self.word_scores(), self.word_errors()
        return {
            **self._meta(),
            "text": self.texts[0] if len(self.texts) == 1 else list(self.texts),
            "words": [
                {"word": w.word, "score": float(f"{w.score:.7g}"), "start": w.start, "end": w.end}
                | ({"part": w.part} if len(self.texts) > 1 else {})
                | ({} if errors is None else {"standard_error": float(f"{errors[number]:.4g}")})
                for number, w in enumerate(words)
            ],
            "aggregation": "max of the tokens",
            "tokens_cut": self.cut,
            "windows": self.windows,
        }

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        return self._drawn("card")

    def _encoded(self, suffix: str) -> bytes:
        if suffix == ".png":
            return self._drawn("file", suffix)
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(Word._fields)
        writer.writerows(self.word_scores())
        return table.getvalue().encode("utf-8", "replace")
