"""What the processes of one run tell each other; a single one (or a module without a trainer) needs nobody."""

import time
from collections.abc import Mapping
from datetime import timedelta

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "gather_bytes", "gather_rows", "mean_over_processes", "patient_group", "rank_of", "step_of",
    "union_over_processes", "valid_weight", "world_size_of",
]  # fmt: skip


def world_size_of(module: pl.LightningModule) -> int:
    """Processes of the run."""
    return module._trainer.world_size if module._trainer is not None else 1


def rank_of(module: pl.LightningModule) -> int:
    """This process's place among them."""
    return module._trainer.global_rank if module._trainer is not None else 0


def step_of(module: pl.LightningModule) -> int:
    """Batches trained on since the run began."""
    return module._trainer.fit_loop.epoch_loop.total_batch_idx if module._trainer is not None else 0


def gather_rows(module: pl.LightningModule, rows: Tensor) -> Tensor:
    """Rows (B, ...) of every process, one after the other; B is the same everywhere."""
    count = world_size_of(module)
    if count == 1:
        return rows
    found = rows.new_zeros(count, *rows.shape)
    found[rank_of(module)] = rows
    return module.trainer.strategy.reduce(found, reduce_op="sum").flatten(0, 1)


def gather_bytes(module: pl.LightningModule, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors (B, ...) of any types, on the CPU, of every process, bit for bit: one collective for all of them."""
    if world_size_of(module) == 1:
        return dict(rows)
    flat = {name: value.reshape(len(value), value[0].numel()).view(torch.uint8) for name, value in rows.items()}
    parts = gather_rows(module, torch.cat(list(flat.values()), 1).to(module.device)).cpu()
    split = parts.split([value.shape[1] for value in flat.values()], 1)
    return {
        name: part.contiguous().view(value.dtype).view(-1, *value.shape[1:])
        if value.numel()
        else value[:0].new_zeros(len(part), *value.shape[1:])
        for (name, value), part in zip(rows.items(), split, strict=True)
    }


def mean_over_processes(module: pl.LightningModule, values: Tensor) -> Tensor:
    """Mean of each number over the processes: one collective for all of them, instead of `sync_dist` for each."""
    return module.trainer.strategy.reduce(values, reduce_op="mean") if world_size_of(module) > 1 else values


def valid_weight(module: pl.LightningModule, valid: Tensor) -> Tensor:
    """Weights (B,) of a loss a row, 0 where `valid` (B,), bool, is False.

    The mean over the processes of their weighted sums, which DDP makes of gradients, is the mean over all valid rows
    of the global batch, however many of them each process has.
    """
    count = mean_over_processes(module, valid.sum().float())
    return valid.float() / count.clamp_min(1 / world_size_of(module))


def patient_group() -> dist.ProcessGroup | None:
    """A group of all processes, for shares of work that take hours and differ; None where there is one process.

    The usual half an hour of patience would end such a run.
    """
    return dist.new_group(timeout=timedelta(days=30), backend="gloo") if dist.is_initialized() else None


def union_over_processes(names: set[str], group: dist.ProcessGroup | None) -> set[str]:
    """Names of all processes of a group, each of which waits here for the last; without a group these."""
    if group is None:
        return names
    waiting = dist.barrier(group, async_op=True)
    assert waiting is not None
    while not waiting.is_completed():  # a collective hears no signal, and the last process may come hours later
        time.sleep(0.1)
    waiting.wait()
    parts: list[set[str]] = [set()] * dist.get_world_size(group)
    dist.all_gather_object(parts, names, group=group)
    return set().union(*parts)
