import copy
import ctypes
import gc
import importlib.util
import pathlib
import pickle
import shutil
import sys

import pytest
import torch
from torch import nn

from fex.black_box import BlackBox, TorchBlackBox, check_probabilities, resolve_target
from fex.black_box.openvino import compile_openvino
from fex.images import Preprocess

SIZE = Preprocess(8, 8)


class Fixed(BlackBox):
    """Returns what `answer(inputs)` says."""

    def __init__(self, answer, **options):
        super().__init__(**{"num_classes": 2, "preprocess": SIZE, "name": "fixed", **options})
        self.answer, self.sizes = answer, []

    def _score(self, inputs):
        self.sizes.append(len(inputs))
        return self.answer(inputs)


def halves(inputs):
    return torch.full((len(inputs), 2), 0.5)


def network(classes=3):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, classes))


def test_chunks_count_and_order():
    def row(inputs):
        p = inputs[:, 0, 0, 0]
        return torch.stack([p, 1 - p], 1)

    box = Fixed(row, chunk=3)
    inputs = torch.rand(7, 3, 8, 8)
    assert torch.allclose(box(inputs)[:, 0], inputs[:, 0, 0, 0])
    assert box.sizes == [3, 3, 1]
    assert box.queries == 7
    box(inputs[:2])
    assert box.queries == 9


def test_zero_inputs():
    box = Fixed(halves)
    answer = box(torch.zeros(0, 3, 8, 8))
    assert answer.shape == (0, 2)
    assert answer.dtype == torch.float32
    assert box.queries == 0


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_memory_halves_the_chunk(error):
    def greedy(inputs):
        if len(inputs) > 2:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return halves(inputs)

    box = Fixed(greedy, chunk=16)
    assert box(torch.zeros(9, 3, 8, 8)).shape == (9, 2)
    assert box.chunk == 2
    assert box.sizes == [9, 4, 2, 2, 2, 2, 1]
    assert box.queries == 9


def test_memory_for_not_even_one():
    def hopeless(inputs):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Fixed(hopeless)(torch.zeros(4, 3, 8, 8))


def test_other_errors_pass():
    def broken(inputs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    box = Fixed(broken)
    with pytest.raises(RuntimeError, match="mat1"):
        box(torch.zeros(4, 3, 8, 8))
    assert box.sizes == [4]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[0.5, float("nan")], [0.5, 0.5]], r"'fixed' returned NaN or infinite scores for 1 of 2 inputs"),
        ([[0.5, float("inf")], [0.5, 0.5]], r"NaN or infinite scores for 1 of 2"),
        ([[0.3, 0.3, 0.4]] * 2, r"'fixed' returned shape \(2, 3\), expected \(2, 2\).*num_classes"),
        ([[0.5, 0.5]], r"shape \(1, 2\), expected \(2, 2\)"),
        ([[3.0, -1.0], [0.2, 0.8]], r"'fixed' returned values in \[-1, 3\].*look like logits"),
        ([[0.1, 0.1], [0.5, 0.5]], r"rows that sum to 0.2, expected 1.*multi_label"),
        ([[0.5, 0.55], [0.5, 0.5]], r"rows that sum to 1.05, expected 1 \(within 0.02\).*softmax.*multi_label.*sum"),
    ],
)
def test_refused_scores(answer, message):
    box = Fixed(lambda inputs: torch.tensor(answer))
    with pytest.raises(ValueError, match=message):
        box(torch.zeros(2, 3, 8, 8))
    assert box.queries == 2  # they were spent


def test_rounded_rows_pass():
    box = Fixed(lambda inputs: torch.tensor([[0.33, 0.66], [0.505, 0.51]]))
    assert torch.equal(box(torch.zeros(2, 3, 8, 8)), torch.tensor([[0.33, 0.66], [0.505, 0.51]]))


