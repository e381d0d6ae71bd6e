"""Entry points of the command lines of YAML files: the first page of help at once, the rest by what takes a while."""

import sys
from collections.abc import Callable

from fex.cli.help_pages import bench_page, train_page

__all__ = ["bench", "train"]


def _shown(page: Callable[[], str]) -> bool:
    """Whether the page is all that is asked for; without any argument it goes to standard error, with code 2."""
    words = sys.argv[1:]
    if not words:
        print(page(), end="", file=sys.stderr)
        sys.exit(2)
    if words[0] in ("-h", "--help"):
        print(page(), end="")
        return True
    return False


def train() -> None:
    """`fex-train`."""
    if not _shown(train_page):
        from fex.cli.train import main  # takes seconds

        main()


def bench() -> None:
    """`fex-bench`."""
    if not _shown(bench_page):
        from fex.cli.bench import main  # takes seconds

        main()
