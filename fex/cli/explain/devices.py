"""`--device`: where the explainer and the black box of a command line compute."""

import os
from typing import Any

import torch

from fex.cli.explain.processes import processes

__all__ = ["chosen_device", "moved"]


def chosen_device(name: str | None) -> str:
    """That of the command line; otherwise the GPU of this process, or the CPU."""
    if name or not torch.cuda.is_available():
        return name or "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}" if processes()[1] > 1 else "cuda"


def moved(part: Any, device: str, **options: Any) -> Any:
    """`part.to(device, **options)`.

    Raises:
        ValueError: an unusable device.
    """
    try:
        return part.to(device, **options)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"Device {device!r} cannot be used ({reason}): give cpu, cuda, cuda:1, mps ...") from error
