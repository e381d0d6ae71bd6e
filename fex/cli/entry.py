"""Entry points of the programs: what needs no torch, whose import takes seconds, is answered before it."""

import sys
from collections.abc import Callable
from importlib import import_module

from fex import __version__
from fex.storage.memory import keep_memory
from fex.storage.old_layout import old_layout

__all__ = ["bench", "demo", "explain", "export", "quickstart", "serve", "train"]


def _main(program: str) -> int | None:
    """Runs a program, whose import takes seconds, unless only its version is asked for."""
    if sys.argv[1:] == ["--version"]:
        print(f"fex-{program} {__version__}")
        return 0
    keep_memory()
    return import_module(f"fex.cli.{program}").main()


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


def _of_yaml(program: str, full: str, page: Callable[[], str]) -> int | None:
    """A program of YAML files: its first page of help, or the name in a config that is certainly wrong, at once."""
    if _shown(page):
        return 0
    from fex.cli.quick_check import first_mistake

    mistake = first_mistake(sys.argv[1:], program)
    if mistake is not None:
        own = f"fex-{program}"
        print(f"{own}: error: {mistake}{old_layout(mistake)}\nFor all settings: {own} {full} --help", file=sys.stderr)
        sys.exit(2)
    return _main(program)


def train() -> int | None:
    """`fex-train`."""
    from fex.cli.help_pages import train_page
    from fex.cli.init_flags import asks_init, init_flags

    if asks_init(sys.argv[1:]):
        init_flags(sys.argv[1:])  # help, and a mistyped flag, do not wait for what looks at the box
    return _of_yaml("train", "fit", train_page)


def bench() -> int | None:
    """`fex-bench`."""
    from fex.cli.help_pages import bench_page

    return _of_yaml("bench", "run", bench_page)


def demo() -> int | None:
    """`fex-demo`."""
    return _main("demo")


def explain() -> int | None:
    """`fex-explain`."""
    return _main("explain")


def export() -> int | None:
    """`fex-export`."""
    return _main("export")


def quickstart() -> int | None:
    """`fex-quickstart`."""
    return _main("quickstart")


def serve() -> int | None:
    """`fex-serve`."""
    return _main("serve")
