"""The server in this process: LitServe's own web application and worker loop, in threads."""

import asyncio
import base64
import io
import json
import queue
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("litserve")
pytest.importorskip("python_multipart")

from fastapi.testclient import TestClient
from litserve import LitServer
from litserve.callbacks import CallbackRunner
from litserve.loops import inference_worker
from litserve.transport import MPQueueTransport
from litserve.utils import ResponseBufferItem, WorkerSetupStatus

import fex
from fex.cli.serve import main
from fex.images import read_pixels
from fex.serve import Limits
from fex.serve.desk import Question
from fex.serve.server import make_server
from fex.serve.worker import ExplainAPI
from tests.explainers.tiny import CLASSES, tiny_box, write_checkpoint


@contextmanager
def serving(checkpoint, **options):
    server = make_server(str(checkpoint), device="cpu", **options)
    jobs, transport = queue.Queue(), MPQueueTransport(None, [queue.Queue()])
    server.litapi_request_queues, server._transport = {"/explain": jobs}, transport
    server.app.response_queue_id, server.workers_setup_status = 0, {"explain_0": WorkerSetupStatus.READY}
    arguments = (server.lit_api, "cpu", 0, jobs, transport, {}, CallbackRunner([]), True)
    worker = threading.Thread(target=inference_worker, args=arguments, daemon=True)
    worker.start()
    with TestClient(server.app) as client:
        yield client
        jobs.put((None, None, None, None))
        worker.join(timeout=10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("serve") / "x.ckpt")


LIMITS = Limits(body=200_000, pixels=10_000, inputs=4, seconds=600)  # a loaded machine is no failure


@pytest.fixture(scope="module")
def client(checkpoint):
    with serving(checkpoint, black_box=tiny_box, limits=LIMITS) as found:
        yield found


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8))


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def b64(data):
    return base64.b64encode(data).decode()


def plain(explanations):
    return [json.loads(json.dumps({**each.to_dict(), "seconds": 0, "source": ""})) for each in explanations]


def test_requests_in_parallel_get_the_answers_that_they_get_alone(client, checkpoint):
    explainer, box = fex.load_explainer(checkpoint), tiny_box()
    questions = [
        {"images": [i], **({"top_k": 1 + i % 3} if i % 2 else {"target": CLASSES[i % 5]}), "refine": 8 * (i % 6 == 3)}
        for i in range(24)
    ]

    def ask(question):
        data = [b64(png(picture(seed))) for seed in question["images"]]
        answer = client.post("/explain", json={**question, "images": data})
        assert answer.status_code == 200, answer.text
        return [[{**each, "seconds": 0} for each in row] for row in answer.json()["explanations"]]

    with ThreadPoolExecutor(8) as pool:
        for question, [found] in zip(questions, pool.map(ask, questions), strict=True):
            given = {"target": question.get("target"), "top_k": question.get("top_k", 1)}
            if question["refine"]:
                assert {each["fidelity"]["queries"] for each in found} == {8}
                continue
            expected = plain(explainer.explain(picture(question["images"][0]), black_box=box, **given))
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one.pop("attribution"), other.pop("attribution"), atol=1e-6)
                assert one.pop("probability") == pytest.approx(other.pop("probability"), abs=1e-6)
                assert one.pop("contrast") == pytest.approx(other.pop("contrast"), abs=1e-3)
                assert one == other


def test_forms_and_pictures(client):
    files = [("images", ("a.png", png(picture(1)), "image/png")), ("images", ("b.jpg", png(picture(2)), "image/jpeg"))]
    found = client.post("/explain", files=files, data={"top_k": "2", "png": "true"}).json()["explanations"]
    assert [len(row) for row in found] == [2, 2]
    with Image.open(io.BytesIO(base64.b64decode(found[1][0]["png"]))) as drawn:
        assert drawn.width > drawn.height
    alone = client.post("/explain", files=files[:1], headers={"Accept": "image/png"})
    assert alone.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(alone.content)).format == "PNG"


