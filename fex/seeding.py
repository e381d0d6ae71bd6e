"""Random numbers: the global generators, for methods that draw from them, and numbers that belong to a row."""

import hashlib
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = ["RowDraws", "pixel_seeds", "seeded"]


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seeds the generators of torch, NumPy and Python inside; afterwards they are as they were, error or not.

    Args:
        seed: any integer >= 0.
        device: whose generator of torch is seeded besides the CPU's.

    Example:
        >>> with seeded(0):
        ...     a = torch.rand(1)
        >>> with seeded(0):
        ...     print(bool(a == torch.rand(1)))
        True
    """
    device = torch.device(device)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy)  # noqa: NPY002
        random.setstate(python)


def pixel_seeds(inputs: Tensor, seed: int) -> list[int]:
    """A seed for each instance, from its pixels and `seed` alone, whatever batch it comes in.

    Args:
        inputs: (B, ...), float.
        seed: any integer.

    Returns:
        B integers below 2^63.
    """
    pixels = inputs.detach().float().cpu().contiguous()
    prefix = str(seed).encode()
    digests = (hashlib.blake2b(prefix + row.numpy().tobytes(), digest_size=8).digest() for row in pixels)
    return [int.from_bytes(digest, "little") >> 1 for digest in digests]


class RowDraws:
    """Uniform numbers of rows `first`, `first` + 1 ... of a batch: each depends on seed, step and its row alone.

    They are counted, not drawn one after the other (Philox: the outputs of a cipher for 0, 1, 2 ...), so that a process
    makes its own rows only, and they are the same however many processes share the batch. The n-th call goes on where
    no other call's numbers are.

    Args:
        seed: any integer >= 0.
        step: the same.
        first: number of the first row in the whole batch.
        stream: tells apart what is drawn for several purposes.

    Example:
        >>> whole, part = RowDraws(0, step=5), RowDraws(0, step=5, first=2)
        >>> bool((whole.rand(4, 3)[2:] == part.rand(2, 3)).all())
        True
    """

    def __init__(self, seed: int, step: int, first: int = 0, stream: int = 0) -> None:
        self._key = (step % 2**64) << 64 | seed % 2**64
        self._first, self._stream, self._calls = first, stream, 0

    def rand(self, *shape: int) -> Tensor:
        """(rows, ...), float32, uniform on [0, 1)."""
        count = math.prod(shape[1:])
        blocks = -(-count // 8)  # of the cipher's output, 8 words of 32 bit, a row
        counter = (self._stream << 192) + (self._calls << 128) + self._first * blocks
        self._calls += 1
        words = np.random.Philox(key=self._key, counter=counter).random_raw(shape[0] * blocks * 4)
        words = words.astype("<u8", copy=False).view(np.uint32).reshape(shape[0], blocks * 8)[:, :count]
        return torch.from_numpy((words >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)).view(shape)
