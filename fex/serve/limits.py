"""Bounds on everything that comes from outside."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Args:
        body: bytes of a request.
        pixels: of a picture; a larger JPEG is read at a half, a quarter or an eighth of its size.
        inputs: pictures or texts of a request.
        queries: of `refine`, an input.
        waiting: requests at once; further ones are sent away.
        seconds: from the first byte of a request to its answer.
        rate: requests a second of one client address; None is any.

    Raises:
        ValueError: one that is not positive.
    """

    body: int = 32 * 2**20
    pixels: int = 25_000_000
    inputs: int = 64
    queries: int = 256
    waiting: int = 256
    seconds: float = 30.0
    rate: float | None = None

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in vars(self).items() if value is not None and not value > 0}
        if wrong:
            raise ValueError(f"Limits must be above 0, got {wrong}.")
