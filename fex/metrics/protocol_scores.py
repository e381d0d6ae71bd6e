"""A protocol's scores as a torchmetrics module, which keeps every instance: for intervals and pairing."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fex.metrics.curve import Curve
from fex.metrics.functional.bootstrap import Interval, bootstrap_interval
from fex.metrics.protocols import Protocol, get_protocol

__all__ = ["ProtocolScores"]


class ProtocolScores(Metric):
    """Components of a protocol over a data set, one row an instance, gathered across processes.

    Rows that only pad a batch are left out, and an instance seen twice counts once.

    Args:
        protocol: a protocol or its name.
        **kwargs: see `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> scores = ProtocolScores("fex")
        >>> curves = {"positive_curve": torch.zeros(2, 10), "negative_curve": torch.ones(2, 10)}
        >>> scores.update(curves, torch.tensor([0, 1]))
        >>> {name: float(value) for name, value in scores.compute().items()}
        {'positive_auc': 0.0, 'negative_auc': 1.0}
    """

    full_state_update = False
    index: list[Tensor]

    def __init__(self, protocol: Protocol | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
        self.add_state("index", default=[], dist_reduce_fx="cat")
        for name in self.protocol.components:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, components: dict[str, Tensor], index: Tensor, valid: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            components: `Protocol.evaluate`'s, (B,) or (B, D).
            index: position of each instance in its data set (B,), int64.
            valid: False where a row is padding (B,), bool.

        Raises:
            ValueError: components of another protocol, or not one row an index.
        """
        if set(components) != set(self.protocol.components):
            raise ValueError(
                f"Got components {sorted(components)}, expected {sorted(self.protocol.components)} of protocol "
                f"{self.protocol.name!r}."
            )
        rows = {name: len(values) for name, values in components.items()}
        if set(rows.values()) != {len(index)}:
            raise ValueError(f"Got {len(index)} indices for components of {rows} rows, expected one an instance.")
        keep = slice(None) if valid is None else valid
        self.index.append(index[keep])
        for name, values in components.items():
            getattr(self, name).append(values[keep].detach().float())

    def instances(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Indices (n,), ascending, and the components in that order.

        Raises:
            ValueError: nothing was added.
        """
        if isinstance(self.index, list) and not self.index:  # a tensor once ranks are gathered
            raise ValueError(f"Protocol {self.protocol.name!r} has seen no instances: call update first.")
        index = dim_zero_cat(self.index)
        order = index.argsort(stable=True)
        index = index[order]
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        order = order[first]
        return index[first], {name: dim_zero_cat(getattr(self, name))[order] for name in self.protocol.components}

    def compute(self) -> dict[str, Tensor]:
        """Every summary over the instances that have it; NaN where none has."""
        _, components = self.instances()
        return {
            name: summary.statistic(_present(components[summary.component]).mean(0))
            for name, summary in self.protocol.summaries.items()
        }

    def curves(self) -> dict[str, Curve]:
        """The protocol's figures, over the instances that have them."""
        _, components = self.instances()
        return self.protocol.curves({name: _present(values).mean(0) for name, values in components.items()})

    def intervals(self, *, resamples: int = 10_000, seed: int = 0) -> dict[str, tuple[Interval, int]]:
        """Every summary with its bootstrap 95 % interval, and the number of instances that have it."""
        _, components = self.instances()
        result = {}
        for name, summary in self.protocol.summaries.items():
            values = _present(components[summary.component])
            interval = Interval(torch.nan, torch.nan, torch.nan)
            if len(values):
                interval = bootstrap_interval(values, statistic=summary.statistic, resamples=resamples, seed=seed)
            result[name] = (interval, len(values))
        return result


def _present(values: Tensor) -> Tensor:
    return values[~values.flatten(1).isnan().any(1)] if values.ndim > 1 else values[~values.isnan()]
