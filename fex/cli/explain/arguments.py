"""What the command line of `fex-explain` says, checked; imports nothing that takes time."""

import argparse
from collections.abc import Sequence

from fex.cli.explain.parser import build_parser

__all__ = ["parse_arguments", "refuse_text_flags"]

MOST_WORST = 100  # inputs that --worst may ask for
TEXT_FLAGS = ("column", "pair_column", "window")


def _text_flags(arguments: argparse.Namespace) -> list[str]:
    """Those of the flags for texts that were given."""
    return [f"--{name.replace('_', '-')}" for name in TEXT_FLAGS if getattr(arguments, name) is not None]


def refuse_text_flags(arguments: argparse.Namespace, *, tables: bool) -> None:
    """For explainers of pictures, which may lie in `tables`.

    Raises:
        ValueError: a flag that says how texts are read; names it.
    """
    if given := [flag for flag in _text_flags(arguments) if not (tables and flag == "--column")]:
        but = " in files, not in tables" if "--column" in given else ""
        raise ValueError(
            f"{', '.join(given)}: only for texts, and {arguments.checkpoint} explains pictures{but}. Leave it out."
        )


def _check_refinement(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """--refine and --check ask a box; --until-fidelity and --budget say when refining ends."""
    for flag in ("refine", "check"):
        if getattr(arguments, flag) is not None and not arguments.black_box:
            parser.error(f"--{flag} needs --black-box NAME: what is asked")
    if arguments.until_fidelity is not None and arguments.refine is None:
        parser.error("--until-fidelity needs --refine QUERIES: how many are asked at a time")
    if arguments.budget is not None:
        if arguments.until_fidelity is None:
            parser.error(
                "--budget needs --method dax, --method iassa or --until-fidelity: otherwise a trained explainer asks "
                "no queries, or those of --refine"
            )
        if arguments.budget < arguments.refine:
            parser.error(f"--budget is {arguments.budget}, less than the {arguments.refine} queries of --refine")
    if arguments.worst is not None and (arguments.refine_total or not (arguments.refine or arguments.check)):
        parser.error("--worst needs --check or --refine QUERIES of every input, by which fidelity is known")
    if (arguments.worst or 0) > MOST_WORST:
        parser.error(f"--worst is {arguments.worst}, expected {MOST_WORST} at most; explanations.csv has them all")
    if arguments.window is not None and (arguments.refine or arguments.check):
        parser.error("--window: texts in windows can be neither refined nor checked; leave it out")


def _check_total(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """--refine-total chooses which inputs --refine asks about."""
    if arguments.refine_total is None:
        return
    if arguments.refine is None or arguments.until_fidelity is not None:
        parser.error("--refine-total needs --refine QUERIES: how many of an input, without --until-fidelity")


def _check_method(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """With --method the first positional argument is a picture; without it --budget means nothing."""
    if arguments.method is None:
        _check_refinement(parser, arguments)
        _check_total(parser, arguments)
        if not arguments.inputs:
            parser.error("the following arguments are required: INPUT")
        return
    if arguments.precision != "fp32":
        parser.error("--precision is that of a trained explainer; leave it out with --method")
    for flag in ("refine", "check", "until_fidelity", "refine_total", "worst"):
        if getattr(arguments, flag) is not None:
            parser.error(f"--{flag.replace('_', '-')}: only with a trained explainer, whose map it starts from")
    if (given := _text_flags(arguments)) not in ([], ["--column"]):  # tables of pictures have columns too
        parser.error(f"{', '.join(given)}: only for explainers of texts; --method {arguments.method} explains pictures")
    if arguments.backbone is not None and arguments.method != "iassa":
        parser.error(f"--backbone: only for --method iassa, whose attention it is; got --method {arguments.method}")
    if not arguments.black_box:
        parser.error(f"--method {arguments.method} needs --black-box NAME: what it explains")
    arguments.inputs = [arguments.checkpoint, *arguments.inputs]
    arguments.checkpoint = arguments.method


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What the command line says.

    Raises:
        SystemExit: it cannot be understood.
    """
    parser = build_parser()
    arguments = parser.parse_intermixed_args(argv)  # options may stand between the positional arguments
    _check_method(parser, arguments)
    if "parquet" in (arguments.formats or ()) and len(arguments.formats) > 1:
        parser.error("--formats parquet stands alone: it is there to write no file for each picture")
    return arguments
