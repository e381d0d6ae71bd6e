"""How far Shapley values of few queries are off, without and with a trained explainer's map as their prior; CIFAR-10.

    python docs/experiments/shapley_with_a_prior.py data/cifar10 --compile openvino \
        --output docs/results/shapley-prior.json

The truth is KernelSHAP with 3,000 masks of another seed. All methods get the same masks, so the same answers.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import fex
from datamodules import CIFAR10
from fex.baselines import KernelSHAP
from fex.black_box import CachedBlackBox, TimmBlackBox

BUDGETS, SEEDS, TRUTH = (50, 100, 200, 400), (1, 2), 3000


def interval(ratios: Tensor) -> dict[str, float]:
    """The ratio of sums over images (n, 2), and its 95 % interval over images."""
    drawn = torch.randint(len(ratios), (1000, len(ratios)), generator=torch.Generator().manual_seed(0))
    spread = ratios[drawn].sum(1)
    low, high = (spread[:, 0] / spread[:, 1]).quantile(torch.tensor([0.025, 0.975])).tolist()
    value = float(ratios[:, 0].sum() / ratios[:, 1].sum())
    return {"value": round(value, 3), "low": round(low, 3), "high": round(high, 3)}


def main() -> None:
    """Asks, compares, and writes as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--compile", default=None)
    parser.add_argument("--output", type=Path, default=Path("shapley-prior.json"))
    given = parser.parse_args()
    box = CachedBlackBox(TimmBlackBox(weights="vit_cifar10", chunk=128, compile=given.compile or False))
    explainer = fex.load_explainer("fex_vit_cifar10")
    data = CIFAR10(given.data, batch_size=given.images, preprocess=box.preprocess)
    data.setup("test")
    inputs = next(iter(data.test_dataloader()))["inputs"]
    classes, features = box(inputs).argmax(1), explainer.features

    def values(**settings: object) -> Tensor:
        return KernelSHAP(box, features, **settings).attribute_features(inputs, classes)  # type: ignore[arg-type]

    truth = values(num_masks=TRUTH, seed=0)
    rows = []
    for budget in BUDGETS:
        misses: dict[str, Tensor] = {}
        for name, settings in (("plain", {}), ("ridge", {"ridge": 1.0}), ("prior", {"ridge": 1.0, "prior": explainer})):
            found = [values(num_masks=budget, seed=seed, **settings) for seed in SEEDS]
            misses[name] = torch.stack([(each - truth).square().sum(1) for each in found]).mean(0)
        error = {name: round(float(each.mean().sqrt()), 4) for name, each in misses.items()}
        shares = [interval(torch.stack([misses["prior"], misses[name]], 1)) for name in ("plain", "ridge")]
        rows.append([str(budget), *error.values(), *shares])
        print(rows[-1], flush=True)
    columns = [
        "queries", {"name": "plain: root of the squared error"}, {"name": "ridge 1"}, {"name": "ridge 1, FEX as prior"},
        {"name": "squared error, prior ÷ plain", "decimals": 2}, {"name": "prior ÷ ridge", "decimals": 2},
    ]  # fmt: skip
    told = {"title": "Shapley values with a prior", "n": len(inputs), "columns": columns, "rows": rows}
    given.output.write_text(json.dumps(told, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
