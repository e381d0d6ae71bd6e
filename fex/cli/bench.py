"""`fex-bench`: methods x protocols on one black box (`run`), and how fast and lean the framework is (`speed`)."""

import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningDataModule

from fex.benchmark.runner import Evaluation, compare, evaluate_explainer
from fex.black_box import BlackBox
from fex.cli.config import PackagedConfig
from fex.features import PatchGrid
from fex.report.curves import draw_curves
from fex.report.tables import print_table

__all__ = ["build_method", "main", "run", "run_benchmark"]

_EPILOG = """
examples:
  fex-bench run --config benchmark_quickstart.yaml
  fex-bench run --config benchmark_cifar10.yaml --data.init_args.root /data/cifar10 --only '[FEX, Random]'
  fex-bench speed --json speed.json
  fex-bench speed --only '[folder_memory]' --images 100000
"""


def build_method(class_path: str, init_args: dict[str, Any], injected: dict[str, Any]) -> Any:
    """An explainer by class path; `black_box` and `features` are handed to those whose signature asks for them.

    Raises:
        ValueError: no such class, or arguments it does not take.
    """
    module, _, name = class_path.rpartition(".")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"Found no method {class_path!r} ({error}): give an importable class_path.") from error
    known = inspect.signature(factory).parameters
    unknown = sorted(set(init_args) - set(known))
    if unknown:
        raise ValueError(f"{class_path} does not take {unknown}; it takes {sorted(known)}.")
    arguments = {key: value for key, value in injected.items() if key in known}
    nested = {
        key: build_method(value["class_path"], value.get("init_args", {}), injected)
        if isinstance(value, dict) and "class_path" in value
        else value
        for key, value in init_args.items()
    }
    return factory(**{**arguments, **nested})


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="fex-bench", description=__doc__, epilog=_EPILOG)
    commands = parser.add_subcommands()
    run = ArgumentParser(description="Score explainers by named protocols.")
    run.add_argument("--config", action=PackagedConfig)
    run.add_subclass_arguments(BlackBox, "black_box", required=True)
    run.add_subclass_arguments(LightningDataModule, "data", required=True)
    run.add_argument(
        "--features", type=PatchGrid | None, default=None, help="grid of the features; texts have their tokens."
    )
    run.add_argument("--methods", type=dict[str, dict], required=True, help="name: {class_path, init_args}.")
    run.add_argument("--only", type=list[str] | None, default=None, help="only these methods.")
    run.add_argument("--protocols", type=list[str], default=["fex"], help="names of protocols.")
    run.add_argument(
        "--show", type=list[str] | None, default=None, help="metrics in the printed table; the report has all."
    )
    run.add_argument("--limit", type=int | None, default=None, help="score so many test instances.")
    run.add_argument("--output", type=str, default="runs/benchmark", help="folder of report.json and report.md.")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--threads", type=int | None, default=None)
    commands.add_subcommand("run", run, help="methods x protocols on one black box")
    speed = ArgumentParser(description="Ratios of times and memory, measured in turn in one run.")
    speed.add_argument("--json", type=str | None, default=None, help="also write the figures here.")
    speed.add_argument("--repeats", type=int, default=15, help="measurements of each time.")
    speed.add_argument("--images", type=int, default=2000, help="pictures in the folder that is explained.")
    speed.add_argument("--only", type=list[str] | None, default=None, help="only these figures.")
    speed.add_argument("--threads", type=int | None, default=None)
    commands.add_subcommand("speed", speed, help="speed and memory of the framework")
    return parser


def run_benchmark(config: Namespace, objects: Namespace) -> dict[str, Any]:
    """Scores every method, one after the other, and writes the report after each."""
    black_box, data = objects.black_box, objects.data
    data._preprocess = data._preprocess or black_box.preprocess
    data.setup("test")
    features = objects.features if objects.features is not None else black_box.features
    methods = config.methods if config.only is None else {name: config.methods[name] for name in config.only}
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    evaluations: dict[str, Evaluation] = {}
    report: dict[str, Any] = {
        "rows": [],
        "differences": [],
        "black_box": black_box.name,
        "data": config.data.class_path,
        "seed": config.seed,
        "versions": {"torch": torch.__version__},
    }
    for name, spec in methods.items():
        injected = {"black_box": black_box, "features": features}
        explainer = build_method(spec["class_path"], dict(spec.get("init_args", {})), injected)
        print(f"{name} ...", file=sys.stderr, flush=True)
        evaluation = evaluate_explainer(
            explainer,
            data.test_dataloader(),
            black_box,
            features,
            config.protocols,
            method=name,
            limit=config.limit,
            seed=config.seed,
        )
        evaluations[name] = evaluation
        report["rows"] += evaluation.rows
        first = next(iter(evaluations.values()))
        if evaluation is not first:
            report["differences"] += _differences(first, evaluation)
        (output / "report.json").write_text(json.dumps(report, indent=1))
    draw_curves({name: found.scores for name, found in evaluations.items()}, output)
    shown = [row for row in report["rows"] if config.show is None or row["metric"] in config.show]
    print_table(shown, title=f"{black_box.name}, seed {config.seed}")
    print(f"report: {output / 'report.json'}")
    return report


def _differences(first: Evaluation, other: Evaluation) -> list[dict[str, Any]]:
    """The first method minus another, paired over instances."""
    found = []
    for row in other.rows:
        interval = compare(first, other, row["protocol"], row["metric"])
        found.append(
            {
                "a": first.method,
                "b": other.method,
                "protocol": row["protocol"],
                "metric": row["metric"],
                "difference": interval.value,
                "ci95": [interval.low, interval.high],
            }
        )
    return found


def run(argv: list[str]) -> dict[str, Any]:
    """Parses `argv` and runs the subcommand; returns its report."""
    parser = _parser()
    config = parser.parse_args(argv)
    settings = config[config.subcommand]
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if config.subcommand == "speed":
        from fex.cli.speed import run_speed

        return run_speed(settings.json, repeats=settings.repeats, images=settings.images, only=settings.only)
    return run_benchmark(settings, parser.instantiate_classes(config).run)


def main() -> None:
    """Entry point of `fex-bench`."""
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
