"""`fex-bench`: methods x protocols on one black box (`run`), and how fast and lean the framework is (`speed`)."""

import json
import sys
from typing import Any

import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from lightning.pytorch import LightningDataModule

from fex.black_box import BlackBox
from fex.cli.bench.checks import check_selected
from fex.cli.bench.method_overrides import overridden, take_overrides
from fex.cli.bench.run import plain, run_benchmark
from fex.cli.config import PackagedConfig, ShortErrors, check_help, help_with, instantiated
from fex.cli.ending import told
from fex.cli.help_pages import BENCH_EXAMPLES, SPEED_EXAMPLES
from fex.images.features import PatchGrid

__all__ = ["main", "run"]


class _Parser(ShortErrors, ArgumentParser):
    """Also made by jsonargparse, without these arguments, for the classes that a config names."""


def _selecting(argv: list[str]) -> list[str]:
    """`--methods NAMES` selects among the config's methods; a mapping after it replaces them, as in any config."""
    found: list[str] = []
    rest = iter(argv)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag != "--methods":
            found.append(word)
            continue
        value = value if equals else next(rest, "")
        if value.lstrip().startswith("{"):
            found += ["--methods", value]
        else:
            found += ["--only", value if value.lstrip().startswith("[") else json.dumps([value])]
    return found


def _parser() -> ArgumentParser:
    parser = _Parser(prog="fex-bench", description=__doc__, **help_with(BENCH_EXAMPLES + SPEED_EXAMPLES))
    commands = parser.add_subcommands()
    commands.add_subcommand("run", _run_parser(), help="methods x protocols on one black box")
    commands.add_subcommand("speed", _speed_parser(), help="speed and memory of the framework")
    return parser


def _run_parser() -> ArgumentParser:
    run = _Parser(description="Score explainers by named protocols.", **help_with(BENCH_EXAMPLES))
    run.add_argument("--config", action=PackagedConfig)
    run.add_subclass_arguments(BlackBox, "black_box", required=True)
    run.add_subclass_arguments(LightningDataModule, "data", required=True)
    run.add_argument(
        "--features", type=PatchGrid | None, default=None, help="grid of the features; texts have their tokens."
    )
    run.add_argument(
        "--methods",
        type=dict[str, dict],
        required=True,
        help="in a config: name: {class_path, init_args, training: {queries, seconds}}; on the command line: NAME or "
        "'[NAME, NAME]', the ones to run; --methods.NAME.init_args.ARGUMENT VALUE sets one argument of one.",
    )
    run.add_argument("--only", type=list[str] | None, default=None, help="the same as --methods '[NAME, NAME]'.")
    run.add_argument(
        "--protocols", type=list[str], default=["fex"], help="names of protocols, such as fex or fex/blur."
    )
    run.add_argument(
        "--reference", type=str | None, default=None, help="method that training must pay against; the first RISE."
    )
    run.add_argument(
        "--show",
        type=list[str] | None,
        default=None,
        help="metrics in the printed table; the report has all.",
    )
    run.add_argument("--limit", type=PositiveInt | None, default=None, help="score so many test instances.")
    run.add_argument("--output", type=str, default="runs/benchmark", help="folder of the report and results.")
    run.add_argument("--resume", type=bool, default=True, help="use results that are in the folder already.")
    run.add_argument("--device", type=str, default="cpu", help="of black box and explainers, such as cuda.")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--threads", type=PositiveInt | None, default=None)
    return run


def _speed_parser() -> ArgumentParser:
    speed = _Parser(description="Ratios of times and memory, measured in turn in one run.", **help_with(SPEED_EXAMPLES))
    speed.add_argument("--json", type=str | None, default=None, help="also write the figures here.")
    speed.add_argument("--repeats", type=PositiveInt, default=15, help="measurements of each time.")
    speed.add_argument("--images", type=PositiveInt, default=2000, help="pictures in the folder that is explained.")
    speed.add_argument(
        "--data", type=str | None, default=None, help="SST-2's folder, for padding_waste (default: made-up lengths)."
    )
    speed.add_argument("--only", type=list[str] | None, default=None, help="only these figures.")
    speed.add_argument("--threads", type=PositiveInt | None, default=None)
    return speed


def run(argv: list[str]) -> dict[str, Any]:
    """Parses `argv` and runs the subcommand; returns its report."""
    check_help(argv)
    parser = _parser()
    rest, overrides = take_overrides(argv)
    config = parser.parse_args(_selecting(rest))
    settings = config[config.subcommand]
    if overrides and config.subcommand != "run":
        raise ValueError(f"--methods.{overrides[0][0]} is a setting of `fex-bench run`.")
    if overrides:
        settings.methods = overridden({name: plain(entry) for name, entry in settings.methods.items()}, overrides)
        check_selected(settings.only, [key for key, _ in overrides], settings.methods)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if config.subcommand == "speed":
        from fex.cli.bench.speed import run_speed

        return run_speed(
            settings.json, repeats=settings.repeats, images=settings.images, data=settings.data, only=settings.only
        )
    return run_benchmark(settings, instantiated(parser, config).run)


def main() -> None:
    """Entry point of `fex-bench`."""
    told("fex-bench", lambda: run(sys.argv[1:]))
