"""A classifier behind an HTTP endpoint as a black box; `fex/black_box/wire.py` says what is sent and expected."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.colour import Colour
from fex.black_box.endpoint import Endpoint
from fex.black_box.scores import Outputs, check_outputs, to_probabilities
from fex.black_box.wire import Encoding, decode_response, encode_request
from fex.images.preprocess import Preprocess

__all__ = ["HttpBlackBox"]

# Bytes of an answer that are read: for all numbers, indented, and for what else a server says.
MOST_BYTES, MOST_BYTES_OF_A_NUMBER = 2**20, 64


class HttpBlackBox(BlackBox):
    """A remote classifier, asked by JSON over POST.

    Failures that may pass (no connection, no answer in time, 408, 425, 429, 5xx) are tried again with exponential
    back-off and jitter; others are errors at once.

    Args:
        url: http:// or https:// address that takes the POST; part of the config, so no secrets. Redirects are not
            followed. Proxies of the environment are used, but for a token over http://, which they could read.
        class_names: names of the classes, in the order of the scores.
        num_classes: C; needed only without `class_names`.
        encoding: "png" (small, 8 bit) or "float32" (exact, ten times larger).
        outputs: what the server returns; logits go through softmax (sigmoid where `multi_label`).
        token_env: name of the environment variable that holds a token. The token itself is read at each request and
            kept nowhere; errors show *** in its place.
        headers: further headers; they are part of the config, so no secrets.
        timeout: seconds of an attempt in all, from the connection to the last byte of the answer.
        retries: further attempts after the first.
        backoff: seconds before the first retry; doubles each time.
        rate: most requests a second; None sends as fast as the server answers.
        concurrency: requests in flight at once.
        chunk: most images a request.
        preprocess: geometry of the inputs.
        mean: the colour that `removal.Mean` fills in, RGB in [0, 1]; a value a channel where inputs have others.
        multi_label: classes are not exclusive.
        seed: seed of the jitter; None differs between processes, so that they do not retry in step.
        name: how errors and reports call it; by default host and path of the address.
        token_header: header of the token; "Authorization" holds it as a bearer token, others hold it alone.

    Raises:
        ValueError: an address or a setting that cannot work; an answer that is refused (4xx, no JSON, wrong count, more
            than a megabyte and 64 bytes a number).
        ConnectionError: no usable answer after all attempts.
    """

    def __init__(
        self,
        url: str,
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        encoding: Encoding = "png",
        outputs: Outputs = "probabilities",
        token_env: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        backoff: float = 0.5,
        rate: float | None = None,
        concurrency: int = 1,
        chunk: int = 32,
        preprocess: Preprocess | None = None,
        mean: Colour = (0.485, 0.456, 0.406),
        multi_label: bool = False,  # noqa: FBT001, FBT002 a YAML key
        seed: int | None = None,
        name: str | None = None,
        token_header: str = "Authorization",
    ) -> None:
        check_outputs(outputs)
        self.endpoint = Endpoint(
            url, token_env=token_env, token_header=token_header, headers=headers, timeout=timeout, retries=retries,
            backoff=backoff, rate=rate, concurrency=concurrency, seed=seed,
        )  # fmt: skip
        parts = urlsplit(url)
        if encoding not in ("png", "float32"):
            raise ValueError(f"Got encoding={encoding!r}, expected 'png' or 'float32'.")
        super().__init__(
            class_names=class_names,
            num_classes=num_classes,
            preprocess=preprocess,
            mean=mean,
            chunk=chunk * concurrency,
            multi_label=multi_label,
            name=name or parts.netloc + parts.path,
        )
        if encoding == "png" and len(self.mean) != 3:
            raise ValueError(f"A PNG has three colours, got {len(self.mean)} channels: set encoding: float32.")
        self.url, self.encoding, self.outputs, self.request_size = url, encoding, outputs, chunk

    def to(self, device: torch.device | str) -> "HttpBlackBox":
        """Stays where it is: the inputs are sent from the CPU."""
        return self

    def _score(self, inputs: Tensor) -> Tensor:
        answers = self.endpoint.ask_all(self._request, inputs.split(self.request_size))
        return to_probabilities(torch.cat(answers), outputs=self.outputs, multi_label=self.multi_label, name=self.name)

    def _request(self, images: Tensor) -> Tensor:
        """Scores (R, C) of one request."""
        rows, classes = len(images), self.num_classes
        return self.endpoint.ask(
            encode_request(images, self.encoding),
            self.name,
            MOST_BYTES + MOST_BYTES_OF_A_NUMBER * rows * classes,
            f"{rows} rows of {classes} numbers: it should send the scores alone",
            lambda body, secrets: decode_response(body, rows, self.outputs, classes, self.name, secrets),
        )
