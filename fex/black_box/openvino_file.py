"""A file of OpenVINO (.xml, with its .bin beside it) as a black box."""

from typing import Any

import torch

from fex.black_box.digest import digest_of_files
from fex.black_box.graph import Graph, GraphBlackBox, Slot
from fex.black_box.openvino import openvino_core

__all__ = ["OpenvinoBlackBox"]

DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64"}


def _slot(port: Any) -> Slot:
    shape = port.get_partial_shape()
    sides = () if shape.rank.is_dynamic else tuple(side.get_length() if side.is_static else None for side in shape)
    kind = port.get_element_type().get_type_name()
    return Slot(next(iter(sorted(port.get_names())), str(port.index)), sides, DTYPES.get(kind, kind))


class OpenvinoBlackBox(GraphBlackBox):
    """A classifier compiled for OpenVINO, on the CPU; see `fex.black_box.graph.GraphBlackBox` for its arguments.

    A graph is data: nothing in the file is run but the operators that OpenVINO knows. It computes in float32.
    """

    kind = "OpenVINO"

    def _open(self, device: torch.device) -> Graph:
        core = openvino_core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads or torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # two processes would share the first core
        }
        try:
            model = core.read_model(str(self.path))
            compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise ValueError(
                f"OpenVINO cannot open {self.path}: {first}. Expected the .xml of a classifier, with its .bin "
                "beside it."
            ) from error
        inputs, outputs = [_slot(port) for port in model.inputs], [_slot(port) for port in model.outputs]
        places = {slot.name: place for place, slot in enumerate(outputs)}
        return Graph(inputs, outputs, lambda name, array: compiled([array])[places[name]].copy())

    def digest(self) -> str:
        """Of both files in a row."""
        return digest_of_files(self.path, self.path.with_suffix(".bin"))

    def to(self, device: torch.device | str) -> "OpenvinoBlackBox":
        """Stays on the CPU."""
        return self
