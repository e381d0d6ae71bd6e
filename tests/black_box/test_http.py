"""Against a real server on the loopback interface."""

import base64
import copy
import io
import json
import pickle
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from fex.black_box import HttpBlackBox
from fex.black_box.retry import RateLimiter, retry_delay
from fex.images import Preprocess


def decode(message):
    """The images of a request, (R, 3, H, W) in [0, 1], by the documented format alone."""
    raw = [base64.b64decode(text) for text in message["inputs"]]
    if message["encoding"] == "png":
        images = [np.asarray(Image.open(io.BytesIO(item))).transpose(2, 0, 1) / 255 for item in raw]
    else:
        images = [np.frombuffer(item, "<f4").reshape(message["shape"]) for item in raw]
    return np.stack(images)


def classify(images):
    """Shares of the three colours, (R, 3)."""
    means = images.mean((2, 3)) + 1e-3
    return means / means.sum(1, keepdims=True)


class Server(ThreadingHTTPServer):
    """Classifies; misbehaves as `faults` says: one function of the handler a request, from the first request on."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.requests, self.times, self.active, self.peak = [], [], [], 0, 0
        self.pause, self.lock = 0.0, threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/classify"

    def handle_error(self, request, client_address):
        """A client that gave up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, status, body, **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        server = self.server
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((message, dict(self.headers)))
            server.times.append(time.monotonic())
            server.active += 1
            server.peak = max(server.peak, server.active)
            fault = server.faults.pop(0) if server.faults else None
        time.sleep(server.pause)
        try:
            if fault is None:
                self.answer(200, {"probabilities": classify(decode(message)).tolist()})
            else:
                fault(self)
        finally:
            with server.lock:
                server.active -= 1

    def do_GET(self):
        self.server.requests.append(("GET", dict(self.headers)))
        self.answer(200, {})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def make(server, **options):
    defaults = {"class_names": ["red", "green", "blue"], "backoff": 0.001, "seed": 0, "preprocess": Preprocess(4, 5)}
    return HttpBlackBox(server.url, **{**defaults, **options})


INPUTS = torch.rand(5, 3, 4, 5, generator=torch.Generator().manual_seed(1))
TRUTH = torch.from_numpy(classify(INPUTS.numpy()))


def status(code, body=b"reason", **headers):
    return lambda handler: handler.answer(code, body, **headers)


def says(body):
    return status(200, body)


@pytest.mark.parametrize(("encoding", "tolerance"), [("float32", 1e-6), ("png", 2e-3)])
def test_answers(server, encoding, tolerance):
    box = make(server, encoding=encoding, chunk=2)
    assert torch.allclose(box(INPUTS), TRUTH.float(), atol=tolerance)
    assert [len(message["inputs"]) for message, _ in server.requests] == [2, 2, 1]
    assert {message["encoding"] for message, _ in server.requests} == {encoding}
    assert server.requests[0][0]["shape"] == [3, 4, 5]
    assert box.queries == 5
    assert box(INPUTS[:0]).shape == (0, 3)


def test_logits(server):
    server.faults = [says({"logits": [[1.0, 2.0, -1.0]]})]
    answer = make(server, outputs="logits")(INPUTS[:1])
    assert torch.allclose(answer, torch.tensor([[1.0, 2.0, -1.0]]).softmax(1))


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_failures_that_pass_are_retried(server, code):
    server.faults = [status(code)] * 3
    box = make(server, retries=3)
    assert torch.allclose(box(INPUTS), TRUTH.float(), atol=2e-3)
    assert len(server.requests) == 4
    assert box.queries == 5  # each instance once, however often it was sent


def test_retries_end(server):
    server.faults = [status(500, b"out of\n order")] * 3
    box = make(server, retries=2)
    with pytest.raises(ConnectionError, match="no answer in 3 attempts; the last: status 500: 'out of order'"):
        box(INPUTS)
    assert len(server.requests) == 3
    assert box.queries == 0


def test_retry_after_is_obeyed(server):
    server.faults = [status(429, Retry_After="1")]
    make(server)(INPUTS)
    assert server.times[1] - server.times[0] >= 1.0


@pytest.mark.parametrize("code", [400, 401, 404, 413])
def test_refusals_are_not_retried(server, code):
    server.faults = [status(code, b'{"detail": "no such thing"}')]
    with pytest.raises(ValueError, match=f"status {code}: '.*no such thing.*'. Check `url`"):
        make(server)(INPUTS)
    assert len(server.requests) == 1


def test_slow_server(server):
    server.pause = 0.5
    box = make(server, timeout=0.1, retries=1)
    with pytest.raises(ConnectionError, match="2 attempts; the last: no answer within 0.1 s"):
        box(INPUTS)
    server.pause = 0.05
    assert torch.allclose(make(server, timeout=5.0)(INPUTS), TRUTH.float(), atol=2e-3)


