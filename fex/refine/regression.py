"""Bayesian linear regression of masked scores on masks, with the map of an explainer as the prior mean.

The K scores y of one instance and class are modelled as

    y = B beta + Phi w + noise,    w ~ N(alpha s, rho^2 S_l),    noise ~ N(0, sigma^2),

B: polynomials of the kept share (how much was removed says most of a score, and nothing about which features matter);
Phi: masks less their kept share; s: the explainer's map, standardised; S_l: correlation of neighbouring features over
a length l (the identity at 0). How far to trust the map (alpha), how far the truth may be from it (rho), over which
length, and the noise (sigma) are not guessed: all combinations on a grid are weighed by their evidence and by how
often they were right on training data (`Trust`), and averaged. Everything is in closed form.

Literature: MacKay 1992 (evidence), Hoeting et al. 1999 (model averaging), Rasmussen & Williams 2006 (5.12, leave one
out).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fex.refine.trust import Trust

__all__ = ["Posterior", "posterior"]

DEGREE = 3  # of the polynomial in the kept share
SPREAD = 0.2  # mean of r (1 - r) over kept shares r: brings alpha and rho to the units of the scores


@dataclass(frozen=True)
class Posterior:
    """What the queries and the map say together; all float64.

    Attributes:
        mean: effect of keeping each feature on the score (B, N), centred, in units of the scores.
        std: its standard error (B, N).
        predicted: each score as the others predict it (B, K): leave one out, in closed form.
        by_count: the same by the number of removed features alone (B, K).
        by_map: the same by that number and the explainer's map, scaled, without departure from it (B, K).
        evidence: log-evidence of each combination of `Trust`, (B, *shape), without its prior weight.
    """

    mean: Tensor
    std: Tensor
    predicted: Tensor
    by_count: Tensor
    by_map: Tensor
    evidence: Tensor


def standardised(values: Tensor) -> Tensor:
    """Map (B, N) with mean 0 and standard deviation 1; of a flat one zeros."""
    centred = values.double() - values.double().mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    return torch.where(spread > 1e-9 * values.double().abs().amax(1, keepdim=True), centred / spread, 0.0 * centred)


def similarity(count: int, grid: tuple[int, int] | None, length: float) -> Tensor:
    """Correlation S (N, N) of the effects of neighbouring features: Gaussian over `length`; the identity at 0."""
    if length == 0:
        return torch.eye(count, dtype=torch.float64)
    height, width = grid if grid is not None else (1, count)
    row, column = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    place = torch.stack([row.flatten(), column.flatten()], 1)
    return (-torch.cdist(place, place).square() / (2 * length**2)).exp()


def _centred(like: Tensor) -> Tensor:
    """Covariance (N, N) of the effects less their mean, which the kept share explains and no mask can show."""
    like = like - like.mean(0, keepdim=True)
    return like - like.mean(1, keepdim=True)


def posterior(
    masks: Tensor, scores: Tensor, prior: Tensor, trust: Trust, grid: tuple[int, int] | None = None
) -> Posterior:
    """Posterior of the features' effects.

    Args:
        masks: (B, K, N), 1 = kept.
        scores: f_y of the masked inputs (B, K).
        prior: the explainer's map (B, N), in any unit.
        trust: what is assumed of it.
        grid: (height, width) where the features are a grid; else neighbours are those in a row.

    Raises:
        ValueError: no masks, or shapes that do not fit.
    """
    if masks.ndim != 3 or masks.shape[:2] != scores.shape or masks.shape[1] < 1 or prior.shape != masks[:, 0].shape:
        raise ValueError(
            f"Got masks {tuple(masks.shape)}, scores {tuple(scores.shape)}, map {tuple(prior.shape)}; expected "
            "(B, K, N), (B, K), (B, N) with at least one mask."
        )
    masks, scores = masks.double(), scores.double()
    count = masks.shape[2]
    kept = masks.mean(2, keepdim=True)
    design, basis = masks - kept, torch.cat([(2 * kept - 1) ** degree for degree in range(DEGREE + 1)], 2)
    unit = (SPREAD * count) ** -0.5  # effect of one feature where all together have a standard deviation of 1
    own = standardised(prior) * unit
    like = [_centred(similarity(count, grid, length).to(masks.device)) * unit**2 for length in trust.lengths]
    fits = [_fit(design, basis, scores, own, trust, each) for each in like]
    evidence = torch.stack([fit.evidence for fit in fits], 1)  # (B, lengths, rhos, sigmas, alphas)
    weight = _normalised(evidence + trust.log_weights().to(evidence.device))
    mean, second = torch.zeros_like(own), torch.zeros_like(own)
    predicted = torch.zeros_like(scores)
    for fit, share in zip(fits, weight.unbind(1), strict=True):
        part = fit.moments(share)
        mean, second = mean + part[0], second + part[1]
        predicted = predicted + torch.einsum("brsa,brsak->bk", share, fit.left_out)
    std = (second - mean.square()).clamp_min(0).sqrt()
    flat, zero = trust.rhos.index(0.0), trust.alphas.index(0.0)
    # Where nothing departs from the map, the length does not matter.
    no_map = _normalised(evidence[:, 0, flat, :, zero])
    map_only = _normalised((evidence + trust.log_weights().to(evidence.device))[:, 0, flat])
    by_count = torch.einsum("bs,bsk->bk", no_map, fits[0].left_out[:, flat, :, zero])
    by_map = torch.einsum("bsa,bsak->bk", map_only, fits[0].left_out[:, flat])
    return Posterior(mean, std, predicted, by_count, by_map, evidence)


def _normalised(log_weights: Tensor) -> Tensor:
    return log_weights.flatten(1).softmax(1).view(log_weights.shape)


@dataclass(frozen=True)
class _Fit:
    """All combinations at one length; C = U (D + A A') U' is the covariance of the scores (rhos, sigmas)."""

    evidence: Tensor  # (B, R, S, A)
    left_out: Tensor  # (B, R, S, A, K)
    own: Tensor  # prior map in units of effects (B, N)
    back: Tensor  # S Phi' U, (B, N, K)
    solved: Tensor  # U' C^-1 (y - alpha f), (B, R, S, A, K)
    inverse: Tensor  # 1 / D, (B, R, S, K)
    low: Tensor  # L with C^-1 = U (1/D - L L') U', (B, R, S, K, Q)
    diagonal: Tensor  # of S (N,)
    alphas: Tensor
    rhos: Tensor

    def moments(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted first and second moments of the effects (B, N), for weights (B, R, S, A)."""
        square = self.rhos.square()
        # The mean of each combination is linear in these coefficients.
        step = square.view(1, -1, 1, 1, 1) * self.solved
        means = self.alphas.view(1, 1, 1, -1, 1) * self.own.view(len(self.own), 1, 1, 1, -1)
        means = means + torch.einsum("bnk,brsak->brsan", self.back, step)
        first = torch.einsum("brsa,brsan->bn", share, means)
        second = torch.einsum("brsa,brsan->bn", share, means.square())
        weight = share.sum(3)  # the variance does not depend on alpha
        prior = torch.einsum("brs,r->b", weight, square).unsqueeze(1) * self.diagonal
        scale = weight * square.square().view(1, -1, 1)
        gained = torch.einsum("bnk,bk->bn", self.back.square(), torch.einsum("brs,brsk->bk", scale, self.inverse))
        lost = torch.einsum("brs,brsnq->bn", scale, torch.einsum("bnk,brskq->brsnq", self.back, self.low).square())
        return first, second + prior - gained + lost


def _fit(design: Tensor, basis: Tensor, scores: Tensor, own: Tensor, trust: Trust, like: Tensor) -> _Fit:
    """Evidence and leave-one-out predictions of every (rho, sigma, alpha), for effects that are alike as `like`."""
    alphas, rhos, sigmas = (scores.new_tensor(values) for values in (trust.alphas, trust.rhos, trust.sigmas))
    back = like @ design.transpose(1, 2)  # (B, N, K)
    values, vectors = torch.linalg.eigh(design @ back)
    turned = vectors.transpose(1, 2)
    diagonal = rhos.square().view(1, -1, 1, 1) * values.clamp_min(0)[:, None, None, :] + sigmas.square().view(
        1, 1, -1, 1
    )  # (B, R, S, K)
    inverse = 1 / diagonal
    low = (turned @ basis)[:, None, None]  # (B, 1, 1, K, Q), prior variance 1 of each coefficient
    scaled = inverse.unsqueeze(-1) * low
    inner = torch.linalg.cholesky(
        low.transpose(-1, -2) @ scaled + torch.eye(low.shape[-1], dtype=low.dtype, device=low.device)
    )
    low = torch.linalg.solve_triangular(inner.transpose(-1, -2), scaled, upper=True, left=False)
    determinant = diagonal.log().sum(-1) + 2 * inner.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    both = torch.stack([scores, (design @ own.unsqueeze(-1)).squeeze(-1)], 2)  # y and f = Phi s, (B, K, 2)
    rest = torch.stack([both.new_ones(len(alphas)), -alphas])  # y - alpha f
    turned_rest = (turned @ both) @ rest  # (B, K, A)
    right = turned_rest[:, None, None]
    solved = inverse.unsqueeze(-1) * right - low @ (low.transpose(-1, -2) @ right)  # (B, R, S, K, A)
    evidence = -0.5 * ((right * solved).sum(-2) + determinant.unsqueeze(-1))
    own_diagonal = torch.einsum("bik,brsk->brsi", vectors.square(), inverse)
    own_diagonal = own_diagonal - torch.einsum("bik,brskq->brsiq", vectors, low).square().sum(-1)
    missed = torch.einsum("bik,brska->brsai", vectors, solved) / own_diagonal.unsqueeze(3)
    left_out = scores[:, None, None, None, :] - missed
    return _Fit(
        evidence=evidence, left_out=left_out, own=own, back=back @ vectors, solved=solved.transpose(-1, -2),
        inverse=inverse, low=low, diagonal=like.diagonal(), alphas=alphas, rhos=rhos,
    )  # fmt: skip
