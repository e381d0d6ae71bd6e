"""A language model behind an OpenAI-compatible address as a classifier of texts: a prompt, and a word a class."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.classes import chosen_names
from fex.black_box.endpoint import Endpoint
from fex.black_box.logprobs import encode_prompts, label_probabilities, read_tops
from fex.black_box.text import TextInputs
from fex.texts.backbone import load_tokenizer

__all__ = ["PromptBlackBox", "is_completions"]

log = logging.getLogger(__name__)

MOST_BYTES, MOST_BYTES_OF_A_TOKEN = 2**20, 2**10  # of an answer that are read
TEXT = "{text}"
MOST_TOPS = {True: 20, False: 5}  # what OpenAI gives of chats and of completions


def is_completions(url: str) -> bool:
    """Whether an address is that of a language model, by its end."""
    return url.startswith(("http://", "https://")) and urlsplit(url).path.rstrip("/").endswith("/completions")


class PromptBlackBox(TextInputs):
    r"""A language model that is asked by a prompt, and answers with one word a class.

    Each text is put into the prompt, one token is asked for, and the probabilities of the label words in its place are
    read off its log-probabilities and divided by their sum. A label word that is not among the likeliest tokens that
    the server lists gets the most that it can have then: the probability of the least likely of them, or what they all
    leave of 1 if that is less. Removed tokens are mask tokens or left out, as the removal says; the prompt around the
    text stays. Texts are put together from the tokenizer's tokens, so that case and spaces are those that it keeps.

    Args:
        url: address that ends in /v1/completions (several texts a request) or /v1/chat/completions (one). It is part of
            the config, so no secrets.
        model: name of the model on that server.
        template: the prompt, with {text} where the text goes, such as "Review: {text}\nIs it good? Answer yes or no:".
        labels: one word a class, which the model takes for one token.
        class_names: names of the classes; by default the words.
        tops: how many of the likeliest tokens are asked for; by default the most that OpenAI gives, 20 of a chat and 5
            of a completion. More make it surer that label words are among them, where the server allows it.
        tokenizer: whose tokens are the features: a shipped backbone, local folder or hub id.
        max_length: most tokens of a text.
        token_env: name of the environment variable that holds a token; see `HttpBlackBox`.
        token_header: see there; so for `headers`, `timeout`, `retries`, `backoff`, `rate`, `concurrency` and `seed`.
        chunk: most texts a request; a chat always has one.
        name: how errors and reports call it; by default the model.

    Attributes:
        unanswered: texts for which no label word was among the likeliest tokens, so that all classes got the same.

    Raises:
        ValueError: an address or a setting that cannot work; an answer that is refused; answers that never have a label
            word among their tokens.
        ConnectionError: no usable answer after all attempts.
    """

    def __init__(
        self,
        url: str,
        model: str,
        template: str,
        labels: Sequence[str],
        class_names: Sequence[str] | None = None,
        tops: int | None = None,
        tokenizer: str = "minilm",
        max_length: int | None = None,
        token_env: str | None = None,
        token_header: str = "Authorization",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        backoff: float = 0.5,
        rate: float | None = None,
        concurrency: int = 4,
        chunk: int = 16,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        self.endpoint = Endpoint(
            url, token_env=token_env, token_header=token_header, headers=headers, timeout=timeout, retries=retries,
            backoff=backoff, rate=rate, concurrency=concurrency, seed=seed,
        )  # fmt: skip
        if not is_completions(url):
            raise ValueError("Got a url that is not of a language model: it ends in /completions or /chat/completions.")
        if template.count(TEXT) != 1:
            raise ValueError(f"Got template {template!r:.200}, expected one {TEXT} in it, where the text goes.")
        self.chat = urlsplit(url).path.rstrip("/").endswith("/chat/completions")
        self.tops = MOST_TOPS[self.chat] if tops is None else tops
        if self.tops < 1:
            raise ValueError(f"Got tops={tops}, expected at least 1.")
        self.labels = _checked(labels)
        self.request_size = 1 if self.chat else chunk
        preprocess: Any = load_tokenizer(tokenizer, max_length=max_length)
        BlackBox.__init__(
            self,
            class_names=chosen_names(class_names, labels),
            num_classes=len(labels),
            preprocess=preprocess,
            chunk=self.request_size * concurrency,
            name=name or model,
        )
        self.url, self.model, self.template, self.tokenizer = url, model, template, tokenizer
        self.unanswered, self._answered = 0, False

    def to(self, device: torch.device | str) -> "PromptBlackBox":
        """Stays where it is: texts are sent from the CPU."""
        return self

    def _score(self, inputs: Tensor) -> Tensor:
        texts = [self.preprocess.decode(row) for row in inputs]
        parts = [texts[at : at + self.request_size] for at in range(0, len(texts), self.request_size)]
        tops = [top for part in self.endpoint.ask_all(self._request, parts) for top in part]
        found = [label_probabilities(top, self.labels) for top in tops]
        missing = sum(not any_label for _, any_label in found)
        if missing == len(found) and not self._answered:
            tokens = sorted({token for top in tops for token, _ in top})
            raise ValueError(
                f"Black box {self.name!r} answers with none of the label words {self.labels}; its likeliest tokens are "
                f"{tokens[:10]}. Say in the template which words it is to answer with, and let each be one token."
            )
        if missing and not self.unanswered:
            log.warning(
                "Black box %r gave none of the label words %s for %d of %d texts: all classes count alike there. How "
                "often that happens is counted in `unanswered`.",
                self.name, self.labels, missing, len(found),
            )  # fmt: skip
        self.unanswered, self._answered = self.unanswered + missing, True
        return torch.tensor([scores for scores, _ in found])

    def _request(self, texts: list[str]) -> list[list[tuple[str, float]]]:
        """The likeliest tokens of each text's answer."""
        prompts = [self.template.replace(TEXT, text) for text in texts]
        return self.endpoint.ask(
            encode_prompts(prompts, self.model, self.tops, chat=self.chat),
            self.name,
            MOST_BYTES + MOST_BYTES_OF_A_TOKEN * (self.tops + 1) * len(texts),
            f"{self.tops} tokens of each of {len(texts)} texts",
            lambda body, secrets: read_tops(body, len(texts), self.name, secrets, chat=self.chat),
        )


def _checked(labels: Sequence[str]) -> list[str]:
    """The label words.

    Raises:
        ValueError: fewer than two, the same twice (case does not count), or one that is not one word.
    """
    words = list(labels)
    plain = all(isinstance(word, str) and word and len(word.split()) == 1 and word == word.strip() for word in words)
    if isinstance(labels, str) or not plain or len(words) < 2 or len({word.casefold() for word in words}) < len(words):
        raise ValueError(f"Got labels {labels!r}, expected two or more single words, each another: one a class.")
    return words
