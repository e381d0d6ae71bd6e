"""The files of a benchmark's report, in place of those of an earlier one."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from fex.benchmark.evaluation import Evaluation
from fex.benchmark.report.hparams import write_hparams
from fex.benchmark.report.lines import failures
from fex.benchmark.report.markdown import markdown_report
from fex.benchmark.report.page import write_benchmark_page
from fex.benchmark.report.picture_grid import write_picture_grid
from fex.black_box import BlackBox
from fex.cli.bench.first_inputs import explained_texts, first_inputs
from fex.report.curves import curve_file, draw_curves
from fex.report.tables import print_table
from fex.storage.atomic import replacing

__all__ = ["write_report"]


def write_report(
    output: Path,
    report: dict[str, Any],
    config: Namespace,
    data: Any,
    evaluations: Sequence[Evaluation],
    black_box: BlackBox,
) -> None:
    """Writes report.json, report.md, report.html, curves, pictures.png and TensorBoard's hparams; prints the table.

    Args:
        output: the folder.
        report: plain data.
        config: of `fex-bench run`.
        data: its datamodule.
        evaluations: whose maps are shown.
        black_box: what is explained.

    Raises:
        ValueError: no method could be scored; the report is written all the same, but not in place of one with scores.
    """
    before = _earlier(output)
    if _scored(before) and not _scored(report):
        raise ValueError(f"{_nothing(report)} The earlier report in {output} is left as it is.")
    if before is not None:
        _replace(output, before, report)
    with replacing(output / "report.json") as part:
        part.write_text(json.dumps(report, indent=1, allow_nan=False))
    with replacing(output / "report.md") as part:
        part.write_text(markdown_report(report), encoding="utf-8")
    draw_curves({each.method: each.scores for each in evaluations}, output)
    first = first_inputs(data, config.limit)
    mapped = [e for e in evaluations if e.maps is not None and len(e.maps) >= len(first)]
    images = [each.inputs for each in first if each.is_picture]
    shown = {e.method: e.maps[: len(images)].numpy() for e in mapped if e.maps is not None}
    write_benchmark_page(
        output / "report.html",
        report,
        images=images,
        titles=[each.title for each in first if each.is_picture],
        maps=shown if images else {},
        texts=explained_texts(first, mapped, black_box, data._preprocess),
    )
    if images and shown:
        write_picture_grid(output / "pictures.png", images, shown)
    write_hparams(output / "tensorboard", report)

    scored = [
        row for row in report["rows"] if row["metric"] is None or config.show is None or row["metric"] in config.show
    ]
    if scored:
        print_table(scored, title=f"{report['black_box']}, seed {report['seed']}")
    for warning in report["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    for name, why in failures(report):
        print(f"without scores: {name}: {why}", file=sys.stderr)
    print(f"report: {output / 'report.html'} (.json and .md beside it; tensorboard --logdir {output / 'tensorboard'})")
    if not _scored(report):
        raise ValueError(_nothing(report))


def _nothing(report: Mapping[str, Any]) -> str:
    reasons = "; ".join(f"{name}: {why}" for name, why in failures(report)) or "no metric had an instance"
    return f"No method could be scored ({reasons})."


def _earlier(output: Path) -> dict[str, Any] | None:
    """An earlier report of the folder, where there is one that can be read."""
    try:
        found = json.loads((output / "report.json").read_text())
        _ = found["rows"], found["curves"], found["black_box"], found["data"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _scored(report: Mapping[str, Any] | None) -> bool:
    return report is not None and any(row["value"] is not None for row in report["rows"])


def _replace(output: Path, before: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """Tells what of an earlier report the new one has not, and takes away its pictures."""
    for name in ("pictures.png", *(curve_file(each["protocol"], each["curve"]) for each in before["curves"])):
        (output / name).unlink(missing_ok=True)
    if missing := _missing(before, report):
        print(
            f"The report in {output}, which had {'; '.join(missing)}, is replaced: results are kept, a run that asks "
            "for these too has them again.",
            file=sys.stderr,
        )


def _missing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What an earlier report of a folder has and a new one has not."""
    found = []
    for what in ("method", "protocol"):
        kept = {row[what] for row in now["rows"]}
        gone = dict.fromkeys(row[what] for row in before["rows"] if row[what] not in kept and row[what] is not None)
        if gone:
            found.append(f"{what}{'s' * (len(gone) > 1)} {', '.join(gone)}")
    most = [max((row["n"] for row in report["rows"]), default=0) for report in (before, now)]
    if most[0] > most[1]:
        found.append(f"{most[0]:,} instances (now {most[1]:,})")
    found += [
        f"the {what.replace('_', ' ')} {before[what]}" for what in ("black_box", "data") if before[what] != now[what]
    ]
    return found
