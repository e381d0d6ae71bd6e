"""Damaged inputs, by seed: what a file or an answer may look like after a crash, a bad disk or a bad will."""

import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

LARGE = [0, 1, 2, 127, 128, 255, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
PIECES = [b"", b"\0" * 8, b"\xff" * 8, b"\n", b"\r\n", b'"', b"{", b"[" * 2000, b"}", b",", b"9" * 400, b"-1", b"NaN"]


def mutate(data: bytes, random: Random) -> bytes:
    """`data` after one to four changes: flipped bits, cuts, insertions, repeats, other numbers."""
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 4])):
        random.choice([_flip, _cut, _shorten, _insert, _repeat, _number, _digits])(changed, random)
    return bytes(changed)


def _place(data: bytearray, random: Random) -> int:
    """Any place; every other time one of the head, where sizes are."""
    return random.randrange(max(1, min(len(data), 64) if random.random() < 0.5 else len(data)))


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _cut(data: bytearray, random: Random) -> None:
    first = _place(data, random)
    del data[first : first + random.randrange(1, 40)]


def _shorten(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _insert(data: bytearray, random: Random) -> None:
    first = _place(data, random)
    data[first:first] = random.choice([*PIECES, random.randbytes(random.randrange(1, 20))])


def _repeat(data: bytearray, random: Random) -> None:
    first = _place(data, random)
    data[first:first] = data[first : first + random.randrange(1, 200)] * random.choice([1, 3])


def _number(data: bytearray, random: Random) -> None:
    size, order = random.choice([1, 2, 4, 8]), random.choice(["little", "big"])
    first = _place(data, random)
    data[first : first + size] = (random.choice(LARGE) % 256**size).to_bytes(size, order)  # type: ignore[arg-type]


def _digits(data: bytearray, random: Random) -> None:
    found = list(re.finditer(rb"\d+", bytes(data)))
    if found:
        chosen = random.choice(found)
        new = random.choice([b"-1", b"1e999", b"9" * 400, b"NaN", b"null", b"", str(random.choice(LARGE)).encode()])
        data[chosen.start() : chosen.end()] = new


@contextmanager
def seconds(limit: int, wall: int) -> Iterator[None]:
    """Fails what takes longer: `limit` of this process's own time (others use the machine, too), or `wall` in all."""

    def fail(*_: object) -> None:
        raise AssertionError(f"hangs: more than {limit} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, limit), (signal.SIGALRM, signal.ITIMER_REAL, wall))
    before = [signal.signal(number, fail) for number, _, _ in timers]
    for _, timer, time in timers:
        signal.setitimer(timer, time)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def survive(
    samples: list[bytes],
    use: Callable[[bytes], object],
    refusals: tuple[type[Exception], ...],
    count: int,
    *,
    limit: int = 5,
    wall: int = 60,
    megabytes: int = 500,
) -> int:
    """Gives `count` damaged samples to `use`; how many of them were refused.

    Args:
        samples: whole inputs; each is usable.
        use: reads one.
        refusals: errors that are sentences of our own.
        count: damaged inputs.
        limit: seconds for each, of this process's own time.
        wall: seconds for each in all; what waits for others, as for an answer, needs less.
        megabytes: memory in all, beyond what was held before.

    Raises:
        AssertionError: another error, a hang, or too much memory; with the input's seed.
    """
    before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for sample in samples:
        use(sample)
    for seed in range(count):
        random = Random(seed)
        data = mutate(random.choice(samples), random)
        try:
            with seconds(limit, wall):
                use(data)
        except refusals as error:
            said.append(str(error))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert used < megabytes, f"{used:.0f} MB"
    assert all(0 < len(text) < 3000 for text in said), max(said, key=len)[:300]
    return len(said)
