"""Parquet files of encoded pictures."""

import glob
from typing import Any

import pyarrow.parquet as pq

from datamodules.hub import Hub

__all__ = ["Parquet"]


def _found(pattern: str | list[str]) -> list[str]:
    patterns = [pattern] if isinstance(pattern, str) else pattern
    files: list[str] = []
    for each in patterns:
        matches = sorted(glob.glob(each, recursive=True))
        if not matches:
            raise FileNotFoundError(f"No parquet file matches {each!r}.")
        files += matches
    return files


class Parquet(Hub):
    """Local parquet files with a column of encoded pictures (bytes, or `datasets`' struct of bytes and path).

    Without streaming, the files are converted once into the cache of `datasets`; streaming reads them in place.

    Args:
        train: path, pattern or list of them.
        val: the same; None holds back `val_fraction` of the training rows.
        test: the same; None if there is none.
        **options: see `Hub` (but `name`, `config_name`, `data_files` and the splits) and `ImageDataModule`.
    """

    def __init__(
        self,
        train: str | list[str],
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        **options: Any,
    ) -> None:
        given = {"train": train, "val": val, "test": test}
        files = {split: _found(pattern) for split, pattern in given.items() if pattern is not None}
        # One keyword each, no dict: the command line leaves out what it sees passed on here.
        super().__init__(
            name="parquet",
            data_files=files,
            train_split="train",
            val_split="val" if "val" in files else None,
            test_split="test" if "test" in files else None,
            **options,
        )

    def split_length(self, data: Any, split: str) -> int | None:
        """From the files' footers."""
        return sum(pq.read_metadata(file).num_rows for file in (self.data_files or {})[split])
