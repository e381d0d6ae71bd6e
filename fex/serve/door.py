"""The door of the server: who may come in, how much they bring, how often and how long, before anything is read."""

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from typing import Any

from fex.serve.limits import Limits

__all__ = ["Door"]

CLIENTS = 10_000  # addresses that are remembered
OPEN = "/health"  # without a token: what restarts a server asks it


class _TooMuchError(Exception):
    """More bytes than allowed, whatever was announced."""


class _Rates:
    """A bucket of one second's requests for each address."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self.left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds that the client must wait; 0 lets it in."""
        if self.rate is None:
            return 0.0
        most, now = max(1.0, self.rate), time.monotonic()
        left, before = self.left.pop(client, (most, now))
        left = min(most, left + (now - before) * self.rate)
        wait = 0.0 if left >= 1 else (1 - left) / self.rate
        self.left[client] = (left if wait else left - 1, now)
        if len(self.left) > CLIENTS:
            self.left.popitem(last=False)
        return wait


class Door:
    """ASGI middleware: 401 without the token, 429 too often, 503 too many at once, 413 too large, 504 too long.

    Args:
        app: what is behind it.
        limits: bounds.
        token: what clients must show as a bearer token; "" lets all in.
    """

    def __init__(self, app: Any, limits: Limits, token: str = "") -> None:
        self.app, self.limits, self.token = app, limits, token
        self.rates = _Rates(limits.rate)
        self.inside: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == OPEN:
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._inside(scope, receive, send)
        else:
            await _answer(send, *refusal)

    def _refusal(self, scope: Any, headers: dict[bytes, bytes]) -> tuple[int, str, dict[str, str]] | None:
        shown = headers.get(b"authorization", b"")
        if self.token and not hmac.compare_digest(shown, f"Bearer {self.token}".encode()):
            return 401, "this server wants its token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
        wait = self.rates.wait((scope.get("client") or ("",))[0])
        if wait:
            rate = self.limits.rate
            return 429, f"more than {rate:g} requests a second from this address", {"Retry-After": str(int(wait) + 1)}
        if len(self.inside) >= self.limits.waiting:
            return 503, f"{self.limits.waiting} requests are waiting already", {"Retry-After": "1"}
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit():
            return 400, "Content-Length is no number", {}
        return (413, self._too_large, {}) if int(announced) > self.limits.body else None

    @property
    def _too_large(self) -> str:
        return f"the body has more than {self.limits.body:,} bytes"

    async def _inside(self, scope: Any, receive: Any, send: Any) -> None:
        call = _Call(receive, send, self.limits.body)
        task = asyncio.ensure_future(self.app(scope, call.receive, call.send))
        self.inside.add(task)
        task.add_done_callback(self._left)
        done, _ = await asyncio.wait({task}, timeout=self.limits.seconds)
        if not done:
            call.over = True
            if not call.whole:  # nothing was handed on yet; what was is taken back by the server when it is answered
                task.cancel()
        elif task.cancelled() or isinstance(task.exception(), _TooMuchError):
            call.over = True
        elif (error := task.exception()) is not None:
            raise error
        if call.over and not call.begun:
            late = 504, f"no answer within {self.limits.seconds:g} s"
            await _answer(send, *(late if not done else (413, self._too_large)), {})

    def _left(self, task: "asyncio.Task[None]") -> None:
        self.inside.discard(task)
        if not task.cancelled():
            task.exception()  # taken, or asyncio would report it as lost


class _Call:
    """One request and its answer, watched."""

    def __init__(self, receive: Any, send: Any, most: int) -> None:
        self._receive, self._send, self.most = receive, send, most
        self.size, self.whole, self.begun, self.over = 0, False, False, False

    async def receive(self) -> Any:
        message = await self._receive()
        self.size += len(message.get("body", b""))
        if self.size > self.most:
            raise _TooMuchError
        self.whole = self.whole or not message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        if self.over:  # the client has its answer
            return
        if message["type"] == "http.response.start":
            self.begun = True
            if message["status"] == 500:  # of LitServe: the worker that had it was lost
                retry = [(b"retry-after", b"2")]
                message = {**message, "status": 503, "headers": [*message.get("headers", ()), *retry]}
        await self._send(message)


async def _answer(send: Any, status: int, reason: str, headers: dict[str, str]) -> None:
    body = json.dumps({"detail": reason}).encode()
    head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
