"""A fake server of a language model, OpenAI-compatible: likely "Yes" where the text has the word gem."""

import json
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

YES, OTHER = {True: 0.9, False: 0.1}, 0.02


def tops(prompt):
    """Tokens and log-probabilities: yes in two spellings, no, and a word that is no label."""
    yes = YES["gem" in prompt.split()] * (1 - OTHER)
    found = {" Yes": 0.75 * yes, "yes": 0.25 * yes, " no": 1 - OTHER - yes, " maybe": OTHER}
    return {token: math.log(value) for token, value in found.items()}


def completions(message):
    """The answer of /v1/completions; choices come in another order than they were asked for."""
    rows = [
        {"index": i, "text": " Yes", "logprobs": {"top_logprobs": [tops(p)]}} for i, p in enumerate(message["prompt"])
    ]
    return {"object": "text_completion", "choices": rows[::-1]}


def chat(message):
    """The answer of /v1/chat/completions."""
    [asked] = message["messages"]
    found = [{"token": t, "logprob": v, "bytes": list(t.encode())} for t, v in tops(asked["content"]).items()]
    content = [{"token": " Yes", "logprob": 0.0, "top_logprobs": found[: message["top_logprobs"]]}]
    return {"choices": [{"index": 0, "message": {"content": " Yes"}, "logprobs": {"content": content}}]}


class Handler(BaseHTTPRequestHandler):
    """`server.faults`: bodies (or statuses) that are answered first; `server.requests`: what was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((message, dict(self.headers)))
        fault = self.server.faults.pop(0) if self.server.faults else None
        body = (chat if self.path.endswith("/chat/completions") else completions)(message) if fault is None else fault
        status, body = (body, b"no") if isinstance(body, int) else (200, json.dumps(body).encode())
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def language_model():
    """The server, in a thread; `server.url` ends in /v1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.faults, server.url = [], [], f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
