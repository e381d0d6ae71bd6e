"""What can be foreseen of an explanation at no query: the size of its misses, and hardly its fidelity; CIFAR-10.

    python docs/experiments/what_is_foreseen.py data/cifar10 --compile openvino --output docs/results/foresight.json

Each test image's map is measured by queries. Every tenth of the images is then foreseen by what the other nine taught,
with `fex.refine.Foresight`, its penalty chosen among these nine alone.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import fex
from datamodules import CIFAR10
from fex.black_box import TimmBlackBox
from fex.metrics.functional.correlation import class_correlation
from fex.refine import Experience, Foresight
from fex.refine.foresight import SMALL, signs, worst_tenth

FOLDS = 10


def foreseen(known: Tensor, misses: Tensor) -> Tensor:
    """Each input (n,), by what other folds taught."""
    told, order = torch.zeros(len(misses)), torch.randperm(len(misses), generator=torch.Generator().manual_seed(0))
    for fold in range(FOLDS):
        test = torch.zeros(len(misses), dtype=torch.bool)
        test[order[fold::FOLDS]] = True
        told[test] = Foresight.learnt(known[~test], misses[~test])(known[test])
    return told


def auroc(told: Tensor, found: Tensor) -> dict[str, float]:
    """Of finding the worst tenth, with its 95 % interval over inputs."""
    drawn = torch.randint(len(found), (1000, len(found)), generator=torch.Generator().manual_seed(0))
    spread = torch.tensor([worst_tenth(told[rows], found[rows]) for rows in drawn]).quantile(
        torch.tensor([0.025, 0.975])
    )
    numbers = {"value": worst_tenth(told, found), "low": float(spread[0]), "high": float(spread[1]), "decimals": 2}
    return {key: round(value, 3) for key, value in numbers.items()}


def figures(known: Tensor, misses: Tensor) -> dict[str, object]:
    """How well each part of the signs foresees, and how much of all squared misses the chosen tenth holds."""
    missed, relative = misses[:, 0], misses[:, 0] / misses[:, 1].clamp_min(1e-8)  # one minus the fidelity
    told, count = foreseen(known, missed), len(misses) // 10

    def share(by: Tensor) -> dict[str, object]:
        part = float(missed[by.argsort(descending=True)[:count]].sum() / missed.sum())
        return {"value": round(100 * part), "decimals": 0, "unit": "%"}

    return {
        "auroc": auroc(told, missed),
        "auroc-small": auroc(foreseen(known[:, :SMALL], missed), missed),
        "auroc-pooled": auroc(foreseen(known[:, SMALL:], missed), missed),
        "auroc-fidelity": auroc(foreseen(known, relative), relative),
        "rank": {"value": round(float(class_correlation(told[None], missed[None].float())), 3), "decimals": 2},
        "share": share(told),
        "share-at-best": share(missed),
    }


def result(known: Tensor, misses: Tensor) -> dict[str, object]:
    """Figures, and a table of misses foreseen and measured, by tenths of the images."""
    told, rows = foreseen(known, misses[:, 0]), []
    for number, tenth in enumerate(told.argsort().tensor_split(10), 1):
        means = [float(values[tenth].mean().sqrt()) for values in (told.square(), misses[:, 0])]
        rows.append([str(number), *(round(mean, 4) for mean in means)])
    columns = ["tenth of the images", "miss foreseen", "miss measured"]
    return {
        "title": "Misses foreseen and measured",
        "n": len(misses),
        "columns": columns,
        "rows": rows,
        "figures": figures(known, misses),
    }


def main() -> None:
    """Asks, foresees, and writes as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--queries", type=int, default=32)
    parser.add_argument("--compile", default=None)
    parser.add_argument("--output", type=Path, default=Path("foresight.json"))
    given = parser.parse_args()
    box = TimmBlackBox(weights="vit_cifar10", chunk=128, compile=given.compile or False)
    explainer = fex.load_explainer("fex_vit_cifar10")
    data = CIFAR10(given.data, batch_size=40, preprocess=box.preprocess)
    data.setup("test")
    experience = Experience(fex.Refined(explainer, box, queries=given.queries))
    for batch in data.test_dataloader():
        if len(experience.misses) >= given.images:
            break
        maps, classes, _ = explainer.explain_batch(batch["inputs"])
        experience.add(batch["inputs"], classes, maps, signs(explainer.net, batch["inputs"], classes))
        print(len(experience.misses), flush=True)
    assert experience.signs is not None
    found = result(experience.signs, experience.misses)
    print(json.dumps(found["figures"], indent=1))
    given.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
