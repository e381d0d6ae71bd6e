"""Explaining any number of picture files in constant memory: threads read ahead and write behind, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, TypeVar

import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.explainers.trained import AmortizedExplainer
from fex.explanations.image import Explanation
from fex.images.decoding import UnreadableImageError, read_pixels
from fex.images.preprocess import Preprocess, as_unit
from fex.storage.names import printable

__all__ = ["ImageFile", "explain_files", "ordered_map", "read_files"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ImageFile:
    """A picture on disk, and the relative name that its results carry.

    Where `explain_files` is told how to read, `path` may be anything that can be read so.
    """

    path: Path
    name: PurePath


def ordered_map(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """`map` by threads, in order, with at most `ahead` items begun and not yet taken.

    `Executor.map` would take all items at once. What was not begun is cancelled when the caller stops.
    """
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def read_files(
    files: Iterable[ImageFile],
    preprocess: Preprocess,
    *,
    batch_size: int = 32,
    num_workers: int = 4,
    reader: Callable[[Any, Preprocess], Tensor] = read_pixels,
) -> Iterator[list[tuple[ImageFile, Tensor | str]]]:
    """Batches of files in order, each with its picture (3, H, W), or the reason why it could not be read.

    Args:
        files: pictures; taken as needed.
        preprocess: of the explainer.
        batch_size: files at a time, those that cannot be read among them.
        num_workers: threads that decode.
        reader: of a file's `path`, as `fex.images.decoding.read_pixels`.
    """
    if batch_size < 1 or num_workers < 1:
        raise ValueError(f"batch_size and num_workers must be at least 1, got {batch_size} and {num_workers}.")

    def read(file: ImageFile) -> tuple[ImageFile, Tensor | str]:
        try:
            return file, as_unit(reader(file.path, preprocess))
        except UnreadableImageError as error:
            return file, str(error)

    with ThreadPoolExecutor(num_workers, "read") as pool:
        results = ordered_map(pool, read, files, batch_size + num_workers)
        try:
            while batch := list(islice(results, batch_size)):
                yield batch
        finally:
            results.close()  # type: ignore[attr-defined]


def explain_files(
    explainer: AmortizedExplainer,
    files: Iterable[ImageFile],
    *,
    target: str | int | None = None,
    top_k: int = 1,
    batch_size: int = 32,
    num_workers: int = 4,
    black_box: BlackBox | None = None,
    reader: Callable[[Any, Preprocess], Tensor] = read_pixels,
) -> Iterator[tuple[ImageFile, list[Explanation] | str]]:
    """Explanations of each file, in order, one forward pass an image; a batch at a time.

    Args:
        explainer: trained.
        files: pictures; taken as needed.
        target: see `AmortizedExplainer.explain`.
        top_k: see there.
        batch_size: pictures a pass.
        num_workers: threads that decode.
        black_box: see there.
        reader: of a file's `path`, as `fex.images.decoding.read_pixels`.

    Yields:
        The file, and its explanations or the reason why it could not be read.
    """
    options = {"batch_size": batch_size, "num_workers": num_workers, "reader": reader}
    with closing(read_files(files, explainer.preprocess, **options)) as batches:  # type: ignore[arg-type, type-var]
        for batch in batches:
            yield from _explain_batch(explainer, batch, target=target, top_k=top_k, black_box=black_box)


def _explain_batch(
    explainer: AmortizedExplainer,
    batch: list[tuple[ImageFile, Tensor | str]],
    *,
    target: str | int | None,
    top_k: int,
    black_box: BlackBox | None,
) -> Iterator[tuple[ImageFile, list[Explanation] | str]]:
    good = [(file, tensor) for file, tensor in batch if isinstance(tensor, Tensor)]
    explained: Iterator[Explanation] = iter(())
    if good:
        sources = [printable(file.name) for file, _ in good]
        inputs = torch.stack([tensor for _, tensor in good])
        explained = iter(explainer.explain(inputs, target, top_k, black_box=black_box, sources=sources))
    for file, read in batch:
        yield file, (read if isinstance(read, str) else list(islice(explained, top_k)))
