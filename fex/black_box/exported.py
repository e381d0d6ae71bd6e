"""A file of torch.export (.pt2) as a black box: a graph that only those run who trust the file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from fex.black_box.graph import Graph, GraphBlackBox, Slot

__all__ = ["ExportedBlackBox", "check_trust"]


class ExportedBlackBox(GraphBlackBox):
    """A classifier that `torch.export.save` wrote, on the CPU.

    Reading such a file can run code that somebody put into it, whatever fex does: torch unpickles objects that it
    holds, evaluates the text of its sizes, and calls any function of torch that it names. So it is read only where
    `trust` says that you trust its source. ONNX and OpenVINO files are data; prefer them.

    Args:
        path: the .pt2 file.
        trust: you know who made the file.
        **options: see `fex.black_box.graph.GraphBlackBox`.

    Raises:
        ValueError: `trust` is not set; no file of torch.export; see `GraphBlackBox` for what else.
    """

    kind = "torch.export"

    def __init__(self, path: str | Path, *, trust: bool = False, **options: Any) -> None:
        check_trust(path, trust=trust)
        super().__init__(path, **options)

    def _open(self, device: torch.device) -> Graph:
        try:
            program = torch.export.load(self.path)
        except Exception as error:  # zip, JSON, pickle and torch's own kinds
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ValueError(
                f"torch cannot open {self.path}: {first}. Expected a classifier of torch.export.save."
            ) from error
        signature, network = program.graph_signature, program.module()
        nodes = {node.name: node for node in program.graph.nodes}
        inputs, outputs = (
            [_slot(nodes[name]) for name in names if name in nodes]
            for names in (signature.user_inputs, signature.user_outputs)
        )
        places = {slot.name: place for place, slot in enumerate(outputs)}

        def run(name: str, array: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return tree_leaves(network(torch.from_numpy(array)))[places[name]].numpy()

        return Graph(inputs, outputs, run)

    def to(self, device: torch.device | str) -> "ExportedBlackBox":
        """Stays where it was exported: devices are part of the graph."""
        return self


def check_trust(path: str | Path, *, trust: bool) -> None:
    """Refuses to read a file that nobody vouches for.

    Raises:
        ValueError: `trust` is not set.
    """
    if not trust:
        raise ValueError(
            f"{path} is a file of torch.export, and reading one can run code that is hidden in it. If you know who "
            "made it, set `trust: true` (fex.load_black_box(path, trust=True), fex-train --init ... --trust); "
            "otherwise ask for an ONNX file."
        )


def _slot(node: Any) -> Slot:
    value = node.meta["val"]
    sides = tuple(side if type(side) is int else None for side in value.shape)
    return Slot(node.name, sides, str(value.dtype).removeprefix("torch."))
