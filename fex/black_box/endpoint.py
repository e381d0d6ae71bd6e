"""An address that is asked by POST: its token, its limits, and what is tried again."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, TypeVar
from urllib.parse import unquote

from fex.black_box.exchange import Answer, post
from fex.black_box.retry import LONGEST_WAIT, RateLimiter, TransientError, retry_delay
from fex.black_box.secrets import check_address, check_headers, hidden, public, query_values, read_token
from fex.black_box.wire import quoted

__all__ = ["Endpoint"]

T = TypeVar("T")

RETRIED = {408, 425, 429}  # besides every 5xx: the server asks for patience
SECONDS = re.compile("[0-9]{1,9}")  # a Retry-After that is no date


class Endpoint:
    """An http:// or https:// address; its arguments are those of `fex.black_box.HttpBlackBox`.

    Raises:
        ValueError: an address or a setting that cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        token_env: str | None,
        token_header: str,
        headers: Mapping[str, str] | None,
        timeout: float,
        retries: int,
        backoff: float,
        rate: float | None,
        concurrency: int,
        seed: int | None,
    ) -> None:
        check_address(url)
        check_headers(headers or {})
        if timeout <= 0 or retries < 0 or backoff < 0 or concurrency < 1:
            raise ValueError(
                f"Got timeout={timeout}, retries={retries}, backoff={backoff}, concurrency={concurrency}, expected "
                "timeout > 0, retries >= 0, backoff >= 0, concurrency >= 1."
            )
        self.url, self.token_env, self.token_header, self.headers = url, token_env, token_header, dict(headers or {})
        self.timeout, self.retries, self.backoff, self.concurrency = timeout, retries, backoff, concurrency
        self._limiter = RateLimiter(rate) if rate is not None else None
        self._random = Random(seed)

    def ask_all(self, ask: Callable[[Any], T], parts: Sequence[Any]) -> list[T]:
        """`ask` of each part, so many at once as are to be in flight, in their order."""
        if len(parts) == 1:
            return [ask(parts[0])]
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(ask, parts))

    def ask(self, body: bytes, name: str, most: int, holds: str, read: Callable[[bytes, list[str]], T]) -> T:
        """The answer to one request, after as many attempts as it takes and are allowed.

        Args:
            body: JSON that is sent.
            name: of the black box, for messages.
            most: bytes of an answer that are read.
            holds: what so many bytes are for, for messages.
            read: (bytes of the answer, what no message may repeat) -> what they say.

        Raises:
            ValueError: an answer that is refused, as too long or by its status.
            ConnectionError: no usable answer after all attempts.
        """
        attempts = 0
        while True:
            if self._limiter is not None:
                self._limiter.wait()
            try:
                return self._attempt(body, name, most, holds, read)
            except TransientError as error:
                attempts += 1
                if attempts > self.retries:
                    raise ConnectionError(
                        f"Black box {name!r} gave no answer in {attempts} attempts; the last: {error}. Check that "
                        "the server runs at `url`, or raise `timeout`, `retries` or `backoff`."
                    ) from error
                asked = min(error.wait, LONGEST_WAIT)
                time.sleep(max(asked, retry_delay(attempts - 1, self.backoff, self._random)))

    def _attempt(self, body: bytes, name: str, most: int, holds: str, read: Callable[[bytes, list[str]], T]) -> T:
        """One attempt; no message has a secret in it."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self.headers}
        secrets = query_values(self.url)
        if self.token_env is not None:
            token = read_token(self.token_env, name)
            headers[self.token_header] = f"Bearer {token}" if self.token_header.lower() == "authorization" else token
            secrets.append(token)
        tokened = self.token_env is not None
        try:
            answer = post(self.url, body, headers, seconds=self.timeout, most=most, secret=tokened)
        except TransientError as error:
            raise TransientError(hidden(str(error), secrets)) from None
        except ValueError as error:
            raise ValueError(f"Black box {name!r} was not asked: {hidden(str(error), secrets)}.") from None
        if not 200 <= answer.status < 300:
            raise _refusal(answer, name, secrets)
        if len(answer.body) > most:
            raise ValueError(f"Black box {name!r} answered with more than {most:,} bytes, the limit for {holds}.")
        return read(answer.body, secrets)


def _refusal(answer: Answer, name: str, secrets: Sequence[str]) -> Exception:
    """The error for a status that is no success."""
    said = quoted(answer.body, secrets)
    if answer.status >= 500 or answer.status in RETRIED:
        asked = answer.headers.get("Retry-After", "")
        return TransientError(f"status {answer.status}: {said}", float(asked) if SECONDS.fullmatch(asked) else 0.0)
    if 300 <= answer.status < 400:
        target = hidden(unquote(public(answer.headers.get("Location", ""))), secrets)
        return ValueError(
            f"Black box {name!r} redirects to {target[:300]!r} (status {answer.status}): redirects are not "
            "followed, set `url` to the final address."
        )
    return ValueError(
        f"Black box {name!r} refused the request with status {answer.status}: {said}. Check `url`, "
        "`token_env` and the other settings of the box."
    )
