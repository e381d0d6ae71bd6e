"""What a hostile or broken server can do: little, for a short time, and it learns no secret of another host."""

import itertools
import json
import resource
import time
import traceback

import pytest
import torch

from fex.black_box import HttpBlackBox
from fex.black_box.secrets import hidden, public
from fex.cli.explain.black_box_argument import chosen_black_box
from fex.images import Preprocess
from tests.black_box.raw_server import RawServer, answer

INPUT = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
GOOD = json.dumps({"probabilities": [[0.2, 0.3, 0.5]]}).encode()
TOKEN = "open-sesame/1234+5"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("CLASSIFIER_TOKEN", TOKEN)


@pytest.fixture(autouse=True)
def _bounded():
    """Each test takes less than 2 s of the processor, and less than 200 MB more than before."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def ask(reply, **options):
    """What the box makes of a reply: bytes, or a function of the connection."""
    send = reply if callable(reply) else lambda connection: connection.sendall(reply)
    with RawServer(send) as server:
        settings = {"num_classes": 3, "preprocess": Preprocess(4, 5), "timeout": 0.3, "retries": 0, **options}
        return HttpBlackBox(server.url, **settings)(INPUT), server.requests


def dripping(head, drop):
    def reply(connection):
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(0.02)

    return reply


def pouring(head, flood):
    def reply(connection):
        connection.sendall(head)
        while True:
            connection.sendall(flood)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        dripping(b"", b"H"),
        dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n" + GOOD, b" "),  # whole, as far as it goes
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
)
def test_an_answer_that_drips_ends_with_the_time(reply):
    with pytest.raises(ConnectionError, match=r"no answer within 0\.3 s|more than 100 headers"):
        ask(reply)


def test_a_refusal_that_drips_is_still_a_refusal():
    with pytest.raises(ValueError, match="status 403"):
        ask(dripping(b"HTTP/1.1 403 Forbidden\r\n\r\nno", b" "))


@pytest.mark.parametrize("head", [b"\r\n", b"Content-Length: 99999999999999\r\n\r\n", b"Content-Length: -1\r\n\r\n"])
def test_an_answer_that_never_ends_is_cut(head):
    with pytest.raises(ValueError, match=r"more than 1,048,768 bytes, the limit for 1 rows of 3 numbers"):
        ask(pouring(b"HTTP/1.1 200 OK\r\n" + head, b" " * 65536), timeout=5.0)


@pytest.mark.parametrize("size", [b"-1", b"-5", b"ffffffffffffffff"])
def test_chunks_of_a_wrong_size(size):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
    with pytest.raises((ValueError, ConnectionError), match=r"more than 1,048,768 bytes|broke off"):
        ask(pouring(head, b" " * 65536), timeout=5.0)


def test_headers_that_never_end():
    lines = itertools.repeat(b"X: y\r\n" * 1000)
    with pytest.raises(ConnectionError, match="broke off"):
        ask(lambda connection: [connection.sendall(line) for line in lines], timeout=5.0)


@pytest.mark.parametrize("missing", ["Content-Length: 500\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nff\r\n"])
def test_a_piece_is_no_answer(missing):
    with pytest.raises(ConnectionError, match="broke off"):
        ask(b"HTTP/1.1 200 OK\r\n" + missing.encode() + GOOD)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b'{"probabilities": [[0.2, 0.3, ' + b"[" * 500 + b"]" * 500 + b"]]}", "no table of numbers .they hold list"),
        (b'{"probabilities": [[1' + b"0" * 400 + b", 0, 0]]}", "NaN or infinite scores"),
        (b'{"probabilities": [[1' + b"0" * 100_000 + b", 0, 0]]}", "NaN or infinite scores"),
        (b'{"probabilities": [[1e300, 0, 0]]}', "NaN or infinite scores"),
        (b'{"probabilities": [["0.2", "0.3", "0.5"]]}', "no table of numbers .they hold str"),
        (b'{"probabilities": [[true, false, false]]}', "no table of numbers .they hold bool"),
        (b'{"probabilities": [{"a": 1}]}', "no table of numbers .they hold dict"),
    ],
)
def test_answers_of_another_kind(body, message):
    with pytest.raises(ValueError, match=message):
        ask(answer(body))


@pytest.mark.parametrize("wait", ["\u00b2".encode("latin-1"), b"9" * 400, b"-1", b"soon", b"inf"])
def test_odd_times_to_wait(wait):
    with pytest.raises(ConnectionError, match="status 503"):
        ask(answer(b"", b"503 Busy", b"Retry-After: " + wait + b"\r\n"))


ECHOES = {
    "body": answer(f"your token {TOKEN} is no good".encode(), b"403 Forbidden"),
    "body, cut off": answer(b"x" * 290 + TOKEN.encode(), b"403 Forbidden"),
    "JSON": answer(json.dumps({"token": TOKEN}).encode()),
    "rows": answer(json.dumps({"probabilities": [[TOKEN, 1, 2]]}).encode()),
    "reason": answer(b"", f"403 {TOKEN}".encode()),
    "status": f"HTTP/1.1 {TOKEN}\r\n\r\n".encode(),
    "first line": f"{TOKEN}\r\n\r\n".encode(),
    "path": answer(b"", b"302 Found", f"Location: http://other/{TOKEN}\r\n".encode()),
    "encoded": answer(b"", b"302 Found", b"Location: http://other/open-sesame%2F1234%2B5\r\n"),
    "query": answer(b"", b"302 Found", f"Location: http://other/?token={TOKEN}\r\n".encode()),
    "user": answer(b"", b"302 Found", f"Location: http://me:{TOKEN}@other/\r\n".encode()),
    "port": answer(b"", b"302 Found", f"Location: http://me:{TOKEN}\r\n".encode()),
    "retried": answer(TOKEN.upper().encode(), b"500 Broken"),
}


@pytest.mark.parametrize("place", ECHOES)
def test_a_token_that_the_server_sends_back_is_in_no_message(place):
    with pytest.raises((ValueError, ConnectionError)) as caught:
        ask(ECHOES[place], token_env="CLASSIFIER_TOKEN")
    whole = "".join(traceback.format_exception(caught.value)).lower()
    assert not any(piece in whole for piece in ("sesame", "1234"))


def test_a_token_like_a_number_changes_no_score(monkeypatch):
    monkeypatch.setenv("CLASSIFIER_TOKEN", "0.3")
    assert torch.allclose(ask(answer(GOOD), token_env="CLASSIFIER_TOKEN")[0], torch.tensor([[0.2, 0.3, 0.5]]))


@pytest.mark.parametrize(
    "token", ["open\nsesame", "open sesame", "open\r\nX: sesame", "\u00f6pen-sesame", "sesame\x7f1"]
)
def test_a_token_of_other_signs_is_refused_without_its_text(token, monkeypatch):
    monkeypatch.setenv("CLASSIFIER_TOKEN", token)
    with pytest.raises(ValueError, match="CLASSIFIER_TOKEN holds no token") as caught:
        ask(answer(GOOD), token_env="CLASSIFIER_TOKEN")
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("header", "sent"),
    [("Authorization", f"Authorization: Bearer {TOKEN}"), ("X-Api-Key", f"X-Api-Key: {TOKEN}")],
)
def test_header_of_the_token(header, sent):
    _, requests = ask(answer(GOOD), token_env="CLASSIFIER_TOKEN", token_header=header)
    assert sent.lower().encode() in requests[0].lower()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:sesame@host/x", "me:sesame@host/x", "http://me:sesame@host/x", "http://sesame@host/x",
        "http://me:ses/ame@host:sesame", "http://host:sesame/", "http://host/x?api_key=sesame", "http://host/x?sig=sesame",
        "http://host/x?X-Amz-Signature=sesame", "http://host/x?access_token=sesame", "http://host/\nsesame",
        "http://host/sesame x", "http://[sesame/x",
    ],
)  # fmt: skip
def test_addresses_with_secrets_are_refused_without_their_text(url):
    with pytest.raises(ValueError, match="url") as caught:
        HttpBlackBox(url, num_classes=3)
    assert "sesame" not in "".join(traceback.format_exception(caught.value)).replace(f"{url!r}", "")


def test_a_query_is_sent_and_not_shown():
    with pytest.raises(ConnectionError) as caught:
        HttpBlackBox("http://127.0.0.1:9/x?deployment=sesame", num_classes=3, retries=0)(torch.rand(1, 3, 224, 224))
    assert "sesame" not in str(caught.value)
    assert public("https://me:sesame@host:8/x?y=sesame#z") == "https://host:8/x"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Authorization": "Bearer sesame"}, "'Authorization' looks like a secret"),
        ({"X-API-Key": "sesame"}, "'X-API-Key' looks like a secret"),
        ({"Cookie": "sesame"}, "'Cookie' looks like a secret"),
        ({"X-Team": "vision\nsesame"}, "'X-Team' cannot be sent"),
        ({"X Team": "sesame"}, "'X Team' cannot be sent"),
    ],
)
def test_headers_with_secrets_are_refused_without_their_text(headers, message):
    with pytest.raises(ValueError, match=message) as caught:
        HttpBlackBox("http://host/x", num_classes=3, headers=headers)
    assert "sesame" not in str(caught.value)


def test_no_other_host_gets_the_token(monkeypatch):
    with RawServer(lambda connection: connection.sendall(answer(GOOD))) as other:
        for code in (b"301 x", b"302 x", b"303 x", b"307 x", b"308 x"):
            moved = answer(b"", code, b"Location: " + other.url.encode() + b"\r\n")
            with pytest.raises(ValueError, match="redirects to 'http://127.0.0.1"):
                ask(moved, token_env="CLASSIFIER_TOKEN")
        monkeypatch.delenv("no_proxy")
        monkeypatch.setenv("http_proxy", other.url.removesuffix("/classify"))
        box = HttpBlackBox("http://host.invalid/x", num_classes=3, preprocess=Preprocess(4, 5), retries=0)
        assert box(INPUT).shape == (1, 3)  # without a token a proxy is used
        assert other.requests.pop().startswith(b"POST http://host.invalid/x ")
        box.endpoint.token_env = "CLASSIFIER_TOKEN"
        with pytest.raises(ValueError, match="proxy for http:// addresses, which would read the token"):
            box(INPUT)
        assert other.requests == []


def test_a_proxy_sees_nothing_of_an_encrypted_request(monkeypatch):
    monkeypatch.delenv("no_proxy")
    with RawServer(dripping(b"HTTP/1.1 200 OK\r\n", b"X")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.removesuffix("/classify"))
        box = HttpBlackBox(
            "https://host.invalid/x", num_classes=3, preprocess=Preprocess(4, 5), retries=0, timeout=3.0,
            token_env="CLASSIFIER_TOKEN",
        )  # fmt: skip
        with pytest.raises(ConnectionError, match="no answer within 3 s"):
            box(INPUT)
        assert proxy.requests[0].startswith(b"CONNECT host.invalid:443 ")
        assert b"sesame" not in proxy.requests[0]


def test_the_command_line_repeats_no_secret():
    with pytest.raises(ValueError, match="'http://host/x' has") as caught:
        chosen_black_box("http://me:sesame@host/x?key=sesame")
    assert "sesame" not in str(caught.value)


def test_hidden():
    assert hidden('a/b"c a%2Fb%22c a/b\\"c A/B&quot;C', ['a/b"c']) == "*** *** *** ***"
    assert hidden("text", []) == hidden("text", [""]) == "text"
