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
from fex.explainers import AmortizedExplainer, load_start
from fex.images import PatchGrid, as_inputs, walk_images
from fex.masking import Masker, masker_for
from fex.metrics.functional import mean_auc, perturbation_curve
from fex.metrics.protocols import get_protocol
from fex.policy import Correlated

MODEL, GRID, MOVED, COPIES = "vit_tiny_patch16_224", PatchGrid(14, 14), 3, 16


@torch.inference_mode()
def over_copies(start: AmortizedExplainer, inputs: Tensor, target: Tensor, masker: Masker) -> Tensor:
    """Maps (B, N): each feature's logit, mean over the masked copies that keep it."""
    maps = []
    for number, (x, y) in enumerate(zip(inputs.split(1), target.split(1), strict=True)):
        noise, _ = Correlated((0.0, 0.7, 1.2, 2.0))((1, COPIES, 196), torch.Generator().manual_seed(number), GRID.grid)
        masks = (noise < 0.5).float()
        logits = start.net.target_scores(start.net.encode(masker(x, masks)), y.expand(COPIES))  # type: ignore[union-attr]
        maps.append((logits * masks[0]).sum(0) / masks[0].sum(0).clamp_min(1))
    return torch.stack(maps)


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
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--still", action="store_true", help="only the start and the explainers, nothing moved")
    parser.add_argument("--output", type=Path, default=Path("moved_photographs.json"))
    given = parser.parse_args()
    box = TimmBlackBox(
        MODEL, weights=given.weights, chunk=18, compile=given.compile or False, precision=given.precision
    )
    masker, protocol = masker_for(box, GRID, None), get_protocol("fex")
    names = list(walk_images(given.photographs))
    names = names[:: max(1, len(names) // given.test)][: given.test]
    inputs = as_inputs([given.photographs / name for name in names], box.preprocess)[0]
    views = {
        "as it is": (inputs, lambda maps: maps),
        "mirrored": (inputs.flip(-1), lambda maps: maps.unflatten(1, GRID.grid).flip(-1).flatten(1)),
        f"moved by {MOVED} pixels": (inputs.roll((MOVED, MOVED), (2, 3)), lambda maps: maps),
    }
    if given.still:
        views = {"as it is": views["as it is"]}
    classes = {name: torch.cat([box(part) for part in view.split(18)]).argmax(1) for name, (view, _) in views.items()}
    target = classes["as it is"]
    same = torch.stack([found == target for found in classes.values()]).all(0)
    print(f"{int(same.sum())} of {len(same)} photographs keep their class")
    parts = list(zip(inputs.split(10), target.split(10), strict=True))

    def auc(view: Tensor, scores: Tensor) -> list[Tensor]:
        return [
            mean_auc(perturbation_curve(box, masker, view[same], scores[same], fractions=protocol.fractions,
                                        order=order, target=target[same]))
            for order in ("most_important_first", "least_important_first")
        ]  # fmt: skip

    start = load_start(given.explainers[0], backbone=_backbone(given.explainers[0], given.weights))
    known = {name: fex.load_explainer(name, _backbone(name, given.weights)) for name in given.explainers}
    methods = {"Random": (0, Random(GRID)), "RISE (100 hard masks)": (100, RISE(box, GRID, num_masks=100)),
               "LIME (100 masks)": (100, LIME(box, GRID, num_masks=100))}  # fmt: skip
    methods = {} if given.still else methods
    methods |= {"Start": (0, start), **{_title(name): (0, each) for name, each in known.items()}}
    maps = {name: (queries, torch.cat([method.attribute_features(x, y) for x, y in parts]))
            for name, (queries, method) in methods.items()}  # fmt: skip
    if not given.still:
        averaged = over_copies(start, inputs, target, masker)
        maps[f"Start, mean over {COPIES} masked copies"] = (0, averaged)
    rows: list[list[object]] = []
    first: list[Tensor] = []
    for name, (queries, scores) in maps.items():
        found = [values for view, move in views.values() for values in auc(view, move(scores))]
        row: list[object] = [name, queries, *map(told, found)]
        if given.still:
            first = first or found
            own = torch.cat([methods[name][1].explain_classes(x)[2].argmax(1) for x, _ in parts])
            asked = (methods[name][1].meta.get("training") or {}).get("queries", 0)
            row = [name, asked, *map(told, found), *(told(a - b) for a, b in zip(found, first, strict=True))]
            row.append(round(float((own == target).float().mean()), 3))
        rows.append(row)
        print(row, flush=True)
    columns: list[object] = ["map", {"name": "queries of training" if given.still else "queries", "decimals": 0}]
    if given.still:
        columns += ["positive AUC", "negative AUC", "positive, less the start's", "negative, less the start's"]
        columns.append("own class = the box's")
    else:
        columns += [f"{name}: {which} AUC" for name in views for which in ("positive", "negative")]
    title = "What training adds" if given.still else "Moved photographs"
    result = {"title": title, "n": int(same.sum()), "columns": columns, "rows": rows}
    given.output.write_text(json.dumps(result, indent=1))


def _backbone(name: str, weights: str) -> str | None:
    """A run's checkpoint holds all its weights, the shipped file leaves the backbone out."""
    return None if Path(name).exists() else weights


def _title(name: str) -> str:
    return Path(name).name if Path(name).suffix == "" else Path(name).parents[1].name


if __name__ == "__main__":
    main()
