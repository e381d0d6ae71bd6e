"""Texts held in memory as token ids."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.skips import Skips
from fex.texts import Text, TextPreprocess
from fex.types import Batch

__all__ = ["TextRows"]

AT_ONCE = 4096  # texts tokenised together


class TextRows:
    """Tokenised texts as a data set: one look-up a batch, padded to its longest.

    A text without any token has valid = False. Texts that are cut off are counted in `truncated`.

    Args:
        texts: texts, pairs, or lists of words.
        preprocess: their tokenizer.
        labels: classes; None where there are none.
        rationales: for lists of words, [start, end) spans of words that a human marked; None where there are none.
        names: what each row is called in messages.
        keep_texts: hold the texts too, and put them and the names into the batches: results are written from them.

    Attributes:
        lengths: tokens of each row, special ones included (n,), int64.
        truncated: rows that were cut off.
        tokens_cut: tokens that were left out in them.
        skips: rows that have no token.
    """

    def __init__(
        self,
        texts: Sequence[Text],
        preprocess: TextPreprocess,
        labels: Sequence[int] | None = None,
        rationales: Sequence[Sequence[tuple[int, int]]] | None = None,
        names: Sequence[str] | None = None,
        *,
        keep_texts: bool = False,
    ) -> None:
        self.preprocess, self.names = preprocess, names
        self.texts = texts if keep_texts else None
        self.labels = None if labels is None else torch.tensor(labels, dtype=torch.int64)
        self.skips = Skips(len(texts), "a text")
        self.truncated = self.tokens_cut = 0
        ids, words, marked, lengths = [], [], [], []
        for first in range(0, len(texts), AT_ONCE):
            for row, found in enumerate(preprocess.many(texts[first : first + AT_ONCE]), first):
                ids.append(found.ids.int())
                words.append(torch.tensor(found.words, dtype=torch.int32))
                lengths.append(len(found.ids))
                self.truncated += found.cut > 0
                self.tokens_cut += found.cut
                if not found.has_tokens:
                    self.skips.row(row, self.name(row), ValueError("it has no tokens"))
                if rationales is not None:
                    chosen = {word for start, end in rationales[row] for word in range(start, end)}
                    marked.append(torch.tensor([word in chosen for word in found.words]))
        self.lengths = torch.tensor(lengths)
        self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths.cumsum(0)])
        self._ids, self._words = _joined(ids), _joined(words)
        self._marked = _joined(marked) if rationales is not None else None

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, index: int) -> str:
        """What row `index` is called."""
        return self.names[index] if self.names is not None else f"row {index}"

    def _rows(self, flat: Tensor, indices: list[int], fill: int) -> Tensor:
        rows = [flat[self._starts[i] : self._starts[i + 1]] for i in indices]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

    def batch(self, indices: Tensor) -> Batch:
        """Rows (B,) int64 -> inputs (B, L), words (B, L), and labels, masks (B, L), texts where there are any."""
        rows = indices.tolist()
        inputs = self._rows(self._ids, rows, self.preprocess.pad).long()
        batch: dict[str, Any] = {
            "inputs": inputs,
            "words": self._rows(self._words, rows, -1).long(),
            "valid": self.preprocess.features.valid(inputs).any(1),
        }
        if self.labels is not None:
            batch["labels"] = self.labels[indices]
        if self._marked is not None:
            batch["masks"] = self._rows(self._marked, rows, 0)
        if self.texts is not None:
            batch["texts"] = [self.texts[row] for row in rows]
            batch["names"] = [self.name(row) for row in rows]
        return batch  # type: ignore[return-value]


def _joined(rows: list[Tensor]) -> Tensor:
    return torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int32)
