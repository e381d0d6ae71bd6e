"""What a start knows of masked scores, and what a linear head learns of more from queries: ViT-Tiny, photographs.

    python docs/experiments/what_queries_teach.py PHOTOGRAPHS vit_tiny_patch16_224.safetensors --output result.json

Photographs are dealt out by their order of names. "Fidelity" is the correlation, within a photograph and with a cubic
of the kept share taken out of both, between predicted and measured scores of masks (the first class's probability, mean
fill, 14 x 14 patches, random budgets, neighbours together). The head is a ridge regression of the scores on tokens,
beside the start, which is not penalised; the best of seven penalties on the test photographs is told, which favours it.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from fex.black_box import TimmBlackBox
from fex.images import PatchGrid, as_inputs, walk_images
from fex.masking import masker_for
from fex.nets import ExplainerNet, ViTEncoder
from fex.policy import Correlated, ReferenceBudget

MODEL, GRID = "vit_tiny_patch16_224", PatchGrid(14, 14)
STARTS = {
    "the classifier at each token alone": 0,
    "attention of the last block": 1,
    "attention of the last 4 blocks": 4,
}
NOISE, BUDGET = Correlated((0.0, 0.7, 1.2, 2.0)), ReferenceBudget(-3.0, 3.0)


def without_share(values: Tensor, kept: Tensor) -> Tensor:
    """Values (B, K, ...) less their fit by a cubic of the kept share (B, K), within each photograph."""
    basis = torch.linalg.qr(torch.stack([kept.double() ** degree for degree in range(4)], -1))[0]
    flat = values.double().flatten(2) if values.ndim > 2 else values.double().unsqueeze(-1)
    return (flat - basis @ (basis.mT @ flat)).view(values.shape)


def fidelity(maps: Tensor, masks: Tensor, scores: Tensor) -> Tensor:
    """Maps (B, N), masks (B, K, N), scores (B, K) -> (B,)."""
    kept = masks.mean(-1)
    told, found = (without_share(v, kept) for v in (torch.einsum("bkn,bn->bk", masks, maps), scores))
    return (told * found).sum(1) / (told.norm(dim=1) * found.norm(dim=1)).clamp_min(1e-9)


def ask(box: TimmBlackBox, inputs: Tensor, masks_each: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (B, K, N), scores (B, K) and the explained classes (B,)."""
    masker, found = masker_for(box, GRID, None), []
    for number, x in enumerate(inputs.split(1)):
        noise, budget = NOISE((1, masks_each, 196), torch.Generator().manual_seed(seed + number), (14, 14))
        masks = (noise < BUDGET.reference(budget).sigmoid()).float()
        answers = box(torch.cat([x, masker(x, masks)]))
        found.append((masks[0], answers[1:, answers[0].argmax()], answers[0].argmax()))
    return tuple(map(torch.stack, zip(*found, strict=True)))  # type: ignore[return-value]


@torch.no_grad()
def starts(weights: str, inputs: Tensor, target: Tensor, layers: int, *, against: bool) -> tuple[Tensor, Tensor]:
    """Maps (B, N) before any training, and the tokens (B, N, D)."""
    encoder = ViTEncoder(MODEL, weights=weights, class_head=True, frozen=True, direct_layers=layers)
    encoder.contrasts = against
    net = ExplainerNet(encoder).build(1000, GRID).eval()
    parts = [
        (net.target_scores(net.encode(x), y), encoder(x, GRID.grid).tokens)
        for x, y in zip(inputs.split(16), target.split(16), strict=True)
    ]
    return tuple(map(torch.cat, zip(*parts, strict=True)))  # type: ignore[return-value]


def told(values: Tensor) -> dict[str, float]:
    """Mean, and half its 95 % interval."""
    half = 1.96 * float(values.std()) / len(values) ** 0.5
    return {"value": round(float(values.mean()), 3), "half_width": round(half, 3)}


def main() -> None:
    """Prints, and writes as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photographs", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--compile", default=None)
    parser.add_argument("--output", type=Path, default=Path("what_queries_teach.json"))
    given = parser.parse_args()
    box = TimmBlackBox(MODEL, weights=given.weights, chunk=9, compile=given.compile or False)
    names = list(walk_images(given.photographs))[: given.test + given.train]
    inputs = as_inputs([given.photographs / name for name in names], box.preprocess)[0]
    test, train = inputs[: given.test], inputs[given.test :]
    masks, scores, target = ask(box, test, 32, 0)
    rows = []
    for name, layers in STARTS.items():
        for against in (False, True):
            maps, tokens = starts(given.weights, test, target, layers, against=against)
            label = f"{name}, against the other classes" if against else name
            rows.append([label, 0, told(fidelity(maps, masks, scores))])
            print(rows[-1], flush=True)
    many, answers, classes = ask(box, train, 8, 10_000)
    start, train_tokens = starts(given.weights, train, classes, 4, against=True)
    kept = many.mean(-1)
    read = torch.cat([start.unsqueeze(-1), train_tokens - train_tokens.mean(1, keepdim=True)], -1)
    x = without_share(torch.einsum("bkn,bnd->bkd", many, read), kept)
    y = without_share(answers, kept)
    own = torch.cat([maps.unsqueeze(-1), tokens - tokens.mean(1, keepdim=True)], -1).double()
    for count in (len(train) // 4, len(train) // 2, len(train)):
        a, b = x[:count].flatten(0, 1), y[:count].flatten()
        scale = a.std(0).clamp_min(1e-9)
        fits = [own @ _ridge(a / scale, b, penalty).div(scale) for penalty in PENALTIES]
        best = max((fidelity(fit.float(), masks, scores) for fit in fits), key=lambda found: float(found.mean()))
        rows.append(["the last of these, and a linear head", count * 9, told(best)])
        print(rows[-1], flush=True)
    columns = ["map", {"name": "queries of training", "decimals": 0}, "fidelity"]
    found = {"title": "What queries teach", "n": given.test, "columns": columns, "rows": rows}
    given.output.write_text(json.dumps(found, indent=1))


PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def _ridge(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """Weights (D,), the first of them free."""
    weight = torch.full((x.shape[1],), penalty, dtype=x.dtype)
    weight[0] = 1e-6
    return torch.linalg.solve(x.mT @ x / len(x) + weight.diag(), x.mT @ y / len(x))


if __name__ == "__main__":
    main()
