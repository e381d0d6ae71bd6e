"""The explanation of one text: which words count, for which class, by which method, at what cost."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from fex.atomic import replacing
from fex.tokenizer import Text

__all__ = ["TextExplanation", "Word"]

SUFFIXES = (".html", ".json", ".csv")


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
class TextExplanation:
    """Attribution of the tokens of one text, or pair of texts, for one class.

    Args:
        text: the text, a pair of texts, or a list of words (which are put together by spaces).
        scores: of its tokens in order, special ones left out, (N,), float32.
        spans: characters [start, end) of each token in its own text; in its own word for a list of words.
        words: number of each token's word.
        parts: 0 or 1, the text of a pair that each token belongs to.
        cut: tokens that did not fit and were not looked at.
        windows: passes that were needed; more than 1 for long texts in windows.
        target: index of the explained class.
        target_name: its name.
        probability: of the explained class, in [0, 1].
        probability_of: whose estimate that is: the explainer's own, or the black box's answer.
        method: explainer's name.
        removal: what removed tokens were replaced by in its making.
        black_box: name of what is explained.
        queries: black-box queries spent on it.
        seconds: wall time of it; a batch's time divided by its texts.
        source: name of the text.

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
    target: int
    target_name: str
    probability: float
    probability_of: Literal["explainer", "black box"]
    method: str
    removal: str
    black_box: str
    queries: int = 0
    seconds: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.spans),):
            raise ValueError(f"Got scores of shape {tuple(self.scores.shape)} for {len(self.spans)} tokens.")
        if not bool(self.scores.isfinite().all()):
            raise ValueError(
                f"The attribution of {self.source or 'the text'} for class {self.target_name!r} is not finite: the "
                "explainer's weights are broken; check the checkpoint."
            )
        object.__setattr__(self, "scores", self.scores.detach().float().cpu())

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
        found: dict[tuple[int, int], list[float]] = {}
        starts: list[int] = []
        if isinstance(self.text, list):
            length = 0
            for word in self.text:
                starts.append(length)
                length += len(word) + 1
        for score, (start, end), number, part in zip(
            self.scores.tolist(), self.spans, self.words, self.parts, strict=True
        ):
            shift = starts[number] if starts else 0
            word = found.setdefault((part, number), [score, start + shift, end + shift])
            word[:] = [max(word[0], score), min(word[1], start + shift), max(word[2], end + shift)]
        texts = self.texts
        words = [
            Word(texts[part][int(start) : int(end)], score, int(start), int(end), part)
            for (part, _), (score, start, end) in found.items()
        ]
        return sorted(words, key=lambda word: (word.part, word.start))

    def top(self, count: int) -> list[Word]:
        """The words of the largest scores, the largest first."""
        return sorted(self.word_scores(), key=lambda word: -word.score)[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: words with scores and character spans, and the rest."""
        return {
            "source": self.source,
            "text": self.texts[0] if len(self.texts) == 1 else list(self.texts),
            "target": {"index": self.target, "name": self.target_name},
            "probability": self.probability,
            "probability_of": self.probability_of,
            "words": [
                {"word": w.word, "score": float(f"{w.score:.7g}"), "start": w.start, "end": w.end}
                | ({"part": w.part} if len(self.texts) > 1 else {})
                for w in self.word_scores()
            ],
            "aggregation": "max of the tokens",
            "tokens_cut": self.cut,
            "windows": self.windows,
            "method": self.method,
            "black_box": self.black_box,
            "removal": self.removal,
            "queries": self.queries,
            "seconds": self.seconds,
        }

    def _repr_html_(self) -> str:
        """How notebooks show it."""
        from fex.report.text import text_card

        return text_card([self]).html

    def save(self, path: str | Path) -> Path:
        """Writes it in the format of the suffix; the file appears whole or not at all.

        - ``.html``: a self-contained page with coloured words.
        - ``.json``: see `to_dict`.
        - ``.csv``: one line a word: word, score, start, end, part.

        Raises:
            ValueError: another suffix.
            OSError: the place cannot be written; names it.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(f"Cannot save an explanation as {path.name!r}: end the name in one of {SUFFIXES}.")
        if suffix == ".html":
            from fex.report.text import write_text_page

            write_text_page(path, [[self]])
            return path
        with replacing(path) as part, part.open("w", encoding="utf-8", errors="replace", newline="") as file:
            if suffix == ".json":
                file.write(json.dumps(self.to_dict(), ensure_ascii=False))
            else:
                writer = csv.writer(file)
                writer.writerow(Word._fields)
                writer.writerows(self.word_scores())
        return path
