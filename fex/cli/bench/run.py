"""`fex-bench run`: builds what a config names, compares the methods, writes the report in all its forms."""

import json
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from fex.benchmark.build import box_key, build_candidate
from fex.benchmark.cost import training_cost
from fex.benchmark.fingerprint import package_versions
from fex.benchmark.method_run import Taken
from fex.benchmark.runner import Candidate, Evaluation, Store, evaluate_explainers
from fex.benchmark.store import ResultStore
from fex.benchmark.summary import summarise
from fex.black_box import BlackBox, CachedBlackBox
from fex.black_box.compiler import tell_compiler
from fex.cli.bench.checks import bring_to, check_shown, check_writable, chosen_methods, strangers
from fex.cli.bench.files import write_report
from fex.cli.bench.method_overrides import check_entries
from fex.cli.label_agreement import tell_agreement
from fex.cli.progress import progress
from fex.explainers.any_method import removal_name
from fex.metrics.label_classes import check_labels
from fex.metrics.protocols import get_protocol
from fex.storage.atomic import claimed

__all__ = ["plain", "run_benchmark"]

REMEMBERED = (
    "The black box remembers answers (CachedBlackBox): a method that asks what another one asked before takes less "
    "time. Do not compare the seconds; queries are counted in full."
)
_SAMPLERS = re.compile(r"(^|\.)(Smooth)?RISE$")
_BLIND = re.compile(r"(^|\.)Random$")


def _candidates(
    methods: Mapping[str, Any], injected: Mapping[str, Any], box: str, device: str
) -> tuple[list[Candidate], dict[str, dict[str, float]], dict[str, str]]:
    """Methods that can be built, what their training cost, and why the others cannot be built."""
    found, costs, failed = [], {}, {}
    for name, spec in methods.items():
        try:
            candidate = build_candidate(name, spec, injected, box)
            if hasattr(candidate.explainer, "to"):
                candidate.explainer.to(device)
            cost = training_cost(candidate.explainer, spec.get("training"))
            if cost is not None:
                costs[name] = cost
            found.append(candidate)
        except Exception as error:  # whatever a method of anybody's raises: it is told, and the others go on
            failed[name] = f"{type(error).__name__}: {error}"
            print(f"without scores: {name}: {failed[name]}", file=sys.stderr, flush=True)  # before hours are spent
    return found, costs, failed


def _size(data: Any, limit: int | None) -> int | None:
    """Instances to come, where the data knows."""
    try:
        total = len(data.datasets["test"])
    except (AttributeError, KeyError, TypeError):
        return limit
    return total if limit is None else min(total, limit)


def _named(pattern: re.Pattern[str], methods: Mapping[str, Any]) -> list[str]:
    return [name for name, spec in methods.items() if pattern.search(spec.get("class_path", ""))]


def plain(value: Any) -> Any:
    """A parsed entry as a dictionary."""
    return value.as_dict() if isinstance(value, Namespace) else value


def run_benchmark(config: Namespace, objects: Namespace) -> dict[str, Any]:
    """Scores every method; writes report.json, report.md, report.html, curves, pictures.png, TensorBoard's hparams.

    Finished batches are kept under `output`/results and used again where nothing they depend on has changed.

    Args:
        config: of `fex-bench run`, as parsed.
        objects: its `black_box`, `data` and `features`, built.

    Raises:
        ValueError: a method of `only` that the config has not, an entry with unknown keys, an unknown protocol or
            metric, a device that is not there, or no method that could be scored; in the last case says why for each,
            and the report is written all the same, but not in place of one with scores.
        FileNotFoundError: the data.
        OSError: an output that cannot be written, or that another run is writing to.
    """
    with ExitStack() as held:
        return _run(config, objects, held)


