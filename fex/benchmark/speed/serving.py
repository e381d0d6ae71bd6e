"""Load test of `fex-serve` on this machine: is any request lost or mixed up, and what does the way there cost?

Each request has a picture and a class of its own, and its answer is compared with the explainer's own. The plain rate
is that of the same files, decoded and explained in full batches by this process. Both are measured in turn, some
requests each, so that other work on the machine slows both.
"""

import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import torch
from PIL import Image

from fex.explainers import load_explainer
from fex.explainers.image_stream import ordered_map
from fex.images import as_unit, read_pixels
from fex.storage.memory import keep_memory

__all__ = ["main"]


def _pictures(folder: Path, count: int) -> list[Path]:
    """JPEGs of 320 x 240 pixels, all different: a few large shapes on a ground."""
    draw, paths = np.random.default_rng(0), []
    for number in range(count):
        pixels = np.empty((240, 320, 3), np.uint8)
        pixels[:] = draw.integers(0, 256, 3)
        for _ in range(4):
            top, left = draw.integers(0, 200), draw.integers(0, 280)
            pixels[top : top + 60, left : left + 80] = draw.integers(0, 256, 3)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=85)
    return paths


class _Client:
    """A connection for each thread, kept open."""

    def __init__(self, port: int) -> None:
        self.port, self.here = port, local()

    def ask(self, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
        if not hasattr(self.here, "connection"):
            self.here.connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection = self.here.connection
        try:
            connection.request("POST", "/explain", body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            connection.close()
            raise

    def ready(self, server: "subprocess.Popen[bytes]") -> None:
        """Waits for all workers."""
        while server.poll() is None:
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise OSError(f"fex-serve ended with code {server.poll()}.")


def _wrong(status: int, body: bytes, values: torch.Tensor, target: int) -> str:
    """Why an answer is not the one to its question; "" where it is."""
    if status != 200:
        return f"status {status}: {body[:200]!r}"
    [[found]] = json.loads(body)["explanations"]
    far = float((torch.tensor(found["attribution"]).flatten() - values).abs().max())
    return "" if found["target"]["index"] == target and far < 1e-4 else f"mixed up: {far:.2g} from its own map"


def _malformed(client: _Client, count: int) -> dict[str, int]:
    """Statuses of so many bodies that are none."""
    draw, found = random.Random(0), dict[str, int]()
    for number in range(count):
        body = draw.randbytes(draw.randrange(1, 2000)) if number % 2 else b'{"images": [' + b"[" * draw.randrange(2000)
        status = client.ask(body, ("application/json", "multipart/form-data; boundary=x", "text/plain")[number % 3])[0]
        found[f"{status // 100}xx"] = found.get(f"{status // 100}xx", 0) + 1
    return found


def _plain(explainer: Any, paths: Sequence[Path], targets: Sequence[int]) -> tuple[float, list[torch.Tensor]]:
    """Seconds for all, in full batches, and their maps."""
    maps: list[torch.Tensor] = []
    start = time.perf_counter()
    with ThreadPoolExecutor(4, "read") as pool:
        read = ordered_map(pool, lambda path: as_unit(read_pixels(path, explainer.preprocess)), paths, 36)
        for first in range(0, len(paths), 32):
            inputs = torch.stack(list(islice(read, 32)))
            maps += [each.attribution for each in explainer.explain(inputs, list(targets[first : first + 32]))]
    return time.perf_counter() - start, maps


def _body(path: Path, target: int) -> bytes:
    return json.dumps({"images": [base64.b64encode(path.read_bytes()).decode()], "target": target}).encode()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures; returns plain data."""
    load, wrong, seconds = os.getloadavg()[0], list[str](), list[tuple[float, float]]()
    command = [sys.executable, "-m", "fex.cli.serve", arguments.checkpoint, "--port", str(arguments.port)]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(arguments.parallel) as pool:
        paths = _pictures(Path(name), arguments.requests)
        explainer = load_explainer(arguments.checkpoint)
        targets = [number % len(explainer.class_names) for number in range(len(paths))]
        bodies = list(map(_body, paths, targets))
        server, client = subprocess.Popen([*command, "--device", "cpu"]), _Client(arguments.port)
        try:
            client.ready(server)
            list(pool.map(client.ask, bodies[:64]))  # warm
            _plain(explainer, paths[:64], targets)
            for part in np.array_split(np.arange(len(paths)), arguments.rounds):
                here = slice(int(part[0]), int(part[-1]) + 1)
                plain, maps = _plain(explainer, paths[here], targets[here])
                client = _Client(arguments.port)  # the server has closed connections that were idle meanwhile
                start = time.perf_counter()
                answers = list(pool.map(client.ask, bodies[here]))
                seconds.append((plain, time.perf_counter() - start))
                rows = zip(answers, maps, targets[here], strict=True)
                found = (_wrong(status, body, values, target) for (status, body), values, target in rows)
                wrong += filter(None, found)
            malformed = _malformed(_Client(arguments.port), arguments.malformed)
        finally:
            server.terminate()
            server.wait()
    plain, served = (len(paths) / sum(each) for each in zip(*seconds, strict=True))
    return {"requests": len(paths), "parallel": arguments.parallel, "wrong": len(wrong), "first_wrong": wrong[:3],
            "plain_per_second": round(plain, 1), "served_per_second": round(served, 1),
            "share": round(served / plain, 3), "share_of_rounds": [round(one / other, 3) for one, other in seconds],
            "load_before": round(load, 1), "malformed": malformed}  # fmt: skip


def main() -> int:
    """Prints what was measured; code 1 where an answer was lost or mixed up, or a malformed body was not refused."""
    parser = argparse.ArgumentParser(prog="python -m fex.benchmark.speed.serving", description=__doc__)
    parser.add_argument("--checkpoint", default="fex_efficientnet_lite0", help="an explainer of pictures")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="of plain passes and requests in turn")
    parser.add_argument("--malformed", type=int, default=1000)
    parser.add_argument("--port", type=int, default=8765)
    keep_memory()  # as the commands do
    found = run(parser.parse_args())
    print(json.dumps(found, indent=1))
    return int(bool(found["wrong"]) or set(found["malformed"]) > {"4xx"})


if __name__ == "__main__":
    sys.exit(main())
