"""A benchmark in TensorBoard's table of hyperparameters: one line a method, one column a metric or an argument."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

__all__ = ["write_hparams"]

_OURS = re.compile(r"\d{3}-.*\.method")


def write_hparams(folder: str | Path, report: Mapping[str, Any]) -> None:
    """Writes one TensorBoard run a scored method, in place of those of an earlier report.

    Args:
        folder: that TensorBoard is pointed at; its runs of an earlier call are removed, and nothing else.
        report: as of `fex.benchmark.summary.summarise`, with `black_box`, `data` and `seed`, and where it has them the
            `methods` (class_path, init_args) as of the config.
    """
    folder = Path(folder)
    for old in folder.glob("*"):
        if old.is_dir() and _OURS.fullmatch(old.name):
            shutil.rmtree(old)
    methods: dict[str, dict[str, float]] = {}
    for row in report["rows"]:
        if row["value"] is None:
            continue
        scores = methods.setdefault(row["method"], {})
        scores[f"{row['protocol']}/{row['metric']}"] = row["value"]
        scores.update({f"cost/{key}": row[key] for key in ("queries", "seconds", "peak_mb") if row[key] is not None})
    before = set(folder.glob("events.*"))
    with SummaryWriter(str(folder)) as writer:
        for number, (method, scores) in enumerate(methods.items()):
            settings = {"method": method} | {key: str(report[key]) for key in ("black_box", "data", "seed")}
            settings |= _arguments(report.get("methods", {}).get(method, {}))
            name = f"{number:03}-{re.sub(r'[^A-Za-z0-9.-]+', '_', method).strip('_')}.method"
            writer.add_hparams(settings, scores, run_name=name)
    for own in set(folder.glob("events.*")) - before:
        own.unlink()  # each method has a file in its own folder; the writer's own says nothing


def _arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Class and arguments of a method as TensorBoard takes them: numbers and words as they are, others as JSON."""
    found = {"class_path": spec["class_path"]} if "class_path" in spec else {}
    for key, value in (spec.get("init_args") or {}).items():
        found[key] = value if isinstance(value, bool | int | float | str) else json.dumps(value)
    return found
