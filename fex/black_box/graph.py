"""What all files of a graph share as black boxes: one image input, scores, a runtime that opens the file."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fex.black_box.base import BlackBox
from fex.black_box.colour import Colour, as_colour
from fex.black_box.digest import digest_of_files
from fex.black_box.scores import Outputs, check_outputs, columns, to_probabilities
from fex.errors import BlackBoxError
from fex.images.preprocess import Preprocess

__all__ = ["Graph", "GraphBlackBox", "Slot"]

FLOATS = {"float32": np.float32, "float16": np.float16, "float64": np.float64}
LABELS = ("int64", "string")


class Slot(NamedTuple):
    """An input or output of a graph.

    Attributes:
        name: its own.
        shape: sides; of one that is left free, anything but a whole number.
        dtype: as numpy calls it.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: str


class Graph(NamedTuple):
    """A graph in its runtime.

    Attributes:
        inputs: in their order.
        outputs: in their order.
        run: (name of the output, array of the one input) -> what it gives.
    """

    inputs: list[Slot]
    outputs: list[Slot]
    run: Callable[[str, np.ndarray], Any]


class GraphBlackBox(BlackBox):
    """A graph with one image input, (B, C, H, W) or (B, H, W, C), and scores; C is 3, 1 (grey) or as `mean` has values.

    Input size and number of classes come from the graph where it fixes them. A graph with a fixed batch size is fed
    padded batches of that size.

    Args:
        path: the file.
        outputs: what the graph returns; logits go through softmax (sigmoid where `multi_label`).
        output_name: which output holds the scores; needed only where the graph has several.
        class_names: names of the classes, in the order of the scores.
        num_classes: needed only where neither `class_names` nor the graph says it.
        normalise: the graph expects (x - mean) / std; False where it takes pixels in [0, 1] and normalises itself.
        mean: mean of the normalisation, in [0, 1]; also what `removal.Mean` fills in.
        std: standard deviation of the normalisation; by default ImageNet's, which fits RGB alone.
        preprocess: geometry of the inputs; by default the graph's size, or 224 x 224 where that is free.
        threads: CPU threads of the runtime; None leaves it to the runtime.
        chunk: most images a call.
        multi_label: classes are not exclusive.
        name: how errors and reports call it; by default the file's stem.

    Raises:
        ImportError: the runtime is not installed.
        FileNotFoundError: no such file.
        ValueError: no file of this kind, or a graph that does not map one image to scores.
    """

    deterministic = True
    kind: ClassVar[str]  # of file, for messages

    def __init__(
        self,
        path: str | Path,
        outputs: Outputs = "probabilities",
        output_name: str | None = None,
        class_names: Sequence[str] | None = None,
        num_classes: int | None = None,
        normalise: bool = True,  # noqa: FBT001, FBT002 a YAML key
        mean: Colour = (0.485, 0.456, 0.406),
        std: Colour | None = None,
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
            raise FileNotFoundError(f"Found no {self.kind} file at {self.path}.")
        self._graph: Graph | None = self._open(torch.device("cpu"))
        self._read_input(self._graph, len(as_colour(mean, "mean")))
        if normalise and std is None and len(as_colour(mean)) != 3:
            raise ValueError(f"Got `mean` of {len(as_colour(mean))} channels without `std`: set both.")
        classes = self._read_output(self._graph, output_name)
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

    @abstractmethod
    def _open(self, device: torch.device) -> Graph:
        """The graph of `path` in its runtime, on `device` where the runtime has it.

        Raises:
            ImportError, ValueError: see the class.
        """

    def _read_input(self, graph: Graph, channels: int) -> None:
        shape = graph.inputs[0].shape if len(graph.inputs) == 1 else ()
        sides = [shape[1], shape[3]] if len(shape) == 4 else []
        self.channels = next((count for count in (channels, 1) if count in sides), 0)
        if not self.channels or graph.inputs[0].dtype not in FLOATS:
            shapes = ", ".join(f"{slot.name} {list(slot.shape)} {slot.dtype}" for slot in graph.inputs)
            raise ValueError(
                f"The graph of {self.path} takes {shapes}, expected one float input (B, {channels}, H, W) or (B, H, W, "
                f"{channels}); for other channels than RGB and grey give `mean` and `std` a value for each. Run "
                "another graph in a function of your own: CallableBlackBox."
            )
        self._input, self._dtype = graph.inputs[0].name, FLOATS[graph.inputs[0].dtype]
        self._channels_last = shape[1] != self.channels
        self._height, self._width = (shape[1], shape[2]) if self._channels_last else (shape[2], shape[3])
        self._batch = shape[0] if isinstance(shape[0], int) else None

    def _read_output(self, graph: Graph, output_name: str | None) -> Any:
        """Sets which output holds the scores; its number of classes, no whole number where that is free."""
        found = graph.outputs
        if output_name is None and len(found) > 1:  # a classifier's label beside its scores
            found = [slot for slot in found if slot.dtype not in LABELS] or found
        outputs = {slot.name: slot.shape for slot in found}
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

    def digest(self) -> str:
        """Of the file."""
        return digest_of_files(self.path)

    def _size(self) -> Preprocess | None:
        return None if self.fixed_size is None else Preprocess(*self.fixed_size)

    def to(self, device: torch.device | str) -> "GraphBlackBox":
        """Runs on `device` from now on, where the runtime has it; otherwise on the CPU."""
        if torch.device(device) != self.device:
            self._graph = None
        super().to(device)
        return self

    def _score(self, inputs: Tensor) -> Tensor:
        for side, given, expected in zip("HW", inputs.shape[-2:], (self._height, self._width), strict=True):
            if isinstance(expected, int) and given != expected:
                raise ValueError(
                    f"Black box {self.name!r} got inputs with {side} = {given}, its graph takes {expected} pixels: "
                    "use `.preprocess`."
                )
        inputs = self._for_network(inputs, self.channels, normalise=self.normalise)
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
        if self._graph is None:
            self._graph = self._open(self.device)
        rows = len(array)
        if self._batch is not None and rows < self._batch:
            array = np.concatenate([array, np.repeat(array[-1:], self._batch - rows, axis=0)])
        try:
            answer = self._graph.run(self._output, array)
        except Exception as error:  # the runtimes' own kinds have no common base
            raise BlackBoxError(
                f"The graph of {self.path} could not be run on inputs {array.shape} ({error}): is the file damaged, or "
                "made for inputs of another size?"
            ) from error
        return np.asarray(self._table(answer))[:rows]

    def _table(self, answer: Any) -> Any:
        """What an output gave as rows of scores."""
        return answer

    def __getstate__(self) -> dict[str, Any]:
        """Without the runtime, which does not pickle and is opened again from `path`."""
        return {**self.__dict__, "_graph": None}
