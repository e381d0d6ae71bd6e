"""`fex-serve` as it runs: in processes, of which some are killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from PIL import Image

from tests.explainers.tiny import write_checkpoint
from tests.serve.test_server import b64

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]
PORT = 8799


def ask(path, question=None):
    """Status and content; 0 where nobody answers."""
    body = None if question is None else json.dumps(question).encode()
    request = Request(f"http://127.0.0.1:{PORT}{path}", body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=600) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def until(server, path, status, question=None, seconds=1800):
    end = time.monotonic() + seconds
    while (found := ask(path, question))[0] != status:
        assert server.poll() is None, "the server has ended: is its port taken?"
        assert time.monotonic() < end, found
        time.sleep(0.3)
    return found[1]


def workers(server):
    """Processes that were started to explain."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == server.pid and b"spawn_main" in command:
            found.append(int(stat.parent.name))
    return found


def serve(checkpoint):
    command = [sys.executable, "-m", "fex.cli.serve", str(checkpoint), "--port", str(PORT), "--device", "cpu"]
    return subprocess.Popen([*command, "--timeout", "600", "--workers", "1"])


def is_there(process):
    """Whether a process runs; one that has ended and was not asked for its code does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_that_is_stopped_while_it_starts_leaves_nobody_behind(tmp_path):
    server, end = serve(write_checkpoint(tmp_path / "x.ckpt")), time.monotonic() + 1800
    try:
        while not (started := workers(server)):
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    end = time.monotonic() + 10
    while any(map(is_there, started)):
        assert time.monotonic() < end, started
        time.sleep(0.1)


def test_a_killed_worker_comes_back_and_none_outlives_the_server(tmp_path):
    checkpoint, file = write_checkpoint(tmp_path / "x.ckpt"), io.BytesIO()
    Image.new("RGB", (16, 16), (200, 10, 10)).save(file, "PNG")
    question = {"images": [b64(file.getvalue())]}
    server = serve(checkpoint)
    try:
        until(server, "/health", 200)
        before = json.loads(until(server, "/explain", 200, question))["explanations"]
        [worker] = workers(server)
        os.kill(worker, signal.SIGKILL)
        status, _ = ask("/explain", question)  # taken by the next worker, or told to ask again; not lost
        assert status in (200, 503)
        after = json.loads(until(server, "/explain", 200, question))["explanations"]
        assert {**before[0][0], "seconds": 0} == {**after[0][0], "seconds": 0}
        [again] = workers(server)
        assert again != worker
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert workers(server) == []
    with pytest.raises(ProcessLookupError):
        os.kill(again, 0)
