"""Fits the mask and student networks of one or several instances at once, on what was queried for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fex.dax.losses import distillation
from fex.dax.neighbourhoods import Neighbourhoods
from fex.dax.nets import MaskNets, StudentNets, apply_masks
from fex.dax.perturbations import Perturbations
from fex.dax.settings import FitSettings

__all__ = ["Epoch", "Fitted", "Networks", "fit_instances"]


@dataclass(frozen=True)
class Epoch:
    """One epoch of one instance: losses, and the mask (h, w) at its end (None without a mask network)."""

    train_loss: float
    val_loss: float
    mask: Tensor | None


@dataclass(eq=False)
class Fitted:
    """What became of one instance.

    Attributes:
        epochs: in order, up to where it stopped.
        best: the one of lowest validation loss among those with masks.
    """

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0

    @property
    def mask(self) -> Tensor:
        """f_M(x) after the best epoch, (h, w), float32, in (0, 1)."""
        mask = self.epochs[self.best].mask
        if mask is None:
            raise ValueError("This instance was fitted without a mask network.")
        return mask


@dataclass(frozen=True, eq=False)
class Copies:
    """Perturbed copies as the first layers of the student and of the mask network take them (None without one)."""

    student: Tensor
    mask: Tensor | None


class Networks(nn.Module):
    """Mask and student networks of I instances, and their losses."""

    def __init__(self, size: tuple[int, int], settings: FitSettings, seeds: Sequence[int]) -> None:
        super().__init__()
        # A generator an instance: what it is fitted to does not depend on its neighbours.
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.settings = settings
        self.student = StudentNets(
            generators,
            size,
            architecture=settings.architecture,
            width=settings.student_width,
            hidden=settings.hidden,
        )
        self.mask: MaskNets | None = None
        if settings.regulariser.uses_mask:
            self.mask = MaskNets(
                generators,
                size,
                width=settings.mask_width,
                kernel=settings.mask_kernel,
                stride=settings.mask_stride,
                places=settings.mask_places,
            )

    def prepare(self, x: Tensor) -> "Copies":
        """Pictures (b, I * 3, h, w) as `losses` takes them."""
        return Copies(self.student.prepare(x), None if self.mask is None else self.mask.prepare(x))

    def losses(
        self, copies: "Copies", scores: Tensor, weights: Tensor, bound: Tensor, *, masked: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the nets are fitted to, what the mask is charged, and how much of the scores the student explains.

        Each (I,); a sum over instances keeps their gradients apart. The student learns from the copies as they are and
        from the masked ones. It is not trained by the price: it would be paid for being wrong about the complement.

        Args:
            copies: b perturbed copies less their fill; those for the mask, from the first on, as many as are masked.
            scores: (b, I).
            weights: gamma, (b, I).
            bound: variance of the scores, (I,).
            masked: how many of the copies, from the first on, are masked as well; 0 in the warm-up.
        """
        regulariser, whole = self.settings.regulariser, copies.student
        own = self.student.weights(whole.dtype)
        if self.mask is None or not masked:
            predicted = self.student(whole, weights=own)
            fit = distillation(scores, predicted, weights)
            return fit, torch.zeros_like(fit), explained(scores, predicted, bound)
        assert copies.mask is not None
        masks = self.mask(copies.mask[:masked])
        whole_of_masked = whole[:masked]
        kept = apply_masks(whole_of_masked, self.student.prepare(masks.to(whole.dtype)))
        predicted, unmasked = self.student(kept, whole, weights=own).split([len(kept), len(whole)])
        fit = distillation(scores[:masked], predicted, weights[:masked]) + distillation(scores, unmasked, weights)
        complement = blank = None
        if regulariser.uses_complement:
            removed = torch.cat([whole_of_masked - kept, torch.zeros_like(kept[:1])])
            answers = self.student(removed, weights=[(weight.detach(), bias.detach()) for weight, bias in own])
            complement, blank = answers[:-1], answers[-1]
        price = regulariser.price(masks, complement, blank, bound)
        return fit + regulariser.fidelity(scores[:masked], predicted), price, explained(scores, unmasked, bound)


def explained(scores: Tensor, predicted: Tensor, bound: Tensor) -> Tensor:
    """The share of the scores' variance that a student explains, (I,), 0 at least; without a gradient."""
    error = (scores - predicted.detach()).square().mean(0)
    return (1 - error / bound.clamp(min=torch.finfo(bound.dtype).tiny)).clamp(min=0)


def fit_instances(
    instances: Sequence[Perturbations], settings: FitSettings, seeds: Sequence[int]
) -> tuple[Networks, list[Fitted]]:
    """Fits every instance on its own samples; all of them share the order of the samples and nothing else.

    Args:
        instances: what was queried for each.
        settings: see there.
        seeds: of the initial weights, one an instance.

    Returns:
        The networks, each instance's as they were after its best epoch, and what became of each instance.

    Raises:
        ValueError: instances that do not fit together.
    """
    data = Neighbourhoods(instances)
    # inference_mode, no_grad and autocast of a caller end here.
    off = torch.autocast(data.parts.device.type, enabled=False)
    with torch.inference_mode(mode=False), torch.enable_grad(), off:
        nets = Networks(data.size, settings, seeds).to(data.parts.device)
        return nets, _epochs(nets, data, settings)


