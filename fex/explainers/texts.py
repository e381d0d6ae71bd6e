"""How texts are read and explained: tokens, windows of long texts, batches of like lengths."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fex.checks import check_tokens
from fex.explainers.trained import AmortizedExplainer
from fex.explanations.text import TextExplanation
from fex.modality import Features, Modality, Reading
from fex.texts.backbone import load_text_net
from fex.texts.features import Tokens
from fex.texts.lora import is_adapter
from fex.texts.tokenized import Text, TokenizedText
from fex.texts.tokenizer import TextPreprocess

__all__ = ["AmortizedTextExplainer", "TextModality"]


class AmortizedTextExplainer(AmortizedExplainer):
    """A trained explainer of texts, whose inputs are token ids (B, L), int64.

    `attribute` gives a score for each token, and 0 for special and padding tokens, which have none.
    """

    def tokenize(self, texts: Sequence[Text]) -> Tensor:
        """Texts as inputs (B, L), int64; what is too long is cut off."""
        return self.preprocess.pad_batch([row.ids for row in self.preprocess.many(texts)])


class TextReading(Reading):
    """Texts, each in one piece or in windows.

    Args:
        texts: the texts.
        rows: the windows of each.
        preprocess: what read them.
        batch_size: texts or windows a pass.
    """

    def __init__(
        self, texts: Sequence[Text], rows: Sequence[list[TokenizedText]], preprocess: TextPreprocess, batch_size: int
    ) -> None:
        self.texts, self.rows, self.preprocess, self.batch_size = texts, rows, preprocess, batch_size
        self.flat = [row for several in rows for row in several]
        self.names = [""] * len(texts)

    @cached_property
    def inputs(self) -> Tensor:  # type: ignore[override] of all texts together, which passes do without
        """All windows as one batch (B, L)."""
        return self.preprocess.pad_batch([row.ids for row in self.flat])

    @property
    def pieces(self) -> list[int]:
        """Windows of each text."""
        return [len(several) for several in self.rows]

    def batches(self) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Texts of like length share a pass."""
        order = sorted(range(len(self.flat)), key=lambda i: len(self.flat[i].ids))
        for first in range(0, len(order), self.batch_size):
            some = order[first : first + self.batch_size]
            yield some, self.preprocess.pad_batch([self.flat[i].ids for i in some])

    def result(
        self,
        number: int,
        values: Sequence[Tensor],
        features: Features,
        named: Mapping[str, Any],  # noqa: ARG002
    ) -> TextExplanation:
        """Tokens with scores, averaged where windows overlap."""
        rows = self.rows[number]
        scores, spans, words, parts = _merged(rows, values)
        cut = sum(row.cut for row in rows)
        if named.get("std") is not None:
            named = {**named, "std": _merged(rows, [named["std"]])[0]}
        return TextExplanation(self.texts[number], scores, spans, words, parts, cut, len(rows), **named)


class TextModality(Modality):
    """Texts: token ids (B, L), int64, padded on the right."""

    name = "text"
    explainer = AmortizedTextExplainer

    def preprocess(self, data: Mapping[str, Any]) -> TextPreprocess:
        return TextPreprocess(**data)

    def features(self, meta: Mapping[str, Any]) -> Tokens:
        return TextPreprocess.features_of(meta["preprocess"])

    def of_inputs(self, inputs: Tensor, preprocess: TextPreprocess) -> Tokens:  # noqa: ARG002 the contract
        return preprocess.features

    def read(  # type: ignore[override]
        self, given: Any, preprocess: TextPreprocess, *, window: int | None = None, batch_size: int = 32
    ) -> TextReading:
        """A text, a pair (a tuple), or several texts (a list).

        Args:
            given: the text or texts.
            preprocess: the tokenizer.
            window: read texts that are too long in windows that overlap by so many tokens, whose scores are averaged;
                None cuts such texts off.
            batch_size: texts or windows a pass.

        Raises:
            ValueError: a text without any token.
        """
        texts = [given] if isinstance(given, str | tuple) else list(given)
        if window is None:
            rows = [[row] for row in preprocess.many(texts)]
        else:
            rows = [preprocess.windows(one, window) for one in texts]
        for one, several in zip(texts, rows, strict=True):
            check_tokens(one, several)
        return TextReading(texts, rows, preprocess, batch_size)

    def check(self, inputs: Tensor, preprocess: TextPreprocess) -> None:
        longest, vocabulary = preprocess.max_length, preprocess.vocabulary
        if inputs.ndim != 2 or inputs.dtype != torch.int64 or inputs.shape[1] > longest:
            raise ValueError(
                f"Got inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}, expected token ids (B, L), int64, "
                f"L <= {longest}; `.tokenize(texts)` gives them."
            )
        if not bool(((inputs >= 0) & (inputs < vocabulary) | (inputs == preprocess.pad)).all()):
            raise ValueError(f"Got ids up to {int(inputs.max())}, the vocabulary has {vocabulary}: use `.tokenize`.")

    def misfit(self, own: TextPreprocess, other: TextPreprocess) -> str:
        return "" if own.vocabulary == other.vocabulary else "does not read this explainer's tokens"

    def complete(
        self,
        net: nn.Module,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        backbone: str | Path | None,  # noqa: ARG002 what texts stand on is shipped
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Adapters of a shipped backbone stand on its weights, and take its tokenizer."""
        if not meta.get("adapters"):
            return tensors, meta
        backbone = load_text_net(meta["net"]["encoder"]["init_args"]["model"], classifier=False)
        data = {**meta["preprocess"], "tokenizer": backbone.preprocess.tokenizer}
        given = {name: tensor for name, tensor in net.state_dict().items() if not is_adapter(name)}
        return {**given, **tensors}, {**meta, "preprocess": data}


def _of_one(row: TokenizedText, values: Tensor) -> tuple[Any, Any, Any, Any] | None:
    """`_merged` of a text in one piece; None where its tokens lie in another order than its characters."""
    own = [place for place, part in enumerate(row.parts) if part >= 0]
    spans, words, parts = ([of[place] for place in own] for of in (row.spans, row.words, row.parts))
    keys = list(zip(parts, words, spans, strict=True))
    if keys != sorted(keys):
        return None
    whole = bool(own) and own[-1] - own[0] + 1 == len(own)
    return values[own[0] : own[-1] + 1] if whole else values[own], spans, words, parts


def _merged(rows: Sequence[TokenizedText], values: Sequence[Tensor]) -> tuple[Any, Any, Any, Any]:
    """Tokens of a text in order, each once: the mean over windows of its scores (L,)."""
    if len(rows) == 1 and (found := _of_one(rows[0], values[0])) is not None:
        return found
    # Spans are counted in each word where words were given, and the pieces of one character have the same.
    found: dict[tuple[int, int, int, int, int], list[float]] = {}
    for row, scores in zip(rows, values, strict=True):
        seen: Counter[tuple[int, int, int, int]] = Counter()
        for place, (part, span, word) in enumerate(zip(row.parts, row.spans, row.words, strict=True)):
            if part >= 0:
                token = (part, word, *span)
                found.setdefault((*token, seen[token]), []).append(float(scores[place]))
                seen[token] += 1
    keys = sorted(found)
    return (
        torch.tensor([sum(found[key]) / len(found[key]) for key in keys]),
        [(start, end) for _, _, start, end, _ in keys],
        [word for _, word, _, _, _ in keys],
        [part for part, _, _, _, _ in keys],
    )
