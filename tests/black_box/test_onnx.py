import copy
import pickle
import sys

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from fex.black_box import OnnxBlackBox
from fex.images import Preprocess

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def export(network, path, *, batch=2, dynamic=True):
    torch.onnx.export(
        network,
        (torch.zeros(batch, 3, 8, 10),),
        str(path),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},) if dynamic else None,
    )
    return path


@pytest.fixture(scope="module")
def dynamic(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("onnx") / "dynamic.onnx")


@pytest.fixture(scope="module")
def fixed(network, tmp_path_factory):
    return export(network, tmp_path_factory.mktemp("onnx") / "fixed.onnx", batch=4, dynamic=False)


def graph(path, input_shape, output_shape, *, element=TensorProto.FLOAT, axes=(2, 3), outputs=1):
    """Means over `axes`: a graph of any signature without a network."""
    out = [helper.make_tensor_value_info(f"out{i}", element, output_shape) for i in range(outputs)]
    constant = helper.make_tensor("axes", TensorProto.INT64, [len(axes)], list(axes))
    nodes = [helper.make_node("ReduceMean", ["image", "axes"], [item.name], keepdims=0) for item in out]
    image = helper.make_tensor_value_info("image", element, input_shape)
    made = helper.make_graph([*nodes], "g", [image], out, [constant])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def expected(network, inputs):
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        return network((inputs - mean) / std).softmax(1)


@pytest.mark.parametrize("count", [1, 4, 5, 9])
@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_agrees_with_torch(network, kind, count, request):
    box = OnnxBlackBox(request.getfixturevalue(kind), outputs="logits", mean=MEAN, std=STD, chunk=6, threads=1)
    inputs = torch.rand(count, 3, 8, 10)
    assert torch.allclose(box(inputs), expected(network, inputs), atol=1e-5)
    assert box.queries == count


def test_metadata_comes_from_the_graph(dynamic):
    box = OnnxBlackBox(dynamic, outputs="logits")
    assert box.preprocess == Preprocess(8, 10)
    assert (box.num_classes, box.name) == (3, "dynamic")
    assert OnnxBlackBox(dynamic, class_names=["a", "b", "c"]).class_names == ["a", "b", "c"]
    with pytest.raises(ValueError, match="has 3 classes, got 2"):
        OnnxBlackBox(dynamic, num_classes=2)


def test_logits_are_refused_by_name(dynamic):
    with pytest.raises(ValueError, match="'dynamic' returned .*logits"):
        OnnxBlackBox(dynamic)(torch.rand(2, 3, 8, 10))


def test_probabilities_and_own_normalisation(tmp_path):
    path = graph(tmp_path / "mean.onnx", ["b", 3, 4, 4], ["b", 3])
    inputs = torch.rand(2, 3, 4, 4)
    box = OnnxBlackBox(path, normalise=False, multi_label=True)
    assert torch.allclose(box(inputs), inputs.mean((2, 3)), atol=1e-6)


def test_channels_last_graph(tmp_path):
    path = graph(tmp_path / "nhwc.onnx", ["b", 4, 5, 3], ["b", 3], axes=(1, 2))
    box = OnnxBlackBox(path, normalise=False, multi_label=True)
    inputs = torch.rand(2, 3, 4, 5)
    assert box.preprocess.size == (4, 5)
    assert torch.allclose(box(inputs), inputs.mean((2, 3)), atol=1e-6)


def test_half_precision_graph(tmp_path):
    path = graph(tmp_path / "half.onnx", ["b", 3, 4, 4], ["b", 3], element=TensorProto.FLOAT16)
    inputs = torch.rand(2, 3, 4, 4)
    answer = OnnxBlackBox(path, normalise=False, multi_label=True)(inputs)
    assert answer.dtype == torch.float32
    assert torch.allclose(answer, inputs.mean((2, 3)), atol=2e-3)


def test_several_outputs(tmp_path):
    path = graph(tmp_path / "two.onnx", ["b", 3, 4, 4], ["b", 3], outputs=2)
    with pytest.raises(ValueError, match=r"outputs \['out0', 'out1'\]: say which by output_name"):
        OnnxBlackBox(path)
    with pytest.raises(ValueError, match=r"no output 'x'; it has \['out0', 'out1'\]"):
        OnnxBlackBox(path, output_name="x")
    assert OnnxBlackBox(path, output_name="out1").num_classes == 3


