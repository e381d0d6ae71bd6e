"""What a call takes of a device: its peak of memory, and the time until it is done."""

import mmap
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["peak_bytes", "wait"]


_CHANGE = re.compile(rb'"name": "\[memory\]".*?"ts": ([0-9.]+).*?"Bytes": (-?[0-9]+)', re.DOTALL)


def peak_bytes(function: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Most bytes allocated by torch at a time during a call, beyond what was held before it.

    On the CPU, from the allocator's records in the profiler; what oneDNN takes as scratch space is not among them,
    nor is the release of blocks that are older than the call (so the peak is rather told too high).
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler writes a line to stderr whenever it starts and stops
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as records:
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        records.export_chrome_trace(str(path))
        # A fit of some seconds has millions of records: as Python's objects they took 24 GB, as matches they are few.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            changes = sorted((float(time), int(change)) for time, change in _CHANGE.findall(text))
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def wait(device: torch.device | str) -> None:
    """Until the device has done what it was asked."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
