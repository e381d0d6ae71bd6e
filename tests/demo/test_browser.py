"""The page in a real browser, headless, as wide as a telephone: a picture, a class, its map, and no error."""

import base64
import itertools
import json
import re
import shutil
import socket
import subprocess
import time
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from fex.demo import Trial
from tests.explainers.tiny import tiny_box, tiny_explainer

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("gradio")
client = pytest.importorskip("websockets.sync.client")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTH = 360
PATIENCE = 300  # seconds; a loaded machine is no failure


class Tab:
    """One page of the browser, by its debugging protocol."""

    def __init__(self, address):
        self.socket, self.numbers, self.events = client.connect(address, max_size=None), itertools.count(1), []

    def __call__(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv(timeout=PATIENCE))).get("id") != number:
            self.events.append(message)
        assert "error" not in message, (method, message)
        return message["result"]

    def run(self, code):
        return self("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def until(self, code):
        end = time.monotonic() + PATIENCE
        while not self.run(code):
            assert time.monotonic() < end, code
            time.sleep(0.3)

    def errors(self):
        """What the console of the page told as an error."""
        self("Runtime.enable")
        found = []
        for event in self.events:
            entry = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(entry["exceptionDetails"].get("text"))
            elif event.get("method") == "Runtime.consoleAPICalled" and entry["type"] == "error":
                found.append(entry["args"])
            elif event.get("method") == "Log.entryAdded" and entry["entry"]["level"] == "error":
                found.append(entry["entry"])
        return found


@pytest.fixture
def tab(tmp_path):
    if BROWSER is None:
        pytest.skip("no Chromium here")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--disable-dev-shm-usage"]
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "about:blank"]
    browser = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        told = next(found for line in browser.stderr if (found := re.search(r"ws://([\d.:]+)/", line)))
        made = Request(f"http://{told[1]}/json/new?about:blank", method="PUT")
        yield Tab(json.load(urlopen(made, timeout=PATIENCE))["webSocketDebuggerUrl"])
    finally:
        browser.terminate()
        browser.wait()


@pytest.fixture
def address():
    from fex.demo.page import LAUNCH, make_page

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = make_page(Trial([tiny_explainer()], ["one"], tiny_box()))
    for last in (False, False, False, False, True):
        try:
            page.launch(**LAUNCH, server_name="127.0.0.1", server_port=port, prevent_thread_lock=True)
            break
        except OSError:  # Gradio waits five seconds for its server; a loaded machine takes longer
            if last:
                raise
    yield f"http://127.0.0.1:{port}"
    page.close()


def test_a_picture_a_class_and_its_map(tab, address, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "photo.png")
    for domain in ("Page", "Runtime", "Log", "DOM"):
        tab(f"{domain}.enable")
    tab("Emulation.setDeviceMetricsOverride", width=WIDTH, height=800, deviceScaleFactor=1, mobile=True)
    tab("Page.navigate", url=address)
    tab.until("!!document.querySelector('#explain') && !!document.querySelector('input[type=file]')")
    root = tab("DOM.getDocument")["root"]["nodeId"]
    upload = tab("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
    tab("DOM.setFileInputFiles", nodeId=upload, files=[str(tmp_path / "photo.png")])
    tab.until("!!document.querySelector('.image-frame img, [data-testid=image] img, .image-container img')")
    tab.run("document.querySelector('#classes input').focus()")
    tab("Input.insertText", text="crane")
    tab.until(
        "[...document.querySelectorAll('[role=option], ul.options li')].some(e => e.textContent.includes('crane'))"
    )
    for kind in ("keyDown", "keyUp"):
        tab("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
    tab.run("document.querySelector('#explain').click()")
    tab.until("document.querySelectorAll('#maps img').length > 0")
    tab.until("document.querySelector('#table').textContent.includes('crane')")
    picture = base64.b64decode(tab("Page.captureScreenshot", format="png")["data"])
    (tmp_path / "page.png").write_bytes(picture)
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.width == WIDTH
        assert len(shot.convert("RGB").getcolors(2**24)) > 20
    assert tab.errors() == []
    assert tab.run("document.documentElement.scrollWidth") == WIDTH
    widths = "['maps', 'table', 'explain'].map(id => document.getElementById(id).getBoundingClientRect().width)"
    assert min(tab.run(widths)) > 0.9 * WIDTH  # below each other, not squeezed beside each other
