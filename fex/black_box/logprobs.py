"""What is asked of a language model's server, as OpenAI's API has it, and the log-probabilities in its answer.

`/v1/completions` takes several prompts a request, `/v1/chat/completions` one. Both are asked for one token, and for the
likeliest tokens in its place with their log-probabilities.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from fex.black_box.wire import quoted

__all__ = ["encode_prompts", "label_probabilities", "read_tops"]

SPACES = " \t\r\n▁Ġ"  # as tokenizers write the space before a word, too


def encode_prompts(prompts: Sequence[str], model: str, tops: int, *, chat: bool) -> bytes:
    """The body of one request; of a chat it has one prompt."""
    common = {"model": model, "max_tokens": 1, "temperature": 0}
    if chat:
        message = {"role": "user", "content": prompts[0]}
        return json.dumps({**common, "messages": [message], "logprobs": True, "top_logprobs": tops}).encode()
    return json.dumps({**common, "prompt": list(prompts), "logprobs": tops}).encode()


def read_tops(
    body: bytes, rows: int, name: str, secrets: Sequence[str], *, chat: bool
) -> list[list[tuple[str, float]]]:
    """The likeliest tokens of each prompt, in their order, with their log-probabilities.

    Raises:
        ValueError: no answer of this API, or one without log-probabilities; quotes what it got.
    """
    try:
        answer = json.loads(body)
        choices = sorted(answer["choices"], key=lambda choice: choice.get("index", 0))
        if [choice.get("index", 0) for choice in choices] != list(range(rows)):
            raise KeyError("index")
        return [_top(choice["logprobs"], chat=chat) for choice in choices]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        where = "choices[].logprobs.content[0].top_logprobs" if chat else "choices[].logprobs.top_logprobs[0]"
        raise ValueError(
            f"Black box {name!r} answered {quoted(body, secrets)}, expected {rows} x {where}: is it an "
            "OpenAI-compatible server whose model gives log-probabilities?"
        ) from None


def _top(logprobs: Any, *, chat: bool) -> list[tuple[str, float]]:
    if chat:
        found = [(each["token"], each["logprob"]) for each in logprobs["content"][0]["top_logprobs"]]
    else:
        found = list(logprobs["top_logprobs"][0].items())
    if not found or not all(isinstance(token, str) and math.isfinite(float(value)) for token, value in found):
        raise ValueError("no tokens")
    return [(token, min(float(value), 0.0)) for token, value in found]


def label_probabilities(tops: Sequence[tuple[str, float]], labels: Sequence[str]) -> tuple[list[float], bool]:
    """Probability of each label word, which sum to 1, and whether any of them was among the tokens.

    Tokens that are the same word but for case and spaces count together. A word that is not among them gets the most
    that it can have: no more than the least likely token that is listed, and no more than what all listed leave.

    Args:
        tops: tokens and their log-probabilities.
        labels: words, in the order of the classes.

    Example:
        >>> scores, _ = label_probabilities([(" Yes", -0.2231), ("maybe", -2.9957)], ["yes", "no"])
        >>> [round(score, 3) for score in scores]
        [0.941, 0.059]
    """
    found: dict[str, float] = {}
    for token, value in tops:
        word = token.strip(SPACES).casefold()
        found[word] = found.get(word, 0.0) + math.exp(value)
    left = max(1.0 - sum(found.values()), 1e-9)  # rounded answers may leave less than nothing
    floor = min(left, math.exp(min(value for _, value in tops)))
    scores = [max(found.get(label.casefold(), floor), 1e-30) for label in labels]
    return [score / sum(scores) for score in scores], any(label.casefold() in found for label in labels)
