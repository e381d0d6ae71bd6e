"""ERASER's Movie Reviews with human rationales (Zaidan & Eisner 2008; DeYoung et al. 2020)."""

import json
from pathlib import Path
from typing import Any

from datamodules.hub_rows import load_split
from datamodules.text_module import TextDataModule, TextTable

__all__ = ["MovieReviews"]


class MovieReviews(TextDataModule):
    """1,600 training, 200 validation and 199 test reviews; labels 0 = negative, 1 = positive.

    Words are the data's own (split by white space), so that rationales and words agree; `masks` are the tokens of the
    words that a human marked. Those of training and validation are partial, those of the test part comprehensive.

    Args:
        root: folder with train.jsonl, val.jsonl and test.jsonl of objects with text, label and rationale_spans (word
            spans, the end exclusive), or an id of the hub with columns review, label and evidences.
        **options: see `TextDataModule`.
    """

    def __init__(self, root: str = "eraser-benchmark/movie_rationales", **options: Any) -> None:
        super().__init__(**options)
        self.root = root

    def read(self, split: str) -> TextTable:
        """See `TextDataModule`."""
        folder = Path(self.root)
        if folder.is_dir():
            return _from_file(folder / f"{split}.jsonl")
        if self.root.startswith((".", "/", "~")):
            raise FileNotFoundError(f"Found no folder at {self.root}: give one with train.jsonl, or an id of the hub.")
        return _from_hub(self.root, {"val": "validation"}.get(split, split))


def _from_file(path: Path) -> TextTable:
    if not path.is_file():
        raise FileNotFoundError(f"Found no reviews at {path}.")
    found = TextTable([], [], [], [], [])
    assert found.labels is not None
    assert found.rationales is not None
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            name = f"{path.name}:{number}"
            try:
                row = json.loads(line)
                words, label = row["text"].split(), int(row["label"])
                spans = [(int(start), int(end)) for start, end in row["rationale_spans"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                found.broken.append((name, f"{type(error).__name__}: {error}"))
                continue
            if any(not 0 <= start <= end <= len(words) for start, end in spans):
                found.broken.append((name, f"a rationale lies outside the text's {len(words)} words"))
                continue
            found.texts.append(words)
            found.labels.append(label)
            found.rationales.append([span for span in spans if span[0] < span[1]])  # ERASER's test part has empty ones
            found.names.append(str(row.get("id", name)))
    return found


def _from_hub(name: str, split: str) -> TextTable:
    advice = "Without a network, set `root` to a folder with train.jsonl, val.jsonl and test.jsonl."
    data = load_split(name, split, advice)
    texts: list[Any] = [review.split() for review in data["review"]]
    spans = [
        [span for evidence in evidences for span in _places(words, evidence.split())]
        for words, evidences in zip(texts, data["evidences"], strict=True)
    ]
    return TextTable(texts, list(data["label"]), spans, [f"row {i}" for i in range(len(texts))], [])


def _places(words: list[str], evidence: list[str]) -> list[tuple[int, int]]:
    """Where the evidence first stands in the text; [] where it does not."""
    size = len(evidence)
    for start in range(len(words) - size + 1):
        if size and words[start] == evidence[0] and words[start : start + size] == evidence:
            return [(start, start + size)]
    return []
