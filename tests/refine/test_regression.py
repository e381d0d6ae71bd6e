"""The posterior against brute force, known boxes, and its invariants."""

from itertools import product

import pytest
import torch

from fex.refine.regression import posterior, similarity, standardised
from fex.refine.trust import Trust

SMALL = Trust(alphas=(0.0, 0.1), rhos=(0.0, 0.2), lengths=(0.0, 1.0), sigmas=(0.05, 0.1))


def drawn(batch=2, count=12, features=9):
    masks = torch.rand(batch, count, features).round()
    return masks.double(), torch.rand(batch, count).double(), torch.randn(batch, features)


def by_hand(masks, scores, prior, trust, grid):
    """Evidence, mean, variance and leave-one-out predictions of every combination, from the formulas of the text."""
    count = masks.shape[1]
    kept = masks.mean(1, keepdim=True)
    design, basis = masks - kept, torch.cat([(2 * kept - 1) ** degree for degree in range(4)], 1)
    unit, centre = (0.2 * count) ** -0.5, torch.eye(count, dtype=torch.float64) - 1 / count
    own = standardised(prior[None])[0] * unit
    for length, rho, sigma, alpha in product(trust.lengths, trust.rhos, trust.sigmas, trust.alphas):
        effects = rho**2 * centre @ similarity(count, grid, length) @ centre * unit**2
        noise = basis @ basis.T + sigma**2 * torch.eye(len(masks), dtype=torch.float64)
        covariance = design @ effects @ design.T + noise
        inverse, rest = torch.linalg.inv(covariance), scores - alpha * design @ own
        gain = effects @ design.T @ inverse
        left_out = []
        for row in range(len(masks)):
            others = [other for other in range(len(masks)) if other != row]
            part = torch.linalg.inv(covariance[others][:, others]) @ rest[others]
            left_out.append(alpha * (design @ own)[row] + covariance[row, others] @ part)
        yield (
            -0.5 * (rest @ inverse @ rest + torch.logdet(covariance)),
            alpha * own + gain @ rest,
            (effects - gain @ design @ effects).diagonal(),
            torch.stack(left_out),
        )


def test_equals_brute_force():
    masks, scores, prior = drawn()
    found = posterior(masks, scores, prior, SMALL, (3, 3))
    for row in range(2):
        evidence, means, variances, left_out = (
            torch.stack(values)
            for values in zip(*by_hand(masks[row], scores[row], prior[row], SMALL, (3, 3)), strict=True)
        )
        torch.testing.assert_close(found.evidence[row].flatten(), evidence, rtol=0, atol=1e-4)
        weight = evidence.softmax(0)
        mean = weight @ means
        torch.testing.assert_close(found.mean[row], mean, rtol=0, atol=1e-6)
        std = (weight @ (variances + means.square()) - mean.square()).sqrt()
        torch.testing.assert_close(found.std[row], std, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.predicted[row], weight @ left_out, rtol=0, atol=1e-6)