def test_connection_that_breaks_off(server):
    def hang_up(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"probab')

    server.faults = [hang_up]
    assert torch.allclose(make(server)(INPUTS), TRUTH.float(), atol=2e-3)
    server.faults = [hang_up] * 2
    with pytest.raises(ConnectionError, match="connection broke off"):
        make(server, retries=1)(INPUTS)


def test_unreachable():
    with Server() as closed:
        url = closed.url
    with pytest.raises(ConnectionError, match="cannot reach 127.0.0.1:.*refused.*Check that the server runs"):
        HttpBlackBox(url, num_classes=3, retries=1, backoff=0.001)(INPUTS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>Sign in</html>", "is no JSON: '<html>Sign in</html>'"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b"", "is no JSON: ''"),
        ([1, 2], r"answered '\[1, 2\]', expected a JSON object with 'probabilities'"),
        ({"logits": [[0.1, 0.2, 0.7]] * 5}, "expected a JSON object with 'probabilities'.*set `outputs`"),
        ({"probabilities": "high"}, "expected a JSON object"),
        ({"probabilities": [[0.1, 0.2, 0.7]] * 4}, "4 rows for 5 images"),
        ({"probabilities": [[0.5, 0.5]] * 5}, r"shape \(5, 2\), expected \(5, 3\)"),
        ({"probabilities": [0.5] * 5}, r"shape \(5,\), expected \(5, 3\)"),
        ({"probabilities": [[0.1, 0.2, 0.7]] * 4 + [[1.0]]}, "no table of numbers"),
        ({"probabilities": [["a", "b", "c"]] * 5}, "no table of numbers"),
        ({"probabilities": [[float("nan"), 0.5, 0.5]] * 5}, "NaN or infinite scores for 5 of 5"),
        ({"probabilities": [[None, 0.5, 0.5]] * 5}, "NaN or infinite scores for 5 of 5"),
        ({"probabilities": [[5.0, -1.0, 0.0]] * 5}, "look like logits"),
    ],
)
def test_garbage_is_refused_by_name(server, body, message):
    server.faults = [says(body)]
    with pytest.raises(ValueError, match=rf"'127\.0\.0\.1:\d+/classify' .*{message}"):
        make(server)(INPUTS)
    assert len(server.requests) == 1


def test_rate_limit(server):
    start = time.monotonic()
    make(server, rate=20.0, chunk=1)(INPUTS)
    waits = np.array(server.times) - start
    assert (waits >= np.arange(5) / 20).all()  # request number n not before n / rate


def test_requests_in_flight(server):
    server.pause = 0.1
    box = make(server, concurrency=3, chunk=1)
    assert torch.allclose(box(INPUTS), TRUTH.float(), atol=2e-3)  # in order, too
    assert server.peak == 3
    assert box.queries == 5


def test_token_is_sent_and_kept_nowhere(server, monkeypatch):
    box = make(server, token_env="CLASSIFIER_TOKEN", headers={"X-Team": "vision"})
    monkeypatch.setenv("CLASSIFIER_TOKEN", "open-sesame\n")
    box(INPUTS)
    headers = server.requests[0][1]
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer open-sesame", "vision")
    assert b"open-sesame" not in pickle.dumps(box)
    server.faults = [lambda handler: handler.answer(403, handler.headers["Authorization"].encode())]
    with pytest.raises(ValueError, match=r"status 403: 'Bearer \*\*\*'"):
        box(INPUTS)
    monkeypatch.delenv("CLASSIFIER_TOKEN")
    with pytest.raises(ValueError, match="CLASSIFIER_TOKEN, which is not set"):
        box(INPUTS)


@pytest.mark.parametrize("code", [301, 302, 307])
def test_redirects_are_not_followed(server, code, monkeypatch):
    monkeypatch.setenv("CLASSIFIER_TOKEN", "open-sesame")
    server.faults = [status(code, Location=server.url + "/elsewhere")]
    with pytest.raises(ValueError, match=f"redirects to '.*/elsewhere' .status {code}"):
        make(server, token_env="CLASSIFIER_TOKEN")(INPUTS)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://host/x", {}, "starts with http"),
        ("http://", {}, "starts with http"),
        ("http://me:secret@host/x", {}, "token_env"),
        ("http://host/x", {"encoding": "jpeg"}, "encoding='jpeg'"),
        ("http://host/x", {"outputs": "odds"}, "outputs='odds'"),
        ("http://host/x", {"timeout": 0.0}, "timeout > 0"),
        ("http://host/x", {"retries": -1}, "retries >= 0"),
        ("http://host/x", {"concurrency": 0}, "concurrency >= 1"),
        ("http://host/x", {"rate": 0.0}, "rate=0.0"),
        ("http://host/x", {"num_classes": None}, "needs class_names or num_classes"),
    ],
)
def test_refused_settings(url, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        HttpBlackBox(url, **{"num_classes": 3, **options})
    assert "secret" not in str(caught.value)


def test_stays_on_the_cpu(server):
    box = make(server).to("cuda")
    assert box.device.type == "cpu"


def test_copies(server):
    box = make(server, rate=1000.0, concurrency=2, chunk=1)
    for other in (copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert torch.allclose(other(INPUTS), TRUTH.float(), atol=2e-3)


def test_delays_double_with_jitter():
    delays = [retry_delay(attempt, 0.5, Random(attempt)) for attempt in range(12)]
    for attempt, delay in enumerate(delays):
        whole = min(60.0, 0.5 * 2**attempt)
        assert whole / 2 <= delay <= whole
    assert retry_delay(3, 0.5, Random(7)) == retry_delay(3, 0.5, Random(7)) != retry_delay(3, 0.5, Random(8))


def test_limiter_spaces_threads():
    limiter = RateLimiter(50.0)
    times, start = [], time.monotonic()

    def call():
        limiter.wait()
        times.append(time.monotonic())

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(moment - start >= turn / 50 for turn, moment in enumerate(sorted(times)))
