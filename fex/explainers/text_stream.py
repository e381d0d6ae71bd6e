"""Explaining any number of texts in constant memory: like lengths share a batch, results come in the order given."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from fex.black_box.base import BlackBox
from fex.checks import NoTokensError
from fex.explainers.texts import AmortizedTextExplainer
from fex.explanations.text import TextExplanation
from fex.texts.files import TextRecord

__all__ = ["explain_records"]

POOL = 64  # batches that are sorted by length together
NO_TOKENS = "the text has no tokens: it is empty, or of characters that cannot be seen"


def explain_records(
    explainer: AmortizedTextExplainer,
    records: Iterable[TextRecord],
    *,
    target: str | int | None = None,
    top_k: int = 1,
    batch_size: int = 32,
    window: int | None = None,
    black_box: BlackBox | None = None,
) -> Iterator[tuple[TextRecord, list[TextExplanation] | str]]:
    """Explanations of each text, in order, one forward pass a text (or window).

    Args:
        explainer: trained.
        records: texts; taken as needed, some thousands at a time.
        target: see `AmortizedTextExplainer.explain`.
        top_k: see there.
        batch_size: texts a pass.
        window: see there.
        black_box: see there.

    Yields:
        The record, and its explanations or the reason why there are none.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    stream, options = iter(records), {"black_box": black_box, "window": window, "batch_size": batch_size}

    def explained(some: Sequence[TextRecord]) -> Iterator[TextExplanation]:
        texts, names = [record.text for record in some if record.text is not None], [record.name for record in some]
        return iter(explainer.explain(texts, target, top_k, sources=names, **options) if some else ())

    while pool := list(islice(stream, batch_size * POOL)):
        reasons = [record.error if record.text is None else "" for record in pool]
        good = [record for record in pool if record.text is not None]
        try:
            found = explained(good)
        except NoTokensError:  # seldom, so that texts are not cut into tokens twice to be sure of it
            reasons = _reasons(explainer, pool)
            found = explained([record for record, reason in zip(pool, reasons, strict=True) if not reason])
        for record, reason in zip(pool, reasons, strict=True):
            yield record, reason or list(islice(found, top_k))


def _reasons(explainer: AmortizedTextExplainer, records: Sequence[TextRecord]) -> list[str]:
    """Why each record cannot be explained; "" where it can."""
    there = [record.text for record in records if record.text is not None]
    heads = [text if isinstance(text, tuple) else text[:1000] for text in there]
    found = iter(explainer.preprocess.many(heads))  # in one call, a fraction of the time
    return [
        record.error
        if record.text is None
        # A long run of spaces may come before the first word.
        else ("" if next(found).has_tokens or explainer.preprocess(record.text).has_tokens else NO_TOKENS)
        for record in records
    ]
