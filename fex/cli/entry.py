"""Entry points of the command lines of YAML files: the first page of help at once, the rest by what takes a while."""

import sys
from collections.abc import Callable

from fex.cli.help_pages import bench_page, train_page
from fex.cli.quick_check import first_mistake

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


def _check(program: str, full: str) -> None:
    """Ends the program where a config has a name that is certainly wrong: in a second, not in ten."""
    mistake = first_mistake(sys.argv[1:])
    if mistake is not None:
        print(f"{program}: error: {mistake}\nFor all settings: {program} {full} --help", file=sys.stderr)
        sys.exit(2)


def train() -> None:
    """`fex-train`."""
    if not _shown(train_page):
        _check("fex-train", "fit")
        from fex.cli.train import main  # takes seconds

        main()


def bench() -> None:
    """`fex-bench`."""
    if not _shown(bench_page):
        _check("fex-bench", "run")
        from fex.cli.bench import main  # takes seconds

        main()