def test_multi_label_rows_need_not_sum_to_one():
    scores = torch.tensor([[0.9, 0.9], [0.0, 0.1]])
    assert torch.equal(check_probabilities(scores, rows=2, num_classes=2, name="x", multi_label=True), scores)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(3, 8, 8), r"shape \(3, 8, 8\).*expected \(B, 3, H, W\)"),
        (torch.zeros(1, 1, 8, 8), r"shape \(1, 1, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "type torch.uint8"),
        (torch.full((1, 3, 8, 8), -2.0), r"pixels in \[-2, -2\].*not normalised yet"),
        (torch.full((1, 3, 8, 8), 255.0), r"pixels in \[255, 255\]"),
        (torch.full((1, 3, 8, 8), float("nan")), r"pixels in \[nan, nan\]"),
    ],
)
def test_refused_inputs(inputs, message):
    box = Fixed(halves)
    with pytest.raises(ValueError, match=message):
        box(inputs)
    assert box.queries == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": None}, "needs class_names or num_classes"),
        ({"class_names": ["a"]}, "1 class_names and num_classes=2"),
        ({"num_classes": 0}, "Got num_classes=0, expected at least 1"),
        ({"chunk": 0}, "chunk=0"),
        ({"std": (1.0, 1.0, 0.0)}, "std > 0"),
    ],
)
def test_refused_settings(options, message):
    with pytest.raises(ValueError, match=message):
        Fixed(halves, **options)


def test_query_only_box_says_why_it_has_no_gradients():
    box = Fixed(halves)
    with pytest.raises(TypeError, match="'fixed' can only be queried.*RISE"):
        _ = box.module
    with pytest.raises(TypeError, match="can only be queried"):
        box.differentiable(torch.zeros(1, 3, 8, 8))


def test_torch_box_is_softmax_of_the_normalised_network():
    net = network().eval()
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    inputs = torch.rand(5, 3, 8, 8)
    by_hand = inputs.clone()
    for channel in range(3):
        by_hand[:, channel] = (inputs[:, channel] - mean[channel]) / std[channel]
    box = TorchBlackBox(net, num_classes=3, mean=mean, std=std, preprocess=SIZE)
    assert torch.allclose(box(inputs), net(by_hand).softmax(1), atol=1e-6)
    both = TorchBlackBox(net, num_classes=3, mean=mean, std=std, multi_label=True)
    assert torch.allclose(both(inputs), net(by_hand).sigmoid(), atol=1e-6)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"channels_last": True}])
def test_precision_and_memory_format_keep_the_answer(options):
    net = network().eval()
    inputs = torch.rand(5, 3, 8, 8)
    plain = TorchBlackBox(net, num_classes=3)(inputs)
    other = TorchBlackBox(copy.deepcopy(net), num_classes=3, **options)
    assert torch.allclose(other(inputs), plain, atol=2e-2)
    assert other(inputs).dtype == torch.float32
    if "precision" in options:
        assert not torch.equal(other(inputs), plain)


@pytest.mark.parametrize("fails", [False, True])
def test_torch_box_restores_modes_and_gradients(fails):
    net = network()
    net[1].eval()  # a mix, as of a frozen norm
    state = {name: value.clone() for name, value in net.state_dict().items()}
    box = TorchBlackBox(net, num_classes=3)
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append((torch.is_grad_enabled(), [m.training for m in net.modules()])))
    before = [m.training for m in net.modules()]
    if fails:
        with pytest.raises(RuntimeError):
            box(torch.rand(2, 3, 9, 9))
    else:
        box(torch.rand(2, 3, 8, 8))
    assert seen == [(False, [False] * len(before))]
    assert [m.training for m in net.modules()] == before
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_inputs_of_any_float_type(dtype):
    box = TorchBlackBox(network(), num_classes=3)
    inputs = torch.rand(2, 3, 8, 8).bfloat16()
    assert torch.equal(box(inputs.to(dtype)), box(inputs.float()))


def test_precision_is_the_boxs_own_under_a_trainers_autocast():
    box = TorchBlackBox(network(), num_classes=3)
    inputs = torch.rand(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = box(inputs)
    assert torch.equal(inside, box(inputs))


def test_answers_enter_autograd_later():
    box = TorchBlackBox(network(), num_classes=3)
    weight = torch.ones(3, requires_grad=True)
    (box(torch.rand(2, 3, 8, 8)) * weight).sum().backward()
    assert weight.grad is not None


def test_differentiable_has_gradients_and_costs_no_query():
    box = TorchBlackBox(network(), num_classes=3)
    inputs = torch.rand(2, 3, 8, 8, requires_grad=True)
    logits = box.differentiable(inputs)
    logits[:, 0].sum().backward()
    assert inputs.grad.abs().sum() > 0
    assert torch.allclose(logits.softmax(1), box(inputs.detach()), atol=1e-6)
    assert box.queries == 2


def test_torch_box_stays_on_its_networks_device():
    assert TorchBlackBox(network().to("meta"), num_classes=3).device.type == "meta"


def test_to_moves_the_network():
    box = TorchBlackBox(network(), num_classes=3).to("meta")
    assert next(box.module.parameters()).device.type == "meta"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda box: pickle.loads(pickle.dumps(box))])
