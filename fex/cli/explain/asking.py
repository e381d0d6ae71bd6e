"""What `--refine`, `--check` and `--refine-total` of a command line ask for."""

import argparse

from fex.black_box import BlackBox
from fex.cli.explain.refined import RefinedMethod
from fex.cli.explain.spent import SpentMethod
from fex.explainers import AmortizedExplainer, Refined

__all__ = ["asks", "refined_method"]

AT_ONCE = 2048  # queries between two results: progress is shown, and results kept, some inputs at a time


def asks(arguments: argparse.Namespace) -> bool:
    """Whether inputs are refined or checked."""
    return arguments.refine is not None or arguments.check is not None


def refined_method(explainer: AmortizedExplainer, box: BlackBox, arguments: argparse.Namespace) -> RefinedMethod:
    """What the command line asks for.

    Raises:
        ValueError: a box that is not the explainer's.
    """
    count = arguments.refine or arguments.check
    refined = Refined(explainer, box, queries=count, until=arguments.until_fidelity, most=arguments.budget)
    most = count if arguments.until_fidelity is None else refined.most
    arguments.batch_size = min(arguments.batch_size, max(1, AT_ONCE // most))
    if arguments.refine_total is not None:
        return SpentMethod(refined, count + 1, arguments.refine_total)  # one more for the class
    if arguments.check is not None:
        return RefinedMethod(refined, refined.check, f"{explainer.method}, checked by {count:,} queries,")
    told = f"{count:,} queries" if arguments.until_fidelity is None else f"{count:,} to {most:,} queries"
    return RefinedMethod(refined, refined.explain, f"{explainer.method} + {told}")
