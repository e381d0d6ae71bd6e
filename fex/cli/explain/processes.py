"""The processes that `torchrun` started, and what they may share."""

import argparse
import os

__all__ = ["check_processes", "processes"]


def processes() -> tuple[int, int]:
    """(this process, their number) where `torchrun` started several."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def check_processes(arguments: argparse.Namespace) -> None:
    """Only tables can be shared.

    Raises:
        ValueError: several processes would write the same files.
    """
    count = processes()[1]
    if count > 1 and arguments.formats != ["parquet"]:
        raise ValueError(f"{count} processes would write the same gallery and tables: share --formats parquet alone.")
