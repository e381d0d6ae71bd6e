"""Trust as plain data of checkpoints, and what it is learnt from."""

import json
import math

import pytest
import torch

from fex.images import Black, PatchGrid
from fex.refine import Experience, Refined, Trust
from tests.refine.test_refined import EFFECTS, Fixed
from tests.toys import LinearBox, white

GRID = PatchGrid(3, 3)


def experience(values, count=6):
    found = Experience(Refined(Fixed(values), LinearBox(GRID, EFFECTS, size=9), Black(), queries=16))
    inputs = white(count, 9) * torch.linspace(0.8, 1, count).view(-1, 1, 1, 1)
    found.add(inputs, torch.ones(count, dtype=torch.int64), values.expand(count, -1))
    return found


def test_it_survives_json():
    weights = torch.rand(Trust().shape, dtype=torch.float64)
    trust = Trust(weights=weights / weights.sum())
    again = Trust.of(json.loads(json.dumps(trust.to_dict())))
    torch.testing.assert_close(again.log_weights(), trust.log_weights(), rtol=0, atol=1e-3)
    assert Trust.of(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"shares": [1.0]}, {"shares": "a"}, {"alphas": [0.1]}, {"sigmas": [0.0]}, {"rhos": [math.inf, 0.0]},
        {"lengths": [0.0] * 1000}, {"alphas": None},
    ],
)  # fmt: skip
def test_damaged_data_is_refused(change):
    with pytest.raises(ValueError, match="damaged"):
        Trust.of({**Trust().to_dict(), **change})
    with pytest.raises(ValueError, match="damaged"):
        Trust.of(3)


def test_a_good_map_is_trusted_and_a_random_one_is_not():
    good, bad = experience(EFFECTS), experience(torch.tensor([0.0, 1, 0, 1, 0, 1, 1, 0, 1]))
    alpha = Trust().alphas.index(0.0)
    assert float(good.trust().weights[..., alpha].sum()) < float(bad.trust().weights[..., alpha].sum())
    told = good.fidelity()
    assert told["value"] > 0.9
    assert told["low"] <= told["value"] <= told["high"]
    assert (told["inputs"], told["queries"]) == (6, 16)
    assert bad.fidelity()["value"] < 0.7
    assert Experience(bad.refined).fidelity() is None  # nothing was asked
