"""A classifier behind an HTTP endpoint as a black box; `fex/black_box/wire.py` says what is sent and expected."""

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from urllib.parse import unquote, urlsplit

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.exchange import Answer, post
from fex.black_box.retry import LONGEST_WAIT, RateLimiter, TransientError, retry_delay
from fex.black_box.scores import Outputs, check_outputs, to_probabilities
from fex.black_box.secrets import check_address, check_headers, hidden, public, query_values, read_token
from fex.black_box.wire import Encoding, decode_response, encode_request, quoted
from fex.images.preprocess import Preprocess

__all__ = ["HttpBlackBox"]

RETRIED = {408, 425, 429}  # besides every 5xx: the server asks for patience
SECONDS = re.compile("[0-9]{1,9}")  # a Retry-After that is no date


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
        mean: the colour that `removal.Mean` fills in, RGB in [0, 1].
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
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        multi_label: bool = False,  # noqa: FBT001, FBT002 a YAML key
        seed: int | None = None,
        name: str | None = None,
        token_header: str = "Authorization",
    ) -> None:
        check_outputs(outputs)
        check_address(url)
        check_headers(headers or {})
        parts = urlsplit(url)
        if encoding not in ("png", "float32"):
            raise ValueError(f"Got encoding={encoding!r}, expected 'png' or 'float32'.")
        if timeout <= 0 or retries < 0 or backoff < 0 or concurrency < 1:
            raise ValueError(
                f"Got timeout={timeout}, retries={retries}, backoff={backoff}, concurrency={concurrency}, expected "
                "timeout > 0, retries >= 0, backoff >= 0, concurrency >= 1."
            )
        super().__init__(
            class_names=class_names,
            num_classes=num_classes,
            preprocess=preprocess,
            mean=mean,
            chunk=chunk * concurrency,
            multi_label=multi_label,
            name=name or parts.netloc + parts.path,
        )
        self.url, self.encoding, self.outputs = url, encoding, outputs
        self.token_env, self.token_header = token_env, token_header
        self.headers = dict(headers or {})
        self.timeout, self.retries, self.backoff = timeout, retries, backoff
        self.request_size, self.concurrency = chunk, concurrency
        self._limiter = RateLimiter(rate) if rate is not None else None
        self._random = Random(seed)

    def to(self, device: torch.device | str) -> "HttpBlackBox":
        """Stays where it is: the inputs are sent from the CPU."""
        return self

    def _score(self, inputs: Tensor) -> Tensor:
        parts = inputs.split(self.request_size)
        if len(parts) == 1:
            answers = [self._request(parts[0])]
        else:
            with ThreadPoolExecutor(self.concurrency) as pool:
                answers = list(pool.map(self._request, parts))
        return to_probabilities(torch.cat(answers), outputs=self.outputs, multi_label=self.multi_label, name=self.name)

    def _request(self, images: Tensor) -> Tensor:
        """Scores (R, C) of one request, after as many attempts as it takes and are allowed."""
        body = encode_request(images, self.encoding)
        attempts = 0
        while True:
            if self._limiter is not None:
                self._limiter.wait()
            try:
                return self._attempt(body, len(images))
            except TransientError as error:
                attempts += 1
                if attempts > self.retries:
                    raise ConnectionError(
                        f"Black box {self.name!r} gave no answer in {attempts} attempts; the last: {error}. Check that "
                        "the server runs at `url`, or raise `timeout`, `retries` or `backoff`."
                    ) from error
                asked = min(error.wait, LONGEST_WAIT)
                time.sleep(max(asked, retry_delay(attempts - 1, self.backoff, self._random)))

    def _attempt(self, body: bytes, rows: int) -> Tensor:
        """Scores (R, C) of one attempt; no message has a secret in it."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self.headers}
        secrets = query_values(self.url)
        if self.token_env is not None:
            token = read_token(self.token_env, self.name)
            headers[self.token_header] = f"Bearer {token}" if self.token_header.lower() == "authorization" else token
            secrets.append(token)
        most = MOST_BYTES + MOST_BYTES_OF_A_NUMBER * rows * self.num_classes
        tokened = self.token_env is not None
        try:
            answer = post(self.url, body, headers, seconds=self.timeout, most=most, secret=tokened)
        except TransientError as error:
            raise TransientError(hidden(str(error), secrets)) from None
        except ValueError as error:
            raise ValueError(f"Black box {self.name!r} was not asked: {hidden(str(error), secrets)}.") from None
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, secrets)
        if len(answer.body) > most:
            raise ValueError(
                f"Black box {self.name!r} answered with more than {most:,} bytes, the limit for {rows} rows of "
                f"{self.num_classes} numbers: it should send the scores alone."
            )
        return decode_response(answer.body, rows, self.outputs, self.num_classes, self.name, secrets)

    def _refusal(self, answer: Answer, secrets: Sequence[str]) -> Exception:
        """The error for a status that is no success."""
        said = quoted(answer.body, secrets)
        if answer.status >= 500 or answer.status in RETRIED:
            asked = answer.headers.get("Retry-After", "")
            return TransientError(f"status {answer.status}: {said}", float(asked) if SECONDS.fullmatch(asked) else 0.0)
        if 300 <= answer.status < 400:
            target = hidden(unquote(public(answer.headers.get("Location", ""))), secrets)
            return ValueError(
                f"Black box {self.name!r} redirects to {target[:300]!r} (status {answer.status}): redirects are not "
                "followed, set `url` to the final address."
            )
        return ValueError(
            f"Black box {self.name!r} refused the request with status {answer.status}: {said}. Check `url`, "
            "`encoding` and `token_env`."
        )
