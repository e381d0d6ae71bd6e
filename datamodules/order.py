"""Which instances make which batch: permutations that do not depend on the number of processes."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import Sampler

__all__ = ["ShardedBatchSampler", "bucketed", "held_back", "mixed", "shared", "spread"]

T = TypeVar("T")

GOLDEN = (5**0.5 - 1) / 2  # the multiples of no other number cover [0, 1) more evenly, modulo 1
POOL = 64  # batches whose rows are sorted by length together


def bucketed(order: list[int], lengths: Tensor, batch: int, generator: torch.Generator) -> list[int]:
    """A permutation in which each batch holds rows of like length, so that padding costs little.

    Rows move within pools of `POOL` batches only, and the batches of a pool come in random order; the rows after the
    last whole batch stay where they are.

    Args:
        order: rows.
        lengths: of every row (n,), int64.
        batch: rows of the global batch.
        generator: of the order of the batches.
    """
    whole = len(order) // batch * batch
    found: list[int] = []
    for first in range(0, whole, POOL * batch):
        pool = torch.tensor(order[first : min(first + POOL * batch, whole)])
        pool = pool[lengths[pool].argsort(stable=True)].view(-1, batch)
        found += pool[torch.randperm(len(pool), generator=generator)].flatten().tolist()
    return found + order[whole:]


def spread(lengths: Tensor, batch: int) -> list[int]:
    """All rows in batches of like length, such that any first batches hold short and long rows alike.

    So a benchmark that stops after some instances has not scored the shortest alone. From the middle on the batches are
    visited in the order of the golden ratio's multiples modulo 1, which covers the lengths evenly at any time; the rows
    of the last, incomplete batch are taken from all lengths.

    Args:
        lengths: of every row (n,), int64.
        batch: rows of the global batch.
    """
    order = lengths.argsort(stable=True)
    whole, rest = divmod(len(order), batch)
    left_over = torch.zeros(len(order), dtype=torch.bool)
    left_over[(torch.arange(rest) * len(order)) // max(rest, 1)] = True
    visits = ((torch.arange(whole, dtype=torch.float64) * GOLDEN + 0.5) % 1).argsort().argsort()
    return torch.cat([order[~left_over].view(whole, batch)[visits].flatten(), order[left_over]]).tolist()


class ShardedBatchSampler(Sampler[list[tuple[int, bool]]]):
    """Batches of (index, valid) for one rank.

    Training batches are numbered 0, 1, 2 ... over the whole run: with S batches to a pass, global batch g is slice
    g mod S of the permutation seeded by (seed, g // S), whatever the number of ranks; each rank takes its own
    contiguous rows of it. So a run is resumed, mid-epoch or not, by the number of batches trained on. The last batch is
    padded by repetition (valid = False) when evaluating, so that ranks take equal steps and no instance counts twice,
    and dropped when training.

    Args:
        length: instances in the data set.
        batch_size: rows of one rank.
        shuffle: permute in every pass; also drops the last incomplete batch.
        seed: seed of the permutations.
        rank: this process.
        world_size: number of processes.
        position: number of the next training batch, asked at the first batch of each iteration; by default 0.
        lengths: of the rows (length,), int64, where batches shall hold rows of like length.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        position: Callable[[], int] | None = None,
        lengths: Tensor | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0 ... {world_size - 1} (world_size {world_size}), got {rank}.")
        self.length, self.batch_size, self.shuffle, self.seed = length, batch_size, shuffle, seed
        self.rank, self.world_size, self.position, self.lengths = rank, world_size, position, lengths
        # Data smaller than one batch still trains: the one batch is padded like an evaluation batch.
        self.drop_last = shuffle and length >= batch_size * world_size

    def __len__(self) -> int:
        total = self.batch_size * self.world_size
        return self.length // total if self.drop_last else -(-self.length // total)

    def _order(self, number: int) -> Tensor:
        """Permutation of one pass, int64: eight bytes a row, where a list of numbers takes forty."""
        if not self.shuffle:
            if self.lengths is None:
                return torch.arange(self.length)
            return torch.tensor(spread(self.lengths, self.batch_size * self.world_size))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(self.length, generator=generator)
        if self.lengths is None:
            return order
        return torch.tensor(
            bucketed(order.tolist(), self.lengths, self.batch_size * self.world_size, generator), dtype=torch.int64
        )

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        steps = len(self)
        start = self.position() if self.position is not None else 0
        current, order = -1, torch.empty(0, dtype=torch.int64)
        for batch in range(start, start + steps):
            number, step = divmod(batch, steps)
            if number != current:
                current, order = number, self._order(number)
            first = (step * self.world_size + self.rank) * self.batch_size
            places = torch.arange(first, first + self.batch_size)
            yield list(zip(order[places % self.length].tolist(), (places < self.length).tolist(), strict=True))


def held_back(count: int, fractions: dict[str, float], seed: int = 0) -> dict[str, list[int]]:
    """Splits 0 ... count - 1 by one permutation seeded by `seed`: {"train": [...], **one list a fraction}, each sorted.

    Fractions that sum to 1 leave nothing to train on: all instances are scored.

    Raises:
        ValueError: a fraction is negative, they sum to more than 1, or rounding alone leaves nothing to train on.
    """
    sizes = {name: round(count * fraction) for name, fraction in fractions.items()}
    total = round(sum(fractions.values()), 9)
    if total == 1:
        last = next(name for name in reversed(sizes) if fractions[name] > 0)
        sizes[last] += count - sum(sizes.values())
    if min(fractions.values(), default=0) < 0 or total > 1 or (total < 1 and sum(sizes.values()) >= count):
        raise ValueError(
            f"Holding back {fractions} of {count} instances leaves {count - sum(sizes.values())} to train on: the "
            "fractions must not be negative and must sum to at most 1."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held = order.split([*sizes.values(), count - sum(sizes.values())])
    names = [*sizes, "train"]
    parts = {name: rows.sort().values.tolist() for name, rows in zip(names, held, strict=True)}
    return {"train": parts.pop("train"), **parts}


def shared(files: int, reader: int, readers: int) -> Iterator[tuple[int, Callable[[int], bool]]]:
    """The files of one reader, and which of their rows are its: each row is exactly one reader's.

    All files in a row are cut into `readers` pieces of one length. So a reader has whole files, and shares at most one
    at each end with its neighbours; where `readers` divides `files`, nothing is shared. The rows of a shared file are
    dealt out by the multiples of the golden ratio modulo 1: each reader's are spread over the whole file, whose length
    nobody needs to know.

    Args:
        files: their number.
        reader: which of the readers.
        readers: their number; may be larger than `files`.
    """
    first, last = reader * files, (reader + 1) * files  # in units of 1/readers of a file, so that cuts are exact
    for file in range(first // readers, -(-last // readers)):
        low, high = (min(max(cut - file * readers, 0), readers) / readers for cut in (first, last))
        yield file, lambda row, low=low, high=high: low <= row * GOLDEN % 1 < high  # type: ignore[misc]


def mixed(rows: Iterable[T], size: int, draws: random.Random) -> Iterator[T]:
    """`rows` in another order: each takes the place of a random one of `size` that are held back."""
    held: list[T] = []
    for row in rows:
        if len(held) < max(size, 1):
            held.append(row)
            continue
        place = draws.randrange(len(held))
        yield held[place]
        held[place] = row
    draws.shuffle(held)
    yield from held
