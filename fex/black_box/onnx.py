"""An ONNX file as a black box, run by onnxruntime."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.scores import Outputs, check_outputs, columns, to_probabilities
from fex.errors import BlackBoxError
from fex.images.preprocess import Preprocess

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["OnnxBlackBox", "onnx_runtime"]

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
LABELS = ("tensor(int64)", "tensor(string)")


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


def _open(path: Path, device: torch.device, threads: int | None) -> "InferenceSession":
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own classes share no public base
        raise ValueError(f"onnxruntime cannot open {path}: {error}. Expected a valid ONNX classifier.") from error


class OnnxBlackBox(BlackBox):
    """An ONNX classifier with one image input, (B, 3, H, W) or (B, H, W, 3), and scores (B, C).

    Input size and number of classes come from the graph where it fixes them. A graph with a fixed batch size is fed
    padded batches of that size.

    Args:
        path: the .onnx file.
        outputs: what the graph returns; logits go through softmax (sigmoid where `multi_label`).
        output_name: which output holds the scores; needed only where the graph has several.
        class_names: names of the classes, in the order of the scores.
        num_classes: C; needed only where neither `class_names` nor the graph says it.
        normalise: the graph expects (x - mean) / std; False where it takes pixels in [0, 1] and normalises itself.
        mean: mean of the normalisation, RGB in [0, 1]; also what `removal.Mean` fills in.
        std: standard deviation of the normalisation.
        preprocess: geometry of the inputs; by default the graph's size, or 224 x 224 where that is free.
        threads: CPU threads of onnxruntime; None leaves it to onnxruntime (all cores).
        chunk: most images a call.
        multi_label: classes are not exclusive.
        name: how errors and reports call it; by default the file's stem.

    Raises:
        ImportError: onnxruntime is not installed.
        FileNotFoundError: no such file.
        ValueError: no ONNX file, or a graph that does not map one image to scores.
    """

    deterministic = True

    def __init__(
        self,
        path: str | Path,
        outputs: Outputs = "probabilities",
        output_name: str | None = None,
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        normalise: bool = True,  # noqa: FBT001, FBT002 a YAML key
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        preprocess: Preprocess | None = None,
        threads: int | None = None,
        chunk: int = 256,
        multi_label: bool = False,  # noqa: FBT001, FBT002 a YAML key
        name: str | None = None,
    ) -> None:
        check_outputs(outputs)
        if threads is not None and threads < 1:
            raise ValueError(f"Got threads={threads}, expected at least 1, or null for all cores.")
        self.path, self.outputs, self.threads, self.normalise = Path(path), outputs, threads, normalise
        if not self.path.is_file():
            raise FileNotFoundError(f"Found no ONNX file at {self.path}.")
        self._session: InferenceSession | None = _open(self.path, torch.device("cpu"), threads)
        self._read_input(self._session)
        classes = self._read_output(self._session, output_name)
        if class_names is None and num_classes is None:
            if not isinstance(classes, int):
                raise ValueError(f"The graph of {self.path} leaves its number of classes free: set num_classes.")
            num_classes = classes
        super().__init__(
            class_names=class_names,
            num_classes=num_classes,
            preprocess=preprocess or self._size(),
            mean=mean,
            std=std,
            chunk=chunk,
            multi_label=multi_label,
            name=name or self.path.stem,
        )
        one = classes == 1 and self.num_classes == 2 and not self.multi_label  # see `BlackBox`
        if isinstance(classes, int) and classes != self.num_classes and not one:
            raise ValueError(
                f"The graph of {self.path} has {classes} classes, got {self.num_classes}: give one name for each."
            )

    def _read_input(self, session: "InferenceSession") -> None:
        inputs = session.get_inputs()
        shapes = ", ".join(f"{item.name} {item.shape} {item.type}" for item in inputs)
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or 3 not in (shape[1], shape[3]) or inputs[0].type not in DTYPES:
            raise ValueError(
                f"The graph of {self.path} takes {shapes}, expected one float input (B, 3, H, W) or (B, H, W, 3). "
                "Run such a graph in a function of your own: CallableBlackBox."
            )
        self._input, self._dtype = inputs[0].name, DTYPES[inputs[0].type]
        self._channels_last = shape[1] != 3
        self._height, self._width = (shape[1], shape[2]) if self._channels_last else (shape[2], shape[3])
        self._batch = shape[0] if isinstance(shape[0], int) else None

    def _read_output(self, session: "InferenceSession", output_name: str | None) -> int | str | None:
        found = session.get_outputs()
        if output_name is None and len(found) > 1:  # a classifier's label beside its scores
            found = [item for item in found if item.type not in LABELS] or found
        outputs = {item.name: item.shape or () for item in found}
        if output_name is not None:
            outputs = {item.name: item.shape or () for item in session.get_outputs()}
        if output_name is None and len(outputs) > 1:
            raise ValueError(f"The graph of {self.path} has outputs {list(outputs)}: say which by output_name.")
        self._output = output_name or next(iter(outputs))
        if self._output not in outputs:
            raise ValueError(f"The graph of {self.path} has no output {output_name!r}; it has {list(outputs)}.")
        shape = outputs[self._output]
        return shape[1] if len(shape) >= 2 else None

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(H, W) in pixels of the only inputs that the graph takes; None where it leaves a side free."""
        fixed = isinstance(self._height, int) and isinstance(self._width, int)
        return (self._height, self._width) if fixed else None

    def _size(self) -> Preprocess | None:
        return None if self.fixed_size is None else Preprocess(*self.fixed_size)

    def to(self, device: torch.device | str) -> "OnnxBlackBox":
        """Runs on `device` from now on, where this onnxruntime has it; otherwise on the CPU."""
        if torch.device(device) != self.device:
            self._session = None
        super().to(device)
        return self

    def _score(self, inputs: Tensor) -> Tensor:
        for side, given, expected in zip("HW", inputs.shape[-2:], (self._height, self._width), strict=True):
            if isinstance(expected, int) and given != expected:
                raise ValueError(
                    f"Black box {self.name!r} got inputs with {side} = {given}, its graph takes {expected} pixels: "
                    "use `.preprocess`."
                )
        if self.normalise:
            mean, std = self._normalisation(inputs)
            inputs = (inputs - mean) / std
        if self._channels_last:
            inputs = inputs.permute(0, 2, 3, 1)
        array = np.ascontiguousarray(inputs.cpu().numpy().astype(self._dtype))
        parts = (
            [array] if self._batch is None else [array[i : i + self._batch] for i in range(0, len(array), self._batch)]
        )
        scores = torch.from_numpy(np.concatenate([self._run(part) for part in parts]))
        scores = columns(scores, len(inputs))
        return to_probabilities(scores, outputs=self.outputs, multi_label=self.multi_label, name=self.name)

    def _run(self, array: np.ndarray) -> np.ndarray:
        if self._session is None:
            self._session = _open(self.path, self.device, self.threads)
        rows = len(array)
        if self._batch is not None and rows < self._batch:
            array = np.concatenate([array, np.repeat(array[-1:], self._batch - rows, axis=0)])
        try:
            answer = self._session.run([self._output], {self._input: array})[0]
        except Exception as error:  # onnxruntime's own kinds have no common base
            raise BlackBoxError(
                f"The graph of {self.path} could not be run on inputs {array.shape} ({error}): is the file damaged, or "
                "made for inputs of another size?"
            ) from error
        if isinstance(answer, list) and answer and isinstance(answer[0], dict):
            answer = [self._of_classes(row) for row in answer]
        return np.asarray(answer)[:rows]

    def _of_classes(self, row: dict[int | str, float]) -> list[float]:
        """Scores in the order of the classes from a dict of them, as scikit-learn's classifiers are exported (ZipMap).

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

    def __getstate__(self) -> dict[str, Any]:
        """Without the session, which does not pickle and is opened again from `path`."""
        return {**self.__dict__, "_session": None}
