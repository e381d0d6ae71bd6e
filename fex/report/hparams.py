"""A benchmark in TensorBoard's table of hyperparameters: one line a method, one column a metric."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

__all__ = ["write_hparams"]


def write_hparams(folder: str | Path, report: Mapping[str, Any]) -> None:
    """Writes one TensorBoard run a scored method, in place of those of an earlier report.

    Args:
        folder: that TensorBoard is pointed at; its runs of an earlier call are removed.
        report: as of `fex.benchmark.summary.summarise`, with `black_box`, `data` and `seed`.
    """
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    methods: dict[str, dict[str, float]] = {}
    for row in report["rows"]:
        if row["value"] is None:
            continue
        scores = methods.setdefault(row["method"], {})
        scores[f"{row['protocol']}/{row['metric']}"] = row["value"]
        scores.update({f"cost/{key}": row[key] for key in ("queries", "seconds", "peak_mb") if row[key] is not None})
    with SummaryWriter(str(folder)) as writer:
        for number, (method, scores) in enumerate(methods.items()):
            settings = {"method": method} | {key: str(report[key]) for key in ("black_box", "data", "seed")}
            name = f"{number:02}-{re.sub(r'[^A-Za-z0-9.-]+', '_', method).strip('_')}"
            writer.add_hparams(settings, scores, run_name=name)
