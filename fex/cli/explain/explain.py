"""`fex-explain CHECKPOINT INPUT...`: explains pictures or texts in one forward pass each.

With `--method dax` or `--method iassa` there is no checkpoint: each picture is explained by queries of `--black-box`.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fex.cli.explain.arguments import parse_arguments
from fex.cli.explain.processes import processes
from fex.cli.program import USER_ERRORS, refused

if TYPE_CHECKING:
    from fex.cli.explain.summary import PictureSummary, TextSummary

__all__ = ["main", "run"]


def run(argv: Sequence[str]) -> "PictureSummary | TextSummary":
    """Does what the command line says.

    Raises:
        SystemExit: a command line that cannot be understood.
        FileNotFoundError: no such checkpoint, picture or folder.
        ValueError: unknown class, unfit checkpoint, no images.
        OSError: results that cannot be written.
    """
    arguments = parse_arguments(argv)
    from fex.cli.explain.run import run_parsed  # torch takes seconds: `--help` and a mistyped flag do not wait for it

    return run_parsed(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fex-explain`; returns the exit code."""
    try:
        summary = run(sys.argv[1:] if argv is None else argv)
    except USER_ERRORS as error:
        return refused("fex-explain", error)
    except KeyboardInterrupt:
        print(
            "fex-explain: interrupted; what is finished is in the output folder, and --resume goes on from there.",
            file=sys.stderr,
        )
        return 130
    print(summary)
    if processes()[1] > 1:  # torchrun stops all when one ends with another code; some have no table
        return 0
    if not summary.explained:
        return refused("fex-explain", "none of the inputs could be explained.")
    return 1 if summary.skipped else 0
