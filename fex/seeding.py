"""The global generators of random numbers, for methods that draw from them."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = ["pixel_seeds", "seeded"]


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
