"""Writing what one pass of a trained explainer computes as a graph, and comparing the file with the network."""

import copy
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fex.black_box.openvino import openvino_core
from fex.export.reading import FORMAT, OUTPUTS, ExportedNet, read_export
from fex.storage.atomic import replacing

__all__ = ["EXPORTS", "export"]

# What no reader of a graph needs: how the network was built, and how it was trained.
_LEFT_OUT = ("kind", "net", "adapter_args", "training", "trust", "foresight")
_USE = (
    "inputs: pictures (B, 3, H, W), float32, RGB in [0, 1], not normalised, or token ids (B, L), int64; target: K "
    "classes of each (B, K), int64, -1 is the explainer's own likeliest class, -2 its next; scores: (B, K, N), of the "
    "features row by row of the grid; classes: (B, K); probabilities: the explainer's own, (B, C)"
)
TOLERANCE = 1e-4  # between file and network: scores of FEX and probabilities lie in [0, 1]


class _Pass(nn.Module):
    """One pass as a forward of tensors alone."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.net.explain_classes(inputs, target)


def _onnx(program: Any, meta: dict[str, str]) -> dict[str, bytes]:
    try:
        import onnxscript  # noqa: F401 torch's exporter stands on it
    except ImportError as error:
        raise ImportError('Writing ONNX needs onnx and onnxscript: pip install "fex-explain[onnx]".') from error
    names = {"input_names": ["inputs", "target"], "output_names": list(OUTPUTS)}
    written = torch.onnx.export(program, dynamo=True, verbose=False, optimize=True, **names)
    assert written is not None
    written.model.metadata_props.update(meta)
    return {".onnx": written.model_proto.SerializeToString()}


def _openvino(program: Any, meta: dict[str, str]) -> dict[str, bytes]:
    openvino_core()
    import openvino

    model = openvino.convert_model(program)
    for ports, names in ((model.inputs, ("inputs", "target")), (model.outputs, OUTPUTS)):
        for port, name in zip(ports, names, strict=True):
            port.get_tensor().set_names({name})
    for key, text in meta.items():
        model.set_rt_info(text, ["fex", key])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explainer.xml")
        openvino.save_model(model, path, compress_to_fp16=False)
        return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".bin", ".xml")}


def _pt2(program: Any, meta: dict[str, str]) -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"fex.json": json.dumps(meta)})
    return {".pt2": buffer.getvalue()}


EXPORTS: dict[str, Callable[[Any, dict[str, str]], dict[str, bytes]]] = {
    ".onnx": _onnx, ".xml": _openvino, ".pt2": _pt2
}  # fmt: skip


def _example(explainer: Any, rows: int) -> Tensor:
    """Inputs of an explainer, (rows, ...)."""
    if explainer.modality.name == "text":
        return explainer.tokenize(["some words" + " and more" * row for row in range(rows)])
    if explainer.modality.name == "image":
        mean = getattr(explainer.net.encoder, "mean", None)  # a value a channel
        shape = rows, 3 if mean is None else mean.shape[1], *explainer.preprocess.size
        return torch.rand(shape, generator=torch.Generator().manual_seed(rows))
    raise ValueError(f"Explainers of the modality {explainer.modality.name!r} cannot be exported, only image and text.")


def _traced(net: nn.Module, inputs: Tensor, longest: int) -> Any:
    """The pass over inputs of any number (of texts, any length up to `longest`) for any number of classes of each."""
    batch, classes = torch.export.Dim("batch", min=1), torch.export.Dim("classes", min=1)
    sides = {0: batch} if inputs.ndim == 4 else {0: batch, 1: torch.export.Dim("tokens", min=2, max=longest)}
    target = torch.tensor([[-1, -2, 0]]).expand(len(inputs), -1).contiguous()
    with torch.no_grad():
        program = torch.export.export(
            _Pass(net).eval(), (inputs, target), dynamic_shapes={"inputs": sides, "target": {0: batch, 1: classes}},
            strict=False,
        )  # fmt: skip
        return program.run_decompositions()


def _description(explainer: Any) -> dict[str, str]:
    plain = {key: value for key, value in explainer.meta.items() if key not in _LEFT_OUT and value is not None}
    plain.update(kind="export", modality=explainer.modality.name, preprocess=explainer.preprocess.to_dict())
    found = {**plain, "span": explainer.net.span, "use": _USE.replace(":", " -").replace("/", " ")}
    return {**{key: json.dumps(value) for key, value in found.items()}, "format": FORMAT}


def export(explainer: Any, path: str | Path) -> Path:
    """Writes a trained explainer as one graph of any batch size, and compares the file with the network.

    The graph takes `inputs` and `target` and gives `scores`, `classes` and `probabilities`, see
    `fex.nets.ClassMapNet.explain_classes`. Class names, preprocessing (of texts, the tokenizer), grid and all that
    results say of the explainer stand in the file's metadata, each as JSON.

    Args:
        explainer: trained, of images or texts; see `fex.load_explainer`.
        path: ends in .onnx, .xml (OpenVINO, which writes a .bin beside it) or .pt2 (`torch.export.load`).

    Returns:
        The path.

    Raises:
        ImportError: a package that writes or runs such files is not installed.
        TypeError: a method that explains by queries or gradients: there is no one graph of it.
        ValueError: another suffix; a network that is no one graph; a file that answers otherwise than the network.
    """
    path = Path(path)
    if path.suffix not in EXPORTS:
        raise ValueError(f"Cannot export to {path.name!r}: end the name in one of {', '.join(EXPORTS)}.")
    net: Any = getattr(explainer, "net", None)
    if not hasattr(net, "class_logits"):
        raise TypeError(
            f"{type(explainer).__name__} cannot be exported: only trained explainers (FEX, FastSHAP) are one graph, "
            "not methods that query their black box or take gradients of it, nor what was exported already."
        )
    net, inputs = copy.deepcopy(net).cpu(), _example(explainer, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about itself
            program = _traced(net, inputs, getattr(explainer.preprocess, "max_length", 0))
            files = EXPORTS[path.suffix](program, _description(explainer))
    except ImportError:
        raise
    except Exception as error:  # the exporters raise whatever comes
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        first = (str(root).strip().splitlines() or [""])[0]
        raise ValueError(
            f"The network of this explainer ({type(net.encoder).__name__}) cannot be written as one graph to "
            f"{path.suffix}: {type(root).__name__}: {first:.300}"
        ) from error
    for suffix, content in files.items():
        with replacing(path.with_suffix(suffix)) as part:
            part.write_bytes(content)
    _compare(path, program, net, _example(explainer, 3))
    return path


def _compare(path: Path, program: Any, net: Any, inputs: Tensor) -> None:
    """What was written must answer as the network does, for a batch of another size.

    Raises:
        ValueError: it does not.
    """
    target = torch.full((len(inputs), 1), -1)
    with torch.no_grad():
        expected = net.explain_classes(inputs, target)
        if path.suffix == ".pt2":
            found = program.module()(inputs, target)
        else:
            files, meta = read_export(path)
            found = ExportedNet(files, meta, net.features, str(path)).explain_classes(inputs, target)
    worst = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    if not worst <= TOLERANCE:
        raise ValueError(f"{path} answers otherwise than the network, by up to {worst:.2g}: do not use it.")
