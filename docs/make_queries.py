"""Draws faithfulness against queries an input, from a benchmark's report that `make_results.py keep` has copied here.

python docs/make_queries.py                  # docs/pictures/queries-NAME.svg for each results/queries-NAME.json
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
ONE_PASS = 10  # where no query stands on the logarithmic axis
FAMILIES = ("FEX", "GradCAM", "RISE", "LIME", "KernelSHAP", "PartitionSHAP", "ProxySPEX", "Random")
METRICS = {"positive_auc": "positive AUC (lower is better)", "negative_auc": "negative AUC (higher is better)"}


def digest(rows: list[dict[str, Any]]) -> str:
    """SHA-256 of what is drawn; it stands in the picture, so that a test can tell an old one."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def family(method: str) -> str:
    """What a method is but for its number of queries: "FEX + 32" and "FEX" are FEX."""
    return re.split(r" \+ \d| \(", method)[0]


def draw(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """One metric: a line a family, with 95 % intervals; methods without queries stand at the left."""
    for place, name in enumerate(FAMILIES):
        points = sorted((row for row in rows if family(row["method"]) == name), key=lambda row: row["queries"])
        axes.errorbar(
            [max(row["queries"], ONE_PASS) * 1.02**place for row in points],  # side by side
            [row["value"] for row in points],
            yerr=[[abs(row["value"] - row["ci95"][side]) for row in points] for side in (0, 1)],
            label=name if points else None, color=f"C{place}", marker="o", markersize=4, linewidth=1.5, capsize=2,
        )  # fmt: skip
    axes.set_xscale("log")
    ticks = sorted({max(row["queries"], ONE_PASS) for row in rows})
    axes.set_xticks(ticks, ["one pass" if tick == ONE_PASS else f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("queries an input")
    axes.grid(alpha=0.3)


def main() -> int:
    """Draws them all."""
    plt.rcParams["svg.hashsalt"] = "fex"
    for path in sorted((HERE / "results").glob("queries-*.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        figure, both = plt.subplots(1, len(METRICS), figsize=(10, 4), layout="constrained")
        for axes, (metric, title) in zip(both, METRICS.items(), strict=True):
            draw(axes, [row for row in rows if row["metric"] == metric])
            axes.set_title(title)
        both[0].legend(fontsize=8)
        told = {"Date": None, "Description": digest(rows)}
        figure.savefig(HERE / "pictures" / f"{path.stem}.svg", metadata=told)
        plt.close(figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
