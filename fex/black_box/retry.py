"""How requests to a remote black box are spaced and repeated."""

import threading
import time
from random import Random
from typing import Any

__all__ = ["RateLimiter", "TransientError", "retry_delay"]

LONGEST_WAIT = 60.0  # seconds


class TransientError(Exception):
    """A failure that may pass.

    Args:
        message: what happened.
        wait: seconds that the server asked for.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def retry_delay(attempt: int, backoff: float, random: Random) -> float:
    """Seconds to wait after failed attempt number `attempt` = 0, 1, ...: backoff 2^attempt U(0.5, 1), at most 60."""
    return min(LONGEST_WAIT, backoff * 2**attempt * random.uniform(0.5, 1.0))


class RateLimiter:
    """Spaces calls of `wait` at least 1 / rate seconds apart, in whatever thread they happen.

    Args:
        rate: calls a second.
    """

    def __init__(self, rate: float) -> None:
        if rate <= 0:
            raise ValueError(f"Got rate={rate} requests a second, expected more than 0, or null for no limit.")
        self.rate = rate
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleeps until this call's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + 1 / self.rate
        time.sleep(max(0.0, turn - time.monotonic()))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy starts afresh: locks do not pickle, and each process has its own clock."""
        return RateLimiter, (self.rate,)