def test_copies_answer_alike(copied):
    box = TorchBlackBox(network(), num_classes=3, precision="bf16", channels_last=True)
    inputs = torch.rand(2, 3, 8, 8)
    other = copied(box)
    assert torch.equal(other(inputs), box(inputs))
    assert other.module is not box.module


def test_unknown_precision():
    with pytest.raises(ValueError, match="'half', expected one of"):
        TorchBlackBox(network(), num_classes=3, precision="half")


def test_targets():
    probabilities = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    assert resolve_target(None, probabilities).tolist() == [1, 0]
    assert resolve_target(1, probabilities).tolist() == [1, 1]
    assert resolve_target(torch.tensor([0, 1]), probabilities).tolist() == [0, 1]
    with pytest.raises(ValueError, match="outside the 2 classes"):
        resolve_target(2, probabilities)
    with pytest.raises(ValueError, match="3 targets for 2 inputs"):
        resolve_target(torch.tensor([0, 1, 1]), probabilities)


COMPILERS = [
    pytest.param(
        True, marks=pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
    ),
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"),
    ),
]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiled_scores_are_the_scores(compiler):
    torch.manual_seed(0)
    net = network().train()
    for _ in range(3):
        net(torch.rand(8, 3, 8, 8))  # running statistics of its own: the compiler folds them into the convolution
    plain, compiled = (TorchBlackBox(copy.deepcopy(net), num_classes=3, preprocess=SIZE, chunk=4) for _ in range(2))
    compiled.compile = compiler
    inputs = torch.rand(10, 3, 8, 8)
    torch.testing.assert_close(compiled(inputs), plain(inputs))  # two full chunks and a ragged one
    assert compiled._compiled is not None
    assert compiled.queries == 10
    assert compiled.module.training

    copied = copy.deepcopy(compiled)  # compiled constants stay behind, so that the copy may be changed
    with torch.no_grad():
        copied.module[4].bias.add_(torch.tensor([5.0, 0.0, 0.0]))
    assert (copied(inputs)[:, 0] > compiled(inputs)[:, 0]).all()
    logits = compiled.differentiable(inputs.requires_grad_())
    assert torch.autograd.grad(logits.sum(), inputs)[0].abs().sum() > 0


def test_unknown_compiler():
    with pytest.raises(ValueError, match="expected True, False, 'openvino' or 'auto'"):
        TorchBlackBox(network(), num_classes=3, compile="onnx")


class _SignalStack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def _signal_stack():
    stack = _SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.address


@pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"
)
def test_openvino_leaves_no_signal_stack_that_is_gone():
    boxes = [TorchBlackBox(network(), num_classes=3, preprocess=SIZE, chunk=4, compile="openvino") for _ in range(2)]
    stacks = []
    for box in boxes:
        box(torch.rand(4, 3, 8, 8))
        stacks.append(_signal_stack())
    while boxes:  # in the order in which they came
        del boxes[0]
        gc.collect()
        stacks.append(_signal_stack())
    assert len(set(stacks)) == 1
    if stacks[0]:
        maps = [line.split()[0].split("-") for line in pathlib.Path("/proc/self/maps").read_text().splitlines()]
        assert any(int(start, 16) <= stacks[0] < int(end, 16) for start, end in maps)


def test_openvino_where_it_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModuleNotFoundError, match="pip install openvino"):
        TorchBlackBox(network(), num_classes=3, preprocess=SIZE, chunk=4, compile="openvino")(torch.rand(4, 3, 8, 8))
    with pytest.raises(ValueError, match="this one is on meta"):
        compile_openvino(network(), network(), torch.empty(4, 3, 8, 8, device="meta"), "fp32")