def _run(config: Namespace, objects: Namespace, held: ExitStack) -> dict[str, Any]:
    methods = chosen_methods({name: plain(spec) for name, spec in config.methods.items()}, config.only)
    check_entries(methods)
    check_shown(config.show, config.protocols)
    black_box, data = objects.black_box, objects.data
    _set_up(config, black_box, data)
    warnings = check_labels(black_box, data, config.protocols)
    key = box_key(plain(config.black_box), config.device)
    features = objects.features if objects.features is not None else black_box.features
    injected = {"black_box": black_box, "features": features, "seed": config.seed}
    candidates, costs, failed = _candidates(methods, injected, key, config.device)
    if config.reference is not None and config.reference not in methods:
        raise ValueError(f"The reference {config.reference} is no method of this run, which has {', '.join(methods)}.")
    if not config.output.strip():
        raise ValueError("Got --output '', expected a folder, such as runs/benchmark; . is the working folder.")
    output = Path(config.output)
    check_writable(output)
    held.enter_context(claimed(output))
    warnings += tell_agreement(black_box, data, ("test",), output / "results" if config.resume else None)
    for warning in warnings:  # again in the report, hours later
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    store = Store(ResultStore(output / "results"), key) if config.resume else None
    evaluations = _evaluated(config, candidates, data, injected, store) if candidates else []
    scored = {evaluation.method for evaluation in evaluations if evaluation.rows}
    samplers = [name for name in _named(_SAMPLERS, methods) if name in scored]
    report = summarise(
        evaluations,
        failed=failed,
        training=costs,
        removals={c.name: removal_name(c.explainer) for c in candidates},
        reference=config.reference or (samplers[0] if samplers else None),
        random=_named(_BLIND, methods),
        seed=config.seed,
    )
    if isinstance(black_box, CachedBlackBox):
        report["warnings"].append(REMEMBERED)
    read = data.remarks() if hasattr(data, "remarks") else []
    report["warnings"] += [*warnings, *strangers(candidates, black_box), *read]
    report |= {**_facts(config, black_box), "methods": methods}
    write_report(output, report, config, data, evaluations, black_box)
    return report


def _set_up(config: Namespace, black_box: BlackBox, data: Any) -> None:
    """Brings the data to the box's geometry, and the box to its device."""
    data._preprocess = data._preprocess or black_box.preprocess
    data.needs_labels = any("labels" in get_protocol(name).needs for name in config.protocols)
    data.setup("test")
    if config.device != "cpu":
        bring_to(black_box, config.device)
    tell_compiler(black_box)


def _evaluated(
    config: Namespace, candidates: list[Candidate], data: Any, injected: Mapping[str, Any], store: Store | None
) -> list[Evaluation]:
    """Scores every method, and says how many results of earlier runs were taken over."""
    black_box, found, total = injected["black_box"], 0, _size(data, config.limit)
    total = total and total * len(candidates)
    with progress(total, "explanations", note=lambda: f"{black_box.queries:,} queries") as advance:

        def finished(count: int, taken: Taken) -> None:
            nonlocal found
            found += count * (taken == "stored")
            advance(count, free=taken != "explained")

        evaluations = evaluate_explainers(
            candidates,
            data.test_dataloader(),
            black_box,
            injected["features"],
            config.protocols,
            store=store,
            limit=config.limit,
            seed=config.seed,
            memory=True,
            progress=finished,
        )
    if found:
        folder = Path(config.output) / "results"
        print(f"{found:,} explanations of earlier runs were found in {folder}.", file=sys.stderr)
    return evaluations


def _facts(config: Namespace, black_box: BlackBox) -> dict[str, Any]:
    """What a report says of its run."""
    return {
        "black_box": black_box.name,
        "data": config.data.class_path,
        "seed": config.seed,
        "device": config.device,
        "threads": torch.get_num_threads(),
        "compiler": black_box.compiler,
        "settings": {
            key: json.loads(json.dumps(plain(config[key]), default=str))
            for key in ("black_box", "data", "features", "protocols", "limit")
        },
        "versions": {"python": platform.python_version(), **package_versions()},
    }
