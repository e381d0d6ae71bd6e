"""A classifier behind an HTTP endpoint as a black box; `fex/black_box/wire.py` says what is sent and expected."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from random import Random
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.retry import LONGEST_WAIT, RateLimiter, TransientError, retry_delay
from fex.black_box.scores import Outputs, check_outputs, to_probabilities
from fex.black_box.wire import Encoding, decode_response, encode_request, quoted
from fex.preprocess import Preprocess

__all__ = ["HttpBlackBox"]

RETRIED = {408, 425, 429}  # besides every 5xx: the server asks for patience


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would resend the token to whatever host it names."""

    def redirect_request(self, *arguments: Any, **keywords: Any) -> None:
        return None


def _without(token: str | None, body: bytes) -> bytes:
    """An answer that errors may quote: some servers echo the headers."""
    return body.replace(token.encode(), b"***") if token else body


class HttpBlackBox(BlackBox):
    """A remote classifier, asked by JSON over POST.

    Failures that may pass (no connection, no answer in time, 408, 425, 429, 5xx) are tried again with exponential
    back-off and jitter; others are errors at once.

    Args:
        url: http:// or https:// address that takes the POST; part of the config, so no secrets.
        class_names: names of the classes, in the order of the scores.
        num_classes: C; needed only without `class_names`.
        encoding: "png" (small, 8 bit) or "float32" (exact, ten times larger).
        outputs: what the server returns; logits go through softmax (sigmoid where `multi_label`).
        token_env: name of the environment variable that holds a bearer token. The token itself is read at each
            request and kept nowhere.
        headers: further headers; they are part of the config, so no secrets.
        timeout: seconds without an answer before an attempt fails.
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

    Raises:
        ValueError: an address or a setting that cannot work; an answer that is refused (4xx, no JSON, wrong count).
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
    ) -> None:
        check_outputs(outputs)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"Got url {url!r}, expected an address that starts with http:// or https://.")
        if parts.username or parts.password:
            raise ValueError("The url holds a user name or password: put a token into a variable named by token_env.")
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
        self.url, self.encoding, self.outputs, self.token_env = url, encoding, outputs, token_env
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
                return decode_response(self._post(body), len(images), self.outputs, self.num_classes, self.name)
            except TransientError as error:
                attempts += 1
                if attempts > self.retries:
                    raise ConnectionError(
                        f"Black box {self.name!r} gave no answer in {attempts} attempts; the last: {error}. Check that "
                        "the server runs at `url`, or raise `timeout`, `retries` or `backoff`."
                    ) from error
                asked = min(error.wait, LONGEST_WAIT)
                time.sleep(max(asked, retry_delay(attempts - 1, self.backoff, self._random)))

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self.headers}
        token = self._token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
                return _without(token, response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error, token) from error
        except TimeoutError as error:
            raise TransientError(f"no answer within {self.timeout} s") from error
        except urllib.error.URLError as error:
            timed_out = isinstance(error.reason, TimeoutError)
            reason = f"no answer within {self.timeout} s" if timed_out else f"cannot reach {self.name} ({error.reason})"
            raise TransientError(reason) from error
        except (OSError, HTTPException) as error:
            raise TransientError(f"connection broke off ({type(error).__name__}: {error})") from error

    def _token(self) -> str | None:
        if self.token_env is None:
            return None
        token = os.environ.get(self.token_env, "").strip()
        if not token:
            raise ValueError(
                f"Black box {self.name!r} takes its token from the environment variable {self.token_env}, which is "
                "not set: export it before the run."
            )
        return token

    def _refusal(self, error: urllib.error.HTTPError, token: str | None) -> Exception:
        """The error for a status that is no success."""
        try:
            body = _without(token, error.read())
        except (OSError, HTTPException):
            body = b""
        if error.code >= 500 or error.code in RETRIED:
            asked = error.headers.get("Retry-After", "")
            wait = float(asked) if asked.isdigit() else 0.0
            return TransientError(f"status {error.code}: {quoted(body)}", wait)
        if 300 <= error.code < 400:
            target = error.headers.get("Location", "")
            return ValueError(
                f"Black box {self.name!r} redirects to {target!r} (status {error.code}): redirects are not followed, "
                "set `url` to the final address."
            )
        return ValueError(
            f"Black box {self.name!r} refused the request with status {error.code}: {quoted(body)}. Check `url`, "
            "`encoding` and `token_env`."
        )