def zipmap(path, labels):
    """A label and, by class, the mean of each colour: what scikit-learn's classifiers are exported as."""
    kind = {"classlabels_strings" if isinstance(labels[0], str) else "classlabels_int64s": labels}
    made = graph(path, ["b", 3, 4, 4], ["b", 3])
    model = onnx.load(str(made))
    model.graph.node.append(helper.make_node("ArgMax", ["out0"], ["label"], axis=1, keepdims=0))
    model.graph.node.append(helper.make_node("ZipMap", ["out0"], ["zipped"], domain="ai.onnx.ml", **kind))
    key = TensorProto.STRING if isinstance(labels[0], str) else TensorProto.INT64
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    rows = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["b"]))
    model.graph.output.append(helper.make_value_info("zipped", rows))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("labels", "names", "order"),
    [
        ([0, 1, 2], None, [0, 1, 2]),
        ([1, 2, 3], ["r", "g", "b"], [0, 1, 2]),
        (["r", "g", "b"], ["b", "r", "g"], [2, 0, 1]),
    ],
)
def test_scores_by_class(labels, names, order, tmp_path):
    path = zipmap(tmp_path / "zip.onnx", labels)
    box = OnnxBlackBox(path, class_names=names, num_classes=3, normalise=False, multi_label=True)
    inputs = torch.rand(2, 3, 4, 4)
    assert torch.allclose(box(inputs), inputs.mean((2, 3))[:, order], atol=1e-6)


def test_scores_by_other_names(tmp_path):
    path = zipmap(tmp_path / "zip.onnx", ["r", "g", "b"])
    with pytest.raises(ValueError, match=r"names \['b', 'g', 'r'\], got class_names \['0', '1', '2'\]"):
        OnnxBlackBox(path, num_classes=3, normalise=False, multi_label=True)(torch.rand(2, 3, 4, 4))


def test_one_score(tmp_path):
    path = graph(tmp_path / "one.onnx", ["b", 3, 4, 4], ["b", 1], axes=(2, 3))
    model = onnx.load(str(path))
    model.graph.node.append(helper.make_node("ReduceMean", ["out0", "one"], ["p"], keepdims=1))
    model.graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, ["b", 1]))
    onnx.save(model, str(path))
    inputs = torch.rand(2, 3, 4, 4)
    box = OnnxBlackBox(path, class_names=["no", "yes"], normalise=False)
    assert torch.allclose(box(inputs)[:, 1], inputs.mean((1, 2, 3)), atol=1e-6)
    assert OnnxBlackBox(path, normalise=False).class_names == ["0", "1"]


def test_free_number_of_classes(tmp_path):
    path = graph(tmp_path / "free.onnx", ["b", 3, "h", "w"], ["b", "w"], axes=(1, 2))
    with pytest.raises(ValueError, match="leaves its number of classes free: set num_classes"):
        OnnxBlackBox(path)
    box = OnnxBlackBox(path, num_classes=7, normalise=False, multi_label=True)
    assert box.preprocess == Preprocess()
    assert box(torch.rand(1, 3, 6, 7)).shape == (1, 7)


@pytest.mark.parametrize(
    ("shape", "element"),
    [(["b", 4], TensorProto.FLOAT), (["b", 5, 4, 4], TensorProto.FLOAT), (["b", 3, 4, 4], TensorProto.INT32)],
)
def test_graph_that_takes_no_images(tmp_path, shape, element):
    path = graph(tmp_path / "odd.onnx", shape, None, element=element, axes=(1,))
    with pytest.raises(ValueError, match="expected one float input .*CallableBlackBox"):
        OnnxBlackBox(path)


def test_wrong_size(dynamic):
    with pytest.raises(ValueError, match="H = 9, its graph takes 8 pixels"):
        OnnxBlackBox(dynamic, outputs="logits")(torch.rand(1, 3, 9, 10))


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        OnnxBlackBox(tmp_path / "none.onnx")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(ValueError, match="cannot open .*garbage.onnx"):
        OnnxBlackBox(tmp_path / "garbage.onnx")


def test_missing_extra(dynamic, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "fex-explain\[onnx\]"'):
        OnnxBlackBox(dynamic)


def test_threads(dynamic, monkeypatch):
    opened = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: opened.append(a[1]) or session(*a, **k))
    OnnxBlackBox(dynamic, threads=1)
    assert opened[0].intra_op_num_threads == 1
    with pytest.raises(ValueError, match="threads=0"):
        OnnxBlackBox(dynamic, threads=0)


def test_copies(dynamic):
    box = OnnxBlackBox(dynamic, outputs="logits")
    inputs = torch.rand(2, 3, 8, 10)
    for other in (copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert torch.equal(other(inputs), box(inputs))
