"""A training step of FEX with ViT-B on many GPUs, by arithmetic: docs/results/scale-parts.json -> scale-vit-b.json.

The parts, each with where it comes from, are typed; the table is not. Of one step of b images a GPU, K masks, G GPUs:

    decode    = b decode / cores              in loader processes, beside the step
    box       = b (K + 1) forward             each masked input, and the whole one
    explainer = 3 b forward                   a forward, and a backward of twice its cost
    network   = 2 (G - 1) / G weights 4 bytes / link, at the slowest link in use, beside the backward pass
    step      = max(decode, box + explainer + noise, network)
    epoch     = images / (b G) step

    python docs/make_scale.py            # writes the table; then docs/make_results.py fills the page
    python docs/make_scale.py --check
"""

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
GPUS = (1, 8, 64, 512)
NODE = 8  # GPUs


def row(parts: dict[str, float], gpus: int) -> list[Any]:
    """GPUs, milliseconds of each part of a step, the step, what bounds it, minutes of an epoch."""
    batch = parts["batch"]
    decode = batch * parts["decode"] / parts["cores"]
    box = batch * (parts["masks"] + 1) * parts["forward"] / 1000
    explainer = 3 * batch * parts["forward"] / 1000
    link = parts["link in a node"] if gpus <= NODE else parts["link between nodes"]
    network = 2 * (gpus - 1) / gpus * parts["weights"] * 4 / link  # 10^6 bytes by 10^9 bytes a second: milliseconds
    passes = box + explainer + parts["noise"]
    step = max(decode, passes, network)
    bound = "network" if step == network else "decode" if step == decode else "box" if box >= explainer else "explainer"
    minutes = parts["images"] / (batch * gpus) * step / 60_000
    return [f"{gpus}", decode, box, explainer, network, step, bound, minutes]


def table(named: dict[str, Any]) -> dict[str, Any]:
    """The table as docs/make_results.py reads it, from the file of the parts."""
    parts = {name: value["value"] for name, value, *_ in named["rows"]}
    return {
        "title": "FEX with ViT-B on many GPUs, by arithmetic",
        "command": "python docs/make_scale.py",
        "commit": None,
        "machine": None,
        "origin": "computed from docs/results/scale-parts.json",
        "columns": [
            "GPUs",
            *({"name": f"{name}, ms a step", "decimals": 1} for name in ("decode", "box", "explainer", "network")),
            {"name": "step, ms", "decimals": 1}, "bound", {"name": "epoch of ImageNet, minutes", "decimals": 1},
        ],
        "rows": [row(parts, gpus) for gpus in GPUS],
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Writes the table, or with --check says whether it is the one that the parts give."""
    found = table(json.loads((RESULTS / "scale-parts.json").read_text(encoding="utf-8")))
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    path = RESULTS / "scale-vit-b.json"
    if "--check" in (sys.argv[1:] if argv is None else argv):
        return int(not path.is_file() or path.read_text(encoding="utf-8") != text)
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