def _epochs(nets: Networks, data: Neighbourhoods, settings: FitSettings) -> list[Fitted]:
    generator = torch.Generator().manual_seed(0)  # the order of the samples; they are random themselves
    held = min(max(1, round(data.count * settings.val_fraction)), data.count - 1)
    # The first sample, the input itself, is always learnt from.
    order = 1 + torch.randperm(data.count - 1, generator=generator)
    val, train = order[:held], torch.cat([torch.zeros(1, dtype=torch.int64), order[held:]])
    bound = data.scores[train].var(0, unbiased=False)
    nets.student.start_at(data.scores[train].mean(0))
    samples, optimizer = _Samples(nets, data, settings, bound), _optimizer(nets, settings)
    max_epochs, patience = settings.lengths(len(train))
    warm = 0 if nets.mask is None else int(settings.warm_up * max_epochs)
    fitted = [Fitted(best=warm) for _ in range(len(data))]
    best, stale = [float("inf")] * len(data), [0] * len(data)
    kept = {name: value.detach().clone() for name, value in nets.named_parameters()}  # (I, ...) each
    for number in range(max_epochs):
        masked = number >= warm
        shuffled = train[torch.randperm(len(train), generator=generator)]
        train_losses = samples.train(optimizer, shuffled, masked=masked).tolist()
        val_losses, masks = samples.validate(val, masked=masked).tolist(), samples.own_masks()
        for row, one in enumerate(fitted):
            if stale[row] >= patience:
                continue
            one.epochs.append(Epoch(train_losses[row], val_losses[row], None if masks is None else masks[row].clone()))
            if not masked:
                continue
            if val_losses[row] < best[row]:
                best[row], stale[row], one.best = val_losses[row], 0, number
                for name, value in nets.named_parameters():
                    kept[name][row] = value.detach()[row]
            else:
                stale[row] += 1
        if min(stale) >= patience:
            break
    nets.load_state_dict(kept)
    return fitted


def _optimizer(nets: Networks, settings: FitSettings) -> torch.optim.Adam:
    groups = [{"params": list(nets.student.parameters()), "lr": settings.learning_rate}]
    if nets.mask is not None:
        groups.append({"params": list(nets.mask.parameters()), "lr": settings.mask_learning_rate})
    return torch.optim.Adam(groups, fused=True)


class _Samples:
    """What was queried, laid out for the networks that are fitted to it; `bound` is the variance of the scores (I,)."""

    def __init__(self, nets: Networks, data: Neighbourhoods, settings: FitSettings, bound: Tensor) -> None:
        dtype = torch.bfloat16 if settings.precision == "bf16" else data.parts.dtype
        self.nets, self.data, self.bound, self.batch_size = nets, data, bound, settings.batch_size
        with torch.no_grad():
            self.student = data.laid_out(nets.student.prepare, dtype)
            self.mask = None if nets.mask is None else data.laid_out(nets.mask.prepare, dtype)

    def train(self, optimizer: torch.optim.Optimizer, order: Tensor, *, masked: bool) -> Tensor:
        """One epoch over the samples in that order -> its loss (I,)."""
        total = self.bound.new_zeros(len(self.data))
        unit = self.bound.where(self.bound > 0, 1.0)  # a single sample has no variance
        for rows in order.to(self.data.parts.device).split(self.batch_size):
            half = -(-len(rows) // 2)
            fit, price, known = self.losses(rows, masked=half if masked else 0)
            # A mask is charged by what the student knows: before it knows anything, an empty mask is the cheapest.
            # In units of the scores' variance: a class of probability 1e-5 has gradients, too.
            loss = (fit + known * price) / unit
            optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimizer.step()
            total += loss.detach() * unit * len(rows)
        return total / len(order)

    @torch.no_grad()
    def validate(self, order: Tensor, *, masked: bool) -> Tensor:
        """The loss (I,) with the whole price, which does not grow with what the student knows."""
        total = self.bound.new_zeros(len(self.data))
        for rows in order.to(self.data.parts.device).split(4 * self.batch_size):
            fit, price, _ = self.losses(rows, masked=len(rows) if masked else 0)
            total += (fit + price) * len(rows)
        return total / len(order)

    def losses(self, rows: Tensor, *, masked: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Networks.losses`."""
        seen = self.mask(rows[:masked]) if self.mask is not None and masked else None
        copies = Copies(self.student(rows), seen)
        return self.nets.losses(copies, self.data.scores[rows], self.data.weights[rows], self.bound, masked=masked)

    @torch.no_grad()
    def own_masks(self) -> Tensor | None:
        """f_M(x) of the inputs themselves, (I, h, w)."""
        if self.nets.mask is None or self.mask is None:
            return None
        return self.nets.mask(self.mask(torch.zeros(1, dtype=torch.int64, device=self.data.parts.device)))[0]
