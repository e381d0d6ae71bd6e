"""A trained explainer behind an address, and a client of it. It needs: pip install 'fex-explain[serve]'."""

import base64
import io
import json
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

# 1 The server, as `fex-serve fex_vit_cifar10 --port 8765` starts it in a shell.
command = [sys.executable, "-m", "fex.cli.serve", "fex_vit_cifar10", "--port", "8765", "--device", "cpu"]
server = subprocess.Popen(command)
address = "http://127.0.0.1:8765"


def ready() -> bool:
    """Whether the server answers yet."""
    try:
        return urlopen(f"{address}/health", timeout=5).status == 200
    except OSError:
        return False


try:
    while not ready() and server.poll() is None:
        time.sleep(0.5)

    # 2 A client: any program that can send JSON.
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)  # your photograph
    Image.fromarray(pixels).save(file, "PNG")
    question = {"images": [base64.b64encode(file.getvalue()).decode()], "top_k": 2, "png": True}
    request = Request(f"{address}/explain", json.dumps(question).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        [classes] = json.load(answer)["explanations"]  # one list an input
    for found in classes:
        print(found["target"]["name"], round(found["probability"], 3), "rows of the map:", len(found["attribution"]))
    with open("explained.png", "wb") as picture:
        picture.write(base64.b64decode(classes[0]["png"]))
finally:
    server.terminate()
    server.wait()