def test_health_info_and_the_page(client):
    assert client.get("/health").text == "ok"
    about = client.get("/info").json()["model"]
    assert (about["class_names"], about["modality"], about["limits"]["inputs"]) == (CLASSES, "image", 4)
    body = client.get("/openapi.json").json()["paths"]["/explain"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "refine" in body["application/json"]["schema"]["properties"]
    assert client.get("/docs").status_code == 200


GOOD = b64(png(Image.new("RGB", (8, 8))))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({}, "got 0 images"),
        ({"images": [GOOD] * 5}, "expected 1 to 4"),
        ({"images": ["###"]}, "no base64"),
        ({"images": [b64(b"GIF89a")]}, "image 0 cannot be read"),
        ({"images": [b64(png(Image.new("RGB", (101, 100))))]}, "the limit is 10,000"),
        ({"images": [GOOD], "target": "tabby dog"}, "tabby cat"),
        ({"images": [GOOD], "target": 5}, "outside 0 ... 4"),
        ({"images": [GOOD], "target": True}, "target: got true, expected a whole number"),
        ({"images": [GOOD], "target": 1.0}, "target: got 1.0, expected a whole number"),
        ({"images": [GOOD], "top_k": True}, "top_k: got true"),
        ({"images": [GOOD], "refine": True}, "refine: got true"),
        ({"images": [GOOD], "target": 1, "top_k": 2}, "not both"),
        ({"images": [GOOD], "top_k": 9}, "1 ... 5"),
        ({"images": [GOOD], "top_k": 0}, "top_k"),
        ({"images": [GOOD], "refine": 1000}, "256 at most"),
        ({"images": [GOOD], "colour": 1}, "colour"),
        ({"texts": ["a"]}, "takes images"),
        ({"images": [GOOD], "target": "\x00\u2028"}, "Unknown class"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(client, question, reason):
    answer = client.post("/explain", json=question)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


def malformed(count):
    """Bodies that are none, and the type that they are said to be."""
    draw = random.Random(0)
    good = json.dumps({"images": [GOOD], "top_k": 1}).encode()
    form = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + b"abc\r\n--x--\r\n"
    for number in range(count):
        kind, base = draw.choice((("application/json", good), ("multipart/form-data; boundary=x", form)))
        body = bytearray(base)
        if number % 4 == 0:
            body = bytearray(draw.randbytes(draw.randrange(200)))
        elif number % 4 == 1:
            del body[draw.randrange(1, len(body) - 2) :]
        elif number % 4 == 2:
            body = bytearray(b"[" * draw.randrange(1, 3000))
        else:
            start = draw.randrange(len(body) // 2)
            body[start : start + 20] = draw.randbytes(20)
        if number % 10 == 9:
            kind = draw.choice(("text/plain", "", "multipart/form-data", "multipart/form-data; boundary="))
        yield kind, bytes(body)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_malformed_bodies_are_the_clients_fault(client, count):
    for kind, body in malformed(count):
        answer = client.post("/explain", content=body, headers={"Content-Type": kind})
        assert 400 <= answer.status_code < 500, (kind, body, answer.text)
        assert isinstance(answer.json()["detail"], str)
    assert client.post("/explain", json={"images": [GOOD]}).status_code == 200


def test_one_that_fails_does_not_cost_the_others(checkpoint, monkeypatch):
    api = ExplainAPI(str(checkpoint))
    api.setup("cpu")
    server = make_server(str(checkpoint), device="cpu")
    desk, pages = server.app.state.desk, []

    for seed in range(3):
        pages.append(desk.job(Question(), [png(picture(seed))], alone=False))
    pages[1].inputs[0] = pages[1].inputs[0][:, :3]
    statuses = [answer.status_code for answer in api.predict(pages)]
    assert statuses == [200, 501, 200] or statuses == [200, 422, 200]
    assert torch.get_num_threads() == 1


def test_a_box_of_others_is_refused_at_the_start(checkpoint):
    with pytest.raises(ValueError, match="give the box that it was trained on"):
        make_server(str(checkpoint), device="cpu", black_box=lambda: tiny_box(size=8))


def test_a_missing_package_is_told(checkpoint, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "litserve", None)
    assert main([str(checkpoint)]) == 2
    assert 'pip install "fex-explain[serve]"' in capsys.readouterr().err


def test_mistakes_end_the_command_line_before_anything_starts(checkpoint, capsys, monkeypatch):
    monkeypatch.delenv("FEX_NO_TOKEN", raising=False)
    for words, reason in (
        ([str(checkpoint), "--port", "80"], "1024 ... 65535"),
        ([str(checkpoint), "--token-env", "FEX_NO_TOKEN"], "FEX_NO_TOKEN, which is not set"),
        ([str(checkpoint), "--max-inputs", "0"], "above 0"),
        (["no_such"], "Found no checkpoint"),
    ):
        assert main(words) == 2
        assert reason in capsys.readouterr().err


def test_pictures_are_read_as_by_the_command(checkpoint):
    """Plain JPEGs the short way, and none of more pixels than the limits allow."""
    server = make_server(str(checkpoint), device="cpu", limits=Limits(pixels=30_000))
    for size in ((90, 70), (300, 200)):
        file = io.BytesIO()
        Image.effect_noise(size, 80).convert("RGB").save(file, "JPEG")
        [found] = server.app.state.desk.job(Question(), [file.getvalue()], alone=False).inputs
        preprocess = fex.load_explainer(checkpoint).preprocess
        np.testing.assert_array_equal(found, read_pixels(file.getvalue(), preprocess, most=30_000))
        small = np.array_equal(found, read_pixels(file.getvalue(), preprocess))
        assert small == (size == (90, 70))


def test_two_workers_share_the_cores_of_a_cpu_and_keep_their_memory(checkpoint, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    threads = {workers: make_server(str(checkpoint), device="cpu", workers=workers) for workers in (None, 1, 4)}
    found = {workers: (server.workers_per_device, server.lit_api.threads) for workers, server in threads.items()}
    assert found == {None: (2, 4), 1: (1, 8), 4: (4, 2)}
    calls = []
    monkeypatch.setattr("fex.serve.worker.keep_memory", lambda: calls.append("kept"))
    before = torch.get_num_threads()
    ExplainAPI(str(checkpoint), threads=1).setup("cpu")
    torch.set_num_threads(before)
    assert calls == ["kept"]


def test_what_a_lost_worker_took_without_a_word_is_told(checkpoint, monkeypatch):
    started = []
    monkeypatch.setattr(LitServer, "launch_single_inference_worker", lambda _, __, number: started.append(number))
    server, jobs = make_server(str(checkpoint), device="cpu"), queue.Queue()
    server.litapi_request_queues = {"/explain": jobs}
    names = ("answered", "with another worker", "lost", "in the queue")
    server.response_buffer = {name: ResponseBufferItem(asyncio.Event()) for name in names}
    server.response_buffer["answered"].event.set()
    server.response_buffer["with another worker"].worker_id = 1
    jobs.put("in the queue")
    server.launch_single_inference_worker(server.lit_api, 0)
    assert [name for name, each in server.response_buffer.items() if each.event.is_set()] == ["answered", "lost"]
    assert started == [0]
