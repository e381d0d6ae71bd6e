"""Entry points of the four programs: `--version` is answered before torch is imported, which takes seconds."""

import sys
from importlib import import_module

from fex import __version__

__all__ = ["bench", "explain", "quickstart", "train"]


def _entry(program: str) -> int | None:
    if sys.argv[1:] == ["--version"]:
        print(f"fex-{program} {__version__}")
        return 0
    return import_module(f"fex.cli.{program}").main()


def train() -> int | None:
    """`fex-train`."""
    return _entry("train")


def explain() -> int | None:
    """`fex-explain`."""
    return _entry("explain")


def bench() -> int | None:
    """`fex-bench`."""
    return _entry("bench")


def quickstart() -> int | None:
    """`fex-quickstart`."""
    return _entry("quickstart")
