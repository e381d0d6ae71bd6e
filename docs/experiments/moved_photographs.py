"""What holds of a map when its photograph is mirrored or moved by three pixels: one pass against 100 queries, ViT-Tiny.

    python docs/experiments/moved_photographs.py PHOTOGRAPHS vit_tiny_patch16_224.safetensors --explainers fex_vit_tiny

A map of the photograph as it is (for the mirrored one, that map mirrored) orders the patches of the moved photograph,
which the box sees. What a map says of the object holds there too; what holds of these very pixels alone does not.
Protocol `fex`, agreement; photographs whose first class stays the same.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import fex
from fex.baselines import LIME, RISE, Random
from fex.black_box import TimmBlackBox
from fex.explainers import load_start
from fex.images import PatchGrid, as_inputs, walk_images
from fex.masking import masker_for
from fex.metrics.functional import mean_auc, perturbation_curve
from fex.metrics.protocols import get_protocol
from fex.nets import logits_in_contexts
from fex.policy import Correlated

MODEL, GRID, MOVED, COPIES = "vit_tiny_patch16_224", PatchGrid(14, 14), 3, 16


def over_copies(name: str, weights: str, inputs: Tensor, target: Tensor, masker: fex.masking.Masker) -> Tensor:
    """Maps (B, N) of an explainer's start, averaged over masked copies."""
    net, maps = load_start(name, backbone=weights).net, []
    for number, (x, y) in enumerate(zip(inputs.split(1), target.split(1), strict=True)):
        noise, _ = Correlated((0.0, 0.7, 1.2, 2.0))((1, COPIES, 196), torch.Generator().manual_seed(number), GRID.grid)
        with torch.inference_mode():
            maps.append(logits_in_contexts(net, masker, x, y[:, None], (noise < 0.5).float())[:, 0])
    return torch.cat(maps)


def told(values: Tensor) -> dict[str, float]:
    """Mean, and half its 95 % interval."""
    half = 1.96 * float(values.std()) / len(values) ** 0.5
    return {"value": round(float(values.mean()), 3), "half_width": round(half, 3)}


def main() -> None:
    """Prints, and writes as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("weights")
    parser.add_argument(
        "--explainers", nargs="*", default=["fex_vit_tiny"], help="names or paths; the first has the start"
    )
    parser.add_argument("--test", type=int, default=100, help="photographs, every k-th of the folder")
    parser.add_argument("--compile", default=None)
    parser.add_argument("--output", type=Path, default=Path("moved_photographs.json"))
    given = parser.parse_args()
    box = TimmBlackBox(MODEL, weights=given.weights, chunk=18, compile=given.compile or False)
    masker, protocol = masker_for(box, GRID, None), get_protocol("fex")
    names = list(walk_images(given.photographs))
    names = names[:: max(1, len(names) // given.test)][: given.test]
    inputs = as_inputs([given.photographs / name for name in names], box.preprocess)[0]
    views = {
        "as it is": (inputs, lambda maps: maps),
        "mirrored": (inputs.flip(-1), lambda maps: maps.unflatten(1, GRID.grid).flip(-1).flatten(1)),
        f"moved by {MOVED} pixels": (inputs.roll((MOVED, MOVED), (2, 3)), lambda maps: maps),
    }
    classes = {name: torch.cat([box(part) for part in view.split(18)]).argmax(1) for name, (view, _) in views.items()}
    target = classes["as it is"]
    same = torch.stack([found == target for found in classes.values()]).all(0)
    print(f"{int(same.sum())} of {len(same)} photographs keep their class")
    methods = {"Random": (0, Random(GRID)), "RISE (100 hard masks)": (100, RISE(box, GRID, num_masks=100)),
               "LIME (100 masks)": (100, LIME(box, GRID, num_masks=100)),
               "Start": (0, load_start(given.explainers[0], backbone=given.weights))}  # fmt: skip
    methods |= {Path(name).stem: (0, fex.load_explainer(name, given.weights)) for name in given.explainers}
    parts = list(zip(inputs.split(10), target.split(10), strict=True))
    maps = {name: (queries, torch.cat([method.attribute_features(x, y) for x, y in parts]))
            for name, (queries, method) in methods.items()}  # fmt: skip
    maps[f"Start, mean over {COPIES} masked copies"] = (
        0,
        over_copies(given.explainers[0], given.weights, inputs, target, masker),
    )
    rows = []
    for name, (queries, scores) in maps.items():
        row: list[object] = [name, queries]
        for view, move in views.values():
            for order in ("most_important_first", "least_important_first"):
                curves = perturbation_curve(
                    box, masker, view[same], move(scores)[same], fractions=protocol.fractions, order=order,
                    target=target[same],
                )  # fmt: skip
                row.append(told(mean_auc(curves)))
        rows.append(row)
        print(row, flush=True)
    columns = ["map", {"name": "queries", "decimals": 0}]
    columns += [f"{name}: {which} AUC" for name in views for which in ("positive", "negative")]
    found = {"title": "Moved photographs", "n": int(same.sum()), "columns": columns, "rows": rows}
    given.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
