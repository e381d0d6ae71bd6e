"""The samples of several instances side by side, made into pixels a batch at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fex.dax.perturbations import Perturbations

__all__ = ["Layout", "Neighbourhoods"]


class Neighbourhoods:
    """The samples of I instances side by side, made into pixels a batch at a time.

    Args:
        instances: of one size and one number of samples; their numbers of segments may differ.

    Raises:
        ValueError: none, or of different sizes or numbers of samples.
    """

    def __init__(self, instances: Sequence[Perturbations]) -> None:
        shapes = {(len(one.scores), *one.parts.shape[2:]) for one in instances}
        if len(shapes) != 1:
            raise ValueError(
                f"Instances fitted together must agree in samples and size, got (Q, h, w) of {sorted(shapes)}."
            )
        self.count, *size = next(iter(shapes))
        self.size = (size[0], size[1])
        most = max(one.parts.shape[0] for one in instances)
        first = instances[0].parts
        self.parts = first.new_zeros(len(instances), most, first[0].numel())
        self.kept = torch.zeros(len(instances), self.count, most, dtype=torch.bool, device=first.device)
        for row, one in enumerate(instances):
            self.parts[row, : len(one.parts)] = one.parts.flatten(1)
            self.kept[row, :, : len(one.parts)] = one.kept
        self.scores = torch.stack([one.scores for one in instances], 1)  # (Q, I)
        self.weights = torch.stack([one.weights for one in instances], 1)

    def __len__(self) -> int:
        return len(self.parts)

    def pixels(self, rows: Tensor) -> Tensor:
        """Perturbed copies of the given samples, less their fill: (b,) -> (b, I * 3, h, w)."""
        return self.mixed(self.kept[:, rows].to(self.parts.dtype))

    def mixed(self, kept: Tensor) -> Tensor:
        """The same for any indicators, (I, b, S), float."""
        flat = torch.bmm(kept, self.parts)  # (I, b, 3 h w)
        return flat.transpose(0, 1).reshape(flat.shape[1], -1, *self.size)

    def laid_out(self, prepare: Callable[[Tensor], Tensor], dtype: torch.dtype) -> "Layout":
        """The copies as a network takes them."""
        return Layout(self, prepare, dtype)


class Layout:
    """`Neighbourhoods.pixels` as `prepare` lays them out for a network, which is done once, to the parts.

    Args:
        data: the samples.
        prepare: linear, of pictures (b, I * 3, h, w) into (b, I * C, h', w').
        dtype: of what it gives.
    """

    def __init__(self, data: Neighbourhoods, prepare: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
        pictures = data.parts.unflatten(2, (3, *data.size)).transpose(0, 1).flatten(1, 2)  # (S, I * 3, h, w)
        prepared = prepare(pictures).unflatten(1, (len(data), -1)).permute(1, 0, 3, 4, 2)
        self.shape = prepared.shape[2:]  # (h', w', C)
        self.parts, self.kept = prepared.flatten(2).to(dtype), data.kept

    def __call__(self, rows: Tensor) -> Tensor:
        """The given samples (b,) -> (b, I * C, h', w'), channels_last."""
        flat = torch.bmm(self.kept[:, rows].to(self.parts.dtype), self.parts)
        channels = flat.unflatten(2, self.shape).permute(1, 2, 3, 0, 4).flatten(3)
        return channels.permute(0, 3, 1, 2)
