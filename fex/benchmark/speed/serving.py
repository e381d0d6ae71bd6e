"""Load test of `fex-serve` on this machine: is any request lost or mixed up, and what does the way there cost?

Each request has a picture and a class of its own, and its answer is compared with the explainer's own. The plain rate
is that of the same files, decoded and explained in full batches by this process.
"""

import argparse
import base64
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path, PurePath
from threading import local
from typing import Any

import numpy as np
import torch
from PIL import Image

from fex.explainers import load_explainer
from fex.explainers.image_stream import ImageFile, explain_files

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


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures; returns plain data."""
    with tempfile.TemporaryDirectory() as name:
        paths = _pictures(Path(name), arguments.requests)
        explainer = load_explainer(arguments.checkpoint)
        classes = len(explainer.class_names)
        files = [ImageFile(path, PurePath(path.name)) for path in paths]
        for _ in explain_files(explainer, files[:64]):  # warm
            pass
        start = time.perf_counter()
        plain = sum(1 for _ in explain_files(explainer, files, batch_size=32)) / (time.perf_counter() - start)
        targets = [number % classes for number in range(len(paths))]
        expected = []
        for first in range(0, len(paths), 32):
            inputs = torch.stack([explainer.preprocess(Image.open(path)) for path in paths[first : first + 32]])
            expected += list(explainer.explain_classes(inputs, targets[first : first + 32])[0][:, 0])
        bodies = [
            json.dumps({"images": [base64.b64encode(path.read_bytes()).decode()], "target": target}).encode()
            for path, target in zip(paths, targets, strict=True)
        ]
    command = [sys.executable, "-m", "fex.cli.serve", arguments.checkpoint, "--port", str(arguments.port)]
    server, client = subprocess.Popen([*command, "--device", "cpu"]), _Client(arguments.port)
    try:
        client.ready(server)
        with ThreadPoolExecutor(arguments.parallel) as pool:
            list(pool.map(client.ask, bodies[:64]))  # warm
            start = time.perf_counter()
            answers = list(pool.map(client.ask, bodies))
            served = len(bodies) / (time.perf_counter() - start)
        rows = zip(answers, expected, targets, strict=True)
        wrong = [reason for (status, body), values, target in rows if (reason := _wrong(status, body, values, target))]
        malformed = _malformed(client, arguments.malformed)
    finally:
        server.terminate()
        server.wait()
    return {"requests": len(bodies), "parallel": arguments.parallel, "wrong": len(wrong), "first_wrong": wrong[:3],
            "plain_per_second": round(plain, 1), "served_per_second": round(served, 1),
            "share": round(served / plain, 3), "malformed": malformed}  # fmt: skip


def main() -> int:
    """Prints what was measured; code 1 where an answer was lost or mixed up, or a malformed body was not refused."""
    parser = argparse.ArgumentParser(prog="python -m fex.benchmark.speed.serving", description=__doc__)
    parser.add_argument("--checkpoint", default="fex_efficientnet_lite0", help="an explainer of pictures")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--malformed", type=int, default=1000)
    parser.add_argument("--port", type=int, default=8765)
    found = run(parser.parse_args())
    print(json.dumps(found, indent=1))
    return int(bool(found["wrong"]) or set(found["malformed"]) > {"4xx"})


if __name__ == "__main__":
    sys.exit(main())
