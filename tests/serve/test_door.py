"""What does not get in: too much, too often, too many, too long, without the token."""

import asyncio
import json

import pytest

from fex.serve.door import Door
from fex.serve.limits import Limits


async def echo(scope, receive, send):
    """Answers with the number of bytes of the body; waits where the path says so."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    status = 500 if scope["path"] == "/lost" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(size).encode()})


def ask(door, path="/explain", parts=(b"abc",), headers=(), client="1.2.3.4", stall=False):
    """Status, headers and content of one request, as a coroutine."""
    sent, left = [], list(parts)

    async def receive():
        if stall and not left:
            await asyncio.sleep(60)
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left) or stall}

    async def send(message):
        sent.append(message)

    async def run():
        scope = {"type": "http", "path": path, "headers": list(headers), "client": (client, 1)}
        await door(scope, receive, send)
        assert len(sent) == 2
        return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])

    return run()


def test_what_is_within_bounds_gets_in():
    assert asyncio.run(ask(Door(echo, Limits()), parts=(b"ab", b"c"))) == (200, {}, 3)


def test_the_token_is_asked_for_but_not_by_health():
    door = Door(echo, Limits(), token="secret")
    status, headers, found = asyncio.run(ask(door, headers=[(b"authorization", b"Bearer wrong")]))
    assert status == 401
    assert headers[b"www-authenticate"] == b"Bearer"
    assert "secret" not in found["detail"]
    assert asyncio.run(ask(door, headers=[(b"Authorization", b"Bearer secret")]))[0] == 200
    assert asyncio.run(ask(door, path="/health"))[0] == 200
    assert asyncio.run(ask(door, path="/docs"))[0] == 401


@pytest.mark.parametrize(
    ("parts", "announced", "status"),
    [((b"a" * 11,), b"11", 413), ((b"a" * 6, b"b" * 6), b"2", 413), ((b"a",), b"-5", 400), ((b"a" * 10,), b"10", 200)],
)
def test_bytes_are_counted_whatever_was_announced(parts, announced, status):
    headers = [(b"content-length", announced)]
    assert asyncio.run(ask(Door(echo, Limits(body=10)), parts=parts, headers=headers))[0] == status


def test_each_address_has_a_rate_of_its_own():
    async def run():
        door = Door(echo, Limits(rate=2))
        return [(await ask(door, client=client))[:2] for client in "aaab"]

    found = asyncio.run(run())
    assert [status for status, _ in found] == [200, 200, 429, 200]
    assert found[2][1][b"retry-after"] == b"1"


def test_too_many_at_once_are_sent_away_and_places_become_free():
    async def run():
        door = Door(echo, Limits(waiting=2))
        together = await asyncio.gather(*(ask(door, path="/slow") for _ in range(3)))
        return [status for status, _, _ in together], (await ask(door))[0]

    assert asyncio.run(run()) == ([200, 200, 503], 200)


@pytest.mark.parametrize(("path", "stall"), [("/slow", False), ("/explain", True)])
def test_what_takes_too_long_is_told_in_time(path, stall):
    status, _, found = asyncio.run(ask(Door(echo, Limits(seconds=0.1)), path=path, stall=stall))
    assert (status, found["detail"]) == (504, "no answer within 0.1 s")


def test_a_lost_worker_is_to_be_asked_again():
    status, headers, _ = asyncio.run(ask(Door(echo, Limits()), path="/lost"))
    assert (status, headers[b"retry-after"]) == (503, b"2")


def test_limits_are_positive():
    with pytest.raises(ValueError, match="body"):
        Limits(body=0)
