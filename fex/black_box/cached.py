"""A black box that is not asked the same thing twice."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fex.black_box.base import BlackBox
from fex.modality import Features

__all__ = ["CachedBlackBox"]


class CachedBlackBox(BlackBox):
    """Remembers the answers of another black box of images, by the exact pixels of each input.

    For boxes that charge by the call, and for comparisons of settings that ask the same questions (a method with 1,000
    and with 6,000 samples of one seed). Seconds that are measured with it are not those of the method.

    Args:
        black_box: what is asked.
        capacity: answers that are kept; the oldest go first. A thousand of a thousand classes take 4 MB.

    Attributes:
        queries: instances scored, remembered or not, so that a method's number does not depend on who asked before.
        hits: how many of them were remembered.

    Raises:
        ValueError: a capacity below 1, or a box of other inputs.

    Example:
        >>> import torch
        >>> from fex.black_box import CachedBlackBox, CallableBlackBox
        >>> box = CallableBlackBox(lambda x: torch.full((len(x), 2), 0.5), num_classes=2)
        >>> cached, images = CachedBlackBox(box), torch.rand(3, 3, 8, 8)
        >>> cached(images).equal(cached(images)), cached.queries, cached.hits
        (True, 6, 3)
    """

    def __init__(self, black_box: BlackBox, *, capacity: int = 50_000) -> None:
        if black_box.modality != "image":
            raise ValueError(
                f"CachedBlackBox is for black boxes of images, {black_box.name!r} takes {black_box.modality}s."
            )
        if capacity < 1:
            raise ValueError(f"Got capacity={capacity}, expected at least 1 answer.")
        super().__init__(**black_box.options())
        self.black_box, self.capacity, self.device = black_box, capacity, black_box.device
        self.hits = 0
        self._bypassed = False
        self._places: OrderedDict[bytes, int] = OrderedDict()
        # One block for all: a small tensor an answer would lie in the holes that chunks of pictures leave in the
        # memory, which then grows by a picture an answer.
        self._answers: Tensor | None = None

    def digest(self) -> str | None:
        """That of the box that is asked."""
        return self.black_box.digest()

    def to(self, device: torch.device | str) -> "CachedBlackBox":
        """Moves the box that is asked; the answers stay in the CPU's memory."""
        self.black_box.to(device)
        self.device = self.black_box.device
        return self

    @property
    def compiler(self) -> str:
        """That of the box that is asked."""
        return self.black_box.compiler

    @property
    def features(self) -> Features:
        """Those of the box that is asked."""
        return self.black_box.features

    def prepare(self, inputs: Tensor) -> None:
        """Prepares the inner one."""
        self.black_box.prepare(inputs)

    @contextmanager
    def bare(self) -> Iterator[None]:
        """See `BlackBox`."""
        self._bypassed = True
        try:
            with self.black_box.bare():
                yield
        finally:
            self._bypassed = False

    @property
    def module(self) -> nn.Module:
        """The network of the box that is asked."""
        return self.black_box.module

    def differentiable(self, inputs: Tensor) -> Tensor:
        """See `BlackBox`."""
        return self.black_box.differentiable(inputs)

    def __getstate__(self) -> dict[str, object]:
        """What a copy takes along: its network may be changed, so the answers stay behind."""
        return {**self.__dict__, "_places": OrderedDict(), "_answers": None}

    def _score(self, inputs: Tensor) -> Tensor:
        if self._bypassed:
            return self.black_box._score(inputs)
        rows = inputs.cpu().contiguous()
        keys = [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in rows]
        new = {key: row for row, key in enumerate(keys) if key not in self._places}  # twins in a chunk once
        self.hits += len(keys) - len(new)
        asked = self.black_box._score(inputs[list(new.values())]).float().cpu() if new else None
        if self._answers is None:
            assert asked is not None
            self._answers = torch.empty(self.capacity, asked.shape[1])
        fresh = {} if asked is None else dict(zip(new, asked, strict=True))
        # Copied before a new one takes an old one's place.
        found = torch.stack([fresh[key] if key in fresh else self._answers[self._places[key]] for key in keys])
        for key, answer in fresh.items():
            full = len(self._places) == self.capacity
            place = self._places.popitem(last=False)[1] if full else len(self._places)
            self._places[key], self._answers[place] = place, answer
        return found
