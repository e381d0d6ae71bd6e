"""A server on the loopback interface that answers whatever bytes it is told to."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class RawServer:
    """Reads each request whole, then calls `reply(connection)` and hangs up; `requests` are their bytes."""

    def __init__(self, reply: Callable[[socket.socket], None]) -> None:
        self.reply, self.requests = reply, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/classify"
        self.open = True
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError):
            file = connection.makefile("rb")
            head = []
            while (line := file.readline()) not in (b"\r\n", b""):
                head.append(line)
            length = next((int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length")), 0)
            self.requests.append(b"".join(head) + file.read(length))
            self.reply(connection)

    def __enter__(self) -> "RawServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False
        self.listener.close()


def answer(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """An answer of that body."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)