def test_batch_equals_one_by_one():
    masks, scores, prior = drawn(batch=3)
    together = posterior(masks, scores, prior, SMALL)
    for row in range(3):
        alone = posterior(masks[row : row + 1], scores[row : row + 1], prior[row : row + 1], SMALL)
        torch.testing.assert_close(together.mean[row], alone.mean[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(together.std[row], alone.std[0], rtol=0, atol=1e-9)


def test_relabelled_features_and_reordered_masks():
    masks, scores, prior = drawn()
    features, order = torch.randperm(9), torch.randperm(12)
    trust = Trust(lengths=(0.0,))  # with neighbours, a relabelling is another model
    plain = posterior(masks, scores, prior, trust)
    other = posterior(masks[:, order][:, :, features], scores[:, order], prior[:, features], trust)
    torch.testing.assert_close(other.mean, plain.mean[:, features], rtol=0, atol=1e-7)
    torch.testing.assert_close(other.predicted, plain.predicted[:, order], rtol=0, atol=1e-7)


def test_unit_of_the_map_does_not_matter():
    masks, scores, prior = drawn()
    one, other = (posterior(masks, scores, map_, SMALL).mean for map_ in (prior, 7 * prior + 3))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_flat_map_says_nothing():
    masks, scores, _ = drawn()
    flat = posterior(masks, scores, torch.full((2, 9), 0.4), SMALL)
    alone = posterior(masks, scores, torch.zeros(2, 9), Trust((0.0,), SMALL.rhos, SMALL.lengths, SMALL.sigmas))
    torch.testing.assert_close(flat.mean, alone.mean, rtol=0, atol=1e-9)


def correlation(one, other):
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return ((one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))).mean()


def noisy_box(batch, queries, quality, bend, features=36):
    """Maps of a known quality of a linear or bent box with noise: masks, scores, maps, true effects."""
    truth = torch.randn(batch, features).double() * 0.15 / (0.2 * features) ** 0.5
    prior = quality * standardised(truth) + (1 - quality**2) ** 0.5 * torch.randn(batch, features)
    masks = torch.rand(batch, queries // 2, features).lt(torch.rand(batch, queries // 2, 1))
    masks = torch.stack([masks, ~masks], 2).flatten(1, 2).double()
    scores = 0.5 + torch.einsum("bkn,bn->bk", masks - masks.mean(2, keepdim=True), truth)
    return masks, scores + bend * (scores - 0.5).square() + 0.03 * torch.randn(batch, queries), prior, truth


@pytest.mark.parametrize("quality", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_no_worse_than_the_map_nor_than_the_queries(quality, bend):
    """In expectation, for maps from random to perfect, with trust learnt on other inputs of the same map."""
    start = Trust(lengths=(0.0,))
    masks, scores, prior, _ = noisy_box(60, 32, quality, bend)
    trust = start.learnt(posterior(masks, scores, prior, start).evidence)
    for queries in (8, 16, 64):
        masks, scores, prior, truth = noisy_box(60, queries, quality, bend)
        both = correlation(posterior(masks, scores, prior, trust).mean, truth)
        alone = correlation(posterior(masks, scores, torch.zeros_like(prior), trust).mean, truth)
        assert both > correlation(prior.double(), truth) - 0.02
        assert both > alone - 0.02


def test_intervals_cover():
    """Of a linear box whose effects, map and noise are as one of the combinations says."""
    batch, features, queries = 400, 9, 24
    trust = Trust(alphas=(0.0, 0.1, 0.2), rhos=(0.0, 0.1, 0.2), lengths=(0.0,), sigmas=(0.02, 0.04))
    unit = (0.2 * features) ** -0.5
    prior = torch.randn(batch, features)
    effects = unit * (0.1 * standardised(prior) + 0.1 * torch.randn(batch, features))
    masks = torch.rand(batch, queries, features).round().double()
    scores = 0.5 + torch.einsum("bkn,bn->bk", masks - masks.mean(2, keepdim=True), effects)
    found = posterior(masks, scores + 0.04 * torch.randn(batch, queries), prior, trust)
    effects = effects - effects.mean(1, keepdim=True)
    share = (found.mean - effects).abs().le(1.96 * found.std).double().mean()
    assert 0.93 < share < 0.97


def test_learnt_trust_puts_its_weight_on_what_is_likely():
    evidence = torch.zeros(50, *SMALL.shape, dtype=torch.float64)
    evidence[:, 1, 0, 1, 1] = 5.0
    learnt = SMALL.learnt(evidence)
    assert float(learnt.weights.sum()) == pytest.approx(1)
    assert learnt.weights.argmax() == evidence[0].flatten().argmax()
    assert bool((learnt.weights > 0).all())


def test_shapes_are_checked():
    masks, scores, prior = drawn()
    with pytest.raises(ValueError, match="at least one mask"):
        posterior(masks, scores[:, :3], prior, SMALL)
