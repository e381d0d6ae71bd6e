"""One POST within bounds: seconds in all, bytes of the answer, no redirect, no secret for a proxy to read."""

import socket
import threading
from contextlib import suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from fex.black_box.retry import TransientError

__all__ = ["Answer", "post"]

PIECE = 2**16  # bytes read at once
MOST_OF_A_REFUSAL = 2**16  # bytes read of an answer that is no success: its start is quoted


class Answer(NamedTuple):
    """What came back; `body` holds at most one byte more than was allowed."""

    status: int
    headers: Message
    body: bytes


class _Clock:
    """Breaks the connection off when the time is over: a socket's own time-out starts anew with every byte."""

    def __init__(self, seconds: float) -> None:
        self.over, self._socket = False, None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.over = True
        self.watch(self._socket)

    def watch(self, connected: socket.socket | None) -> None:
        """From now on this is what is broken off."""
        self._socket = connected or self._socket
        if self.over and self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # that of TLS would say goodbye first

    def __enter__(self) -> "_Clock":
        self._timer.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._timer.cancel()


def _watched(kind: type[HTTPConnection], clock: _Clock) -> type[HTTPConnection]:
    """The connection class, with a socket that the clock knows from its first moment on, proxies' answers included."""

    class Watched(kind):  # type: ignore[misc, valid-type]
        @property
        def sock(self) -> socket.socket | None:
            return self.__dict__.get("_watched")

        @sock.setter
        def sock(self, value: socket.socket | None) -> None:
            self.__dict__["_watched"] = value
            clock.watch(value)

    return Watched


class _Http(HTTPHandler):
    def __init__(self, clock: _Clock, *, secret: bool) -> None:
        super().__init__()
        self.clock, self.secret = clock, secret

    def http_open(self, request: Request) -> HTTPResponse:
        if self.secret and request.has_proxy():
            raise ValueError(
                "the environment names a proxy for http:// addresses, which would read the token: use an https:// "
                "address, or name the host in no_proxy"
            )
        return self.do_open(_watched(HTTPConnection, self.clock), request)


class _Https(HTTPSHandler):
    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self.clock = clock

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_watched(HTTPSConnection, self.clock), request)


def _read(response: HTTPResponse, most: int) -> bytes:
    """The body, or its first `most` + 1 bytes. One read a time: `read` trusts a chunk that says its size is -1."""
    body = bytearray()
    while len(body) <= most and (piece := response.read1(min(PIECE, most + 1 - len(body)))):
        body += piece
    if len(body) <= most and response.length:
        raise HTTPException(f"{response.length} bytes are missing")
    return bytes(body)


def _exchange(url: str, body: bytes, headers: dict[str, str], clock: _Clock, limits: tuple[float, int, bool]) -> Answer:
    seconds, most, secret = limits
    opener = OpenerDirector()  # with what it needs alone: none of these follows a redirect or knows files
    handlers: tuple[Any, ...] = (ProxyHandler(), _Http(clock, secret=secret), _Https(clock), UnknownHandler())
    for handler in handlers:
        opener.add_handler(handler)
    with opener.open(Request(url, data=body, headers=headers, method="POST"), timeout=seconds) as response:
        if 200 <= response.status < 300:
            return Answer(response.status, response.headers, _read(response, most))
        text = b""
        with suppress(OSError, HTTPException):  # the status says enough
            text = _read(response, MOST_OF_A_REFUSAL)
        return Answer(response.status, response.headers, text)


def post(url: str, body: bytes, headers: dict[str, str], *, seconds: float, most: int, secret: bool) -> Answer:
    """Sends `body` and reads the answer, whatever its status.

    Args:
        url: http:// or https:// address.
        body: what is sent.
        headers: of the request.
        seconds: for all of it, from the connection to the last byte.
        most: bytes that are read of an answer that is a success.
        secret: the headers hold a secret: a proxy may pass it on encrypted alone.

    Raises:
        TransientError: no connection, no whole answer in time, or one that breaks off.
        ValueError: a proxy would read the secret.
    """
    with _Clock(seconds) as clock:
        try:
            answer = _exchange(url, body, headers, clock, (seconds, most, secret))
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            if clock.over or isinstance(reason, TimeoutError):
                raise TransientError(f"no answer within {seconds:g} s, or not the whole of it") from None
            if isinstance(error, URLError):
                raise TransientError(f"cannot reach {urlsplit(url).netloc} ({reason})") from None
            raise TransientError(f"connection broke off ({type(error).__name__}: {error})") from None
    if clock.over and 200 <= answer.status < 300:  # a body that ends with its connection looks whole
        raise TransientError(f"no answer within {seconds:g} s, or not the whole of it")
    return answer
