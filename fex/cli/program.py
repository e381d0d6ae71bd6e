"""What the programs share whose command lines are answered before torch is imported, which takes seconds."""

import argparse
import sys

from fex import __version__
from fex.errors import BlackBoxError

__all__ = ["USER_ERRORS", "new_parser", "refused"]

USER_ERRORS = (ValueError, OSError, ImportError, BlackBoxError)  # what the user can mend


def new_parser(program: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser of words that keeps the lines of its examples."""
    parser = argparse.ArgumentParser(
        prog=program, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    return parser


def refused(program: str, error: object) -> int:
    """Tells an error in one line; returns the exit code."""
    print(f"{program}: error: {error}", file=sys.stderr)
    return 2
