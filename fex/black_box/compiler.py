"""Says what a black box's network is compiled by: its answers differ by rounding from those of the network as it is."""

import sys

from fex.black_box.base import BlackBox

__all__ = ["tell_compiler", "told_compiler"]


def told_compiler(box: BlackBox) -> str:
    """A line; "" where nothing is compiled."""
    if not box.compiler:
        return ""
    return f"black box {box.name}: full chunks of {box.chunk} inputs go through {box.compiler}"


def tell_compiler(box: BlackBox) -> None:
    """Prints it to standard error."""
    if line := told_compiler(box):
        print(line, file=sys.stderr, flush=True)
