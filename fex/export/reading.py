"""An exported explainer as a network: what is in the file is data for a graph runtime, and no code of it is run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fex.black_box.onnx import onnx_runtime
from fex.black_box.openvino import openvino_core
from fex.modality import Features
from fex.storage.description import check_description

__all__ = ["FORMAT", "OUTPUTS", "ExportedNet", "is_export", "read_export"]

FORMAT = "fex-export-1"
OUTPUTS = ("scores", "classes", "probabilities")
LARGEST = 2**31  # bytes of a file; ONNX holds no more
_BESIDE = {".onnx": (".onnx",), ".xml": (".xml", ".bin")}  # the files of an export, by the suffix of the first

Run = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


class ExportedNet(nn.Module):
    """The graph of an export, in the place of the network that it was made of.

    Args:
        files: content of its files, by suffix, uint8.
        meta: its description.
        features: where the features lie.
        source: what errors call it.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: a graph that the runtime does not take.
    """

    def __init__(self, files: Mapping[str, Tensor], meta: Mapping[str, Any], features: Features, source: str) -> None:
        super().__init__()
        self.features, self.source = features, source
        self.span, self.multi_label = meta.get("span"), bool(meta.get("multi_label"))
        self.num_classes = len(meta["class_names"])
        self._run = (_onnx if ".onnx" in files else _openvino)(files, source)

    def explain_classes(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `fex.nets.ClassMapNet`."""
        if len(inputs) == 0:
            count = self.features.count(inputs)
            return inputs.new_zeros(0, target.shape[1], count), target, inputs.new_zeros(0, self.num_classes)
        if not bool(((target >= -self.num_classes) & (target < self.num_classes)).all()):  # some runtimes read on
            raise ValueError(
                f"Target {target.flatten().tolist()} is outside the {self.num_classes} classes: expected 0 ... "
                f"{self.num_classes - 1}, or -1 ... {-self.num_classes} for the likeliest, the next, ..."
            )
        try:
            found = self._run(inputs.cpu().numpy(), target.cpu().numpy())
        except Exception as error:  # the runtimes' own kinds have no common base
            first = (str(error).splitlines() or [""])[0]
            raise ValueError(
                f"The graph of {self.source} does not run on inputs {tuple(inputs.shape)}: {first}"
            ) from error
        scores, classes, probabilities = (torch.from_numpy(np.array(part)).to(inputs.device) for part in found)
        rows = (len(inputs), target.shape[1])
        if scores.shape[:2] != rows or classes.shape != rows or probabilities.shape != (rows[0], self.num_classes):
            raise ValueError(f"The graph of {self.source} answers {tuple(scores.shape)}: it is not of its description.")
        return scores, classes, probabilities

    def predict(self, inputs: Tensor) -> Tensor:
        """See `fex.nets.ClassMapNet`."""
        return self.explain_classes(inputs, torch.full((len(inputs), 1), -1))[2]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()


def _session(content: bytes, source: str) -> Any:
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    known = runtime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known]
    try:
        return runtime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime's own kinds have no common base
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"onnxruntime cannot open {source}: {first}. Expected a file of fex-export.") from error


def _onnx(files: Mapping[str, Tensor], source: str) -> Run:
    session = _session(_bytes(files[".onnx"]), source)
    return lambda inputs, target: session.run(list(OUTPUTS), {"inputs": inputs, "target": target})


def _model(files: Mapping[str, Tensor], source: str) -> Any:
    core = openvino_core()
    import openvino

    try:
        weights = openvino.Tensor(files[".bin"].numpy())
        return core.read_model(_bytes(files[".xml"]), weights)
    except RuntimeError as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"OpenVINO cannot open {source}: {first}. Expected files of fex-export.") from error


def _openvino(files: Mapping[str, Tensor], source: str) -> Run:
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino_core().compile_model(_model(files, source), "CPU", settings)

    def run(inputs: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, ...]:
        found = compiled({"inputs": inputs, "target": target})
        return tuple(found[name] for name in OUTPUTS)

    return run


def _described(files: Mapping[str, Tensor], source: str) -> dict[str, str]:
    """The entries of a description as they stand in the file."""
    if ".onnx" in files:
        return dict(_session(_bytes(files[".onnx"]), source).get_modelmeta().custom_metadata_map)
    model = _model(files, source)
    if not model.has_rt_info(["fex", "format"]):
        return {}
    return {key: str(getattr(text, "value", text)) for key, text in model.get_rt_info(["fex"]).value.items()}


def is_export(name: str | Path) -> bool:
    """Whether it names a file of `fex.export.export`."""
    return Path(name).suffix in (*_BESIDE, ".pt2")


def read_export(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The files of an export, by suffix, uint8, and its description.

    Raises:
        FileNotFoundError: nothing there.
        ImportError: its runtime is not installed.
        ValueError: not written by this project, damaged, or a .pt2.
    """
    path, source = Path(path), str(path)
    if path.suffix == ".pt2":
        raise ValueError(
            f"{source}: torch warns that its reader of .pt2 files may run code of the file, so fex does not read them. "
            "Give an .onnx or .xml of fex-export, or load it by torch.export.load where you trust it."
        )
    files = {}
    for suffix in _BESIDE[path.suffix]:
        part = path.with_suffix(suffix)
        if not part.is_file():
            raise FileNotFoundError(f"Found no exported explainer at {part}.")
        if part.stat().st_size > LARGEST:
            raise ValueError(f"{part} has {part.stat().st_size:,} bytes, the limit is {LARGEST:,}.")
        files[suffix] = torch.from_numpy(np.fromfile(part, dtype=np.uint8))
    entries = _described(files, source)
    if entries.pop("format", None) != FORMAT:
        raise ValueError(
            f"{source} has no description of an explainer: it was not written by fex-export. If it is a classifier, it "
            "is a black box: --black-box, fex.load_black_box."
        )
    try:
        meta = {key: json.loads(text) for key, text in entries.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The description in {source} is no JSON ({error}): export it again.") from error
    check_description(meta, source)
    if meta.get("kind") != "export" or meta.get("modality") is None:
        raise ValueError(f"The description in {source} is not that of an exported explainer: export it again.")
    return files, meta
