"""An ONNX file as a black box, run by onnxruntime."""

from typing import Any

import torch

from fex.black_box.graph import Graph, GraphBlackBox, Slot

__all__ = ["OnnxBlackBox", "onnx_runtime"]

DTYPES = {"float": "float32", "double": "float64"}  # onnxruntime's names where numpy has others


def onnx_runtime() -> Any:
    """The package onnxruntime.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('ONNX files need onnxruntime: pip install "fex-explain[onnx]".') from error
    return onnxruntime


def _slot(item: Any) -> Slot:
    dtype = item.type.removeprefix("tensor(").removesuffix(")")
    return Slot(item.name, tuple(item.shape or ()), DTYPES.get(dtype, dtype))


class OnnxBlackBox(GraphBlackBox):
    """An ONNX classifier; see `fex.black_box.graph.GraphBlackBox` for its arguments.

    A graph is data: nothing in the file is run but the operators that onnxruntime knows.
    """

    kind = "ONNX"

    def _open(self, device: torch.device) -> Graph:
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        try:
            session = runtime.InferenceSession(str(self.path), options, providers=providers)
        except Exception as error:  # onnxruntime's own classes share no public base
            raise ValueError(
                f"onnxruntime cannot open {self.path}: {error}. Expected a valid ONNX classifier."
            ) from error
        inputs, outputs = ([_slot(item) for item in items()] for items in (session.get_inputs, session.get_outputs))
        return Graph(inputs, outputs, lambda name, array: session.run([name], {inputs[0].name: array})[0])

    def _table(self, answer: Any) -> Any:
        """Dicts of scores by class, as scikit-learn's classifiers are exported (ZipMap), as rows."""
        by_class = isinstance(answer, list) and answer and isinstance(answer[0], dict)
        return [self._of_classes(row) for row in answer] if by_class else answer

    def _of_classes(self, row: dict[int | str, float]) -> list[float]:
        """Scores in the order of the classes from a dict of them.

        Raises:
            ValueError: its keys are neither the class names nor consecutive numbers.
        """
        named = {str(key): value for key, value in row.items()}
        if set(named) == set(self.class_names):
            return [named[name] for name in self.class_names]
        keys = sorted(row) if all(isinstance(key, int) for key in row) else []
        if not keys or len(keys) != self.num_classes or keys != list(range(keys[0], keys[0] + len(keys))):
            raise ValueError(
                f"The graph of {self.path} gives scores by the names {sorted(named)[:10]}, got class_names "
                f"{self.class_names[:10]}: set `class_names` to these names."
            )
        return [row[key] for key in keys]
