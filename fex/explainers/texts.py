"""A trained explainer of a text classifier: one forward pass an explanation, no black box needed."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.classes import misplaced
from fex.checks import check_choice, check_tokens
from fex.class_names import Target
from fex.explainers.images import AmortizedExplainer
from fex.explanations.several import Explanations
from fex.explanations.text import TextExplanation
from fex.nets import rebuild
from fex.storage.weights import load_state
from fex.texts.backbone import load_text_net
from fex.texts.lora import is_adapter
from fex.texts.tokenized import Text, TokenizedText
from fex.texts.tokenizer import TextPreprocess

__all__ = ["AmortizedTextExplainer", "build_text_explainer"]


def _rebuilt(meta: dict[str, Any], preprocess: dict[str, Any]) -> Any:
    """The network, untrained; checkpoints of before the key was written learnt exclusive classes."""
    features, labels = TextPreprocess.features_of(preprocess), bool(meta.get("multi_label", False))
    return rebuild(meta["net"], len(meta["class_names"]), features, multi_label=labels)


def build_text_explainer(tensors: dict[str, Tensor], meta: dict[str, Any], *, source: str) -> "AmortizedTextExplainer":
    """The explainer of a checkpoint or of an export; adapters are merged into the weights.

    Raises:
        KeyError: the description lacks something.
        ValueError: weights that do not fit.
    """
    data = dict(meta["preprocess"])
    net: Any
    if meta.get("adapters"):
        name = meta["net"]["encoder"]["init_args"]["model"]
        net = _rebuilt(meta, data)
        data["tokenizer"] = load_text_net(name, classifier=False).preprocess.tokenizer
        tensors = {**{k: v for k, v in net.state_dict().items() if not is_adapter(k)}, **tensors}
    else:
        net = _rebuilt(meta, data)
    load_state(net, tensors, source=source)
    net.encoder.merge()
    return AmortizedTextExplainer(net, {**meta, "preprocess": data})


class AmortizedTextExplainer(AmortizedExplainer):
    """An explainer network for texts with its tokenizer and class names.

    Inputs are token ids (B, L), int64, as `tokenize` gives them; `attribute` gives a score in [0, 1] for each token,
    and 0 for special and padding tokens, which have none.

    Attributes:
        features: the tokens.
        preprocess: `TextPreprocess`, text -> ids and their places in the text.
    """

    preprocess: TextPreprocess

    def _preprocess(self, data: dict[str, Any]) -> TextPreprocess:
        return TextPreprocess(**data)

    def tokenize(self, texts: Sequence[Text]) -> Tensor:
        """Texts as inputs (B, L), int64; what is too long is cut off."""
        return self.preprocess.pad_batch([row.ids for row in self.preprocess.many(texts)])

    def _check(self, inputs: Tensor) -> Tensor:
        longest, vocabulary = self.preprocess.max_length, self.preprocess.vocabulary
        if inputs.ndim != 2 or inputs.dtype != torch.int64 or inputs.shape[1] > longest:
            raise ValueError(
                f"Got inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}, expected token ids (B, L), int64, "
                f"L <= {longest}; `.tokenize(texts)` gives them."
            )
        if not bool(((inputs >= 0) & (inputs < vocabulary) | (inputs == self.preprocess.pad)).all()):
            raise ValueError(f"Got ids up to {int(inputs.max())}, the vocabulary has {vocabulary}: use `.tokenize`.")
        return inputs.to(self.device)

    def attribute(self, inputs: Tensor, target: Target | None = None) -> Tensor:
        """Ids (B, L) -> attribution of each token, (B, L), in [0, 1]."""
        return self.attribute_features(inputs, target)

    def explain(  # type: ignore[override]
        self,
        text: Text | Sequence[Text],
        target: str | int | None = None,
        top_k: int = 1,
        *,
        black_box: BlackBox | None = None,
        sources: Sequence[str] | None = None,
        window: int | None = None,
        batch_size: int = 32,
    ) -> Explanations[TextExplanation]:
        """Explains a text, a pair (a tuple), or several texts (a list), a forward pass each.

        Args:
            text: the text or texts.
            target: class by name or index; by default the predicted ones.
            top_k: how many of the predicted classes, the likeliest first; without `target`.
            black_box: ask it too, one query a text (a window): its answer then chooses the classes and gives
                `probability`. Otherwise both are the explainer's own estimate.
            sources: names of the texts in the results.
            window: explain texts that are too long in windows that overlap by so many tokens, whose scores are
                averaged; None cuts such texts off.
            batch_size: texts or windows a pass.

        Returns:
            One explanation a text and class: text by text, class by class.

        Raises:
            ValueError: unknown class, `target` along with `top_k`, a text without any token, a black box of other
                inputs or classes.
        """
        check_choice(target, top_k, len(self.class_names))
        texts = [text] if isinstance(text, str | tuple) else list(text)
        if black_box is not None:
            self.check_box(black_box)
        start = time.perf_counter()
        if window is None:
            pieces = [[row] for row in self.preprocess.many(texts)]
        else:
            pieces = [self.preprocess.windows(one, window) for one in texts]  # type: ignore[arg-type]
        for one, rows in zip(texts, pieces, strict=True):
            check_tokens(one, rows)
        chosen = None if target is None else self.target_index(target)
        found = self._explained(pieces, chosen, self._top(top_k), black_box, batch_size)
        seconds = (time.perf_counter() - start) / max(1, len(texts))
        return Explanations(
            TextExplanation(
                text=one,
                scores=scores,
                spans=spans,
                words=words,
                parts=parts,
                cut=sum(row.cut for row in rows),
                windows=len(rows),
                target=index,
                target_name=self.class_names[index],
                probability=float(probability[index]),
                probability_of="explainer" if black_box is None else "black box",
                method=self.method,
                removal=self.removal,
                black_box=self.black_box,
                queries=0 if black_box is None else len(rows),
                seconds=seconds,
                source=sources[number] if sources is not None else "",
                chosen_by="user" if target is not None else "explainer" if black_box is None else "black box",
                agreement=self.agreement,
                span=self.net.span,
            )
            for number, (one, rows, results) in enumerate(zip(texts, pieces, found, strict=True))
            for index, probability, (scores, spans, words, parts) in results
        )

    def _explained(
        self,
        pieces: list[list[TokenizedText]],
        chosen: int | None,
        top_k: int,
        black_box: BlackBox | None,
        batch_size: int,
    ) -> list[list[tuple[int, Tensor, Any]]]:
        """For each text: class, probabilities (C,), and its tokens with scores, averaged where windows overlap."""
        flat = [row for rows in pieces for row in rows]
        order = sorted(range(len(flat)), key=lambda i: len(flat[i].ids))  # texts of like length share a pass
        every = len(self.class_names)
        values: list[Tensor] = [torch.empty(0)] * len(flat)
        estimates: list[Tensor] = [torch.empty(0)] * len(flat)
        ranks: list[list[int]] = [[]] * len(flat)
        # Windows of one text must agree on the class, so they are scored for all classes where they are several.
        known = chosen is not None
        several = any(len(rows) > 1 for rows in pieces) and not known
        for first in range(0, len(order), batch_size):
            some = order[first : first + batch_size]
            inputs = self.preprocess.pad_batch([flat[i].ids for i in some])
            answer = None if black_box is None else black_box(inputs)
            classes: Tensor | int | None = chosen
            if several:
                classes = torch.arange(every).expand(len(some), every)
            elif answer is not None and not known:
                classes = answer.argsort(dim=1, descending=True, stable=True)[:, :top_k]
            scores, used, estimate = (t.cpu() for t in self.explain_classes(inputs, classes, top_k))
            estimate = estimate if answer is None else answer.cpu()
            for row, i in enumerate(some):
                length = len(flat[i].ids)
                full = torch.full((every, length), torch.nan)
                full[used[row]] = scores[row, :, :length]
                values[i], estimates[i], ranks[i] = full, estimate[row], used[row].tolist()
        found, first = [], 0
        for rows in pieces:
            here = slice(first, first + len(rows))
            first += len(rows)
            probability = torch.stack(estimates[here]).mean(0)
            ranked = ranks[here.start]
            if several:
                ranked = probability.argsort(descending=True, stable=True)[:top_k].tolist()
            found.append([(c, probability, _merged(rows, values[here], c)) for c in ranked])
        return found

    def check_box(self, black_box: BlackBox) -> None:
        """The box must read the same tokens and have the same classes.

        Raises:
            ValueError: it does not.
        """
        other: Any = black_box.preprocess
        if not isinstance(other, TextPreprocess) or other.vocabulary != self.preprocess.vocabulary:
            raise ValueError(
                f"Black box {black_box.name!r} does not read this explainer's tokens: give the box it was trained on, "
                f"{self.black_box!r}."
            )
        if black_box.num_classes != len(self.class_names):
            raise ValueError(
                f"Black box {black_box.name!r} has {black_box.num_classes} classes, this explainer, of "
                f"{self.black_box!r}, {len(self.class_names)}: give the box that it was trained on."
            )
        if (name := misplaced(black_box.class_names, self.class_names)) is not None:
            raise ValueError(
                f"Black box {black_box.name!r} has class {name!r} in another place than this explainer, of "
                f"{self.black_box!r}: give the box that it was trained on."
            )


def _merged(rows: list[TokenizedText], values: list[Tensor], index: int) -> tuple[Any, Any, Any, Any]:
    """Tokens of a text in order, each once: the mean over windows of its scores (C, L) for class `index`."""
    # Spans are counted in each word where words were given, and the pieces of one character have the same.
    found: dict[tuple[int, int, int, int, int], list[float]] = {}
    for row, scores in zip(rows, values, strict=True):
        seen: Counter[tuple[int, int, int, int]] = Counter()
        for place, (part, span, word) in enumerate(zip(row.parts, row.spans, row.words, strict=True)):
            if part >= 0:
                token = (part, word, *span)
                found.setdefault((*token, seen[token]), []).append(float(scores[index, place]))
                seen[token] += 1
    keys = sorted(found)
    return (
        torch.tensor([sum(found[key]) / len(found[key]) for key in keys]),
        [(start, end) for _, _, start, end, _ in keys],
        [word for _, word, _, _, _ in keys],
        [part for part, _, _, _, _ in keys],
    )
