import copy
import pickle

import pytest
import torch

from fex.black_box import CallableBlackBox
from tests.black_box.functions import brightness

PATH = "tests.black_box.functions:brightness"


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy(), lambda x: x.tolist()])
def test_tensor_array_or_list(convert):
    box = CallableBlackBox(lambda inputs: convert(brightness(inputs)), class_names=["dark", "bright"])
    inputs = torch.rand(3, 3, 4, 4)
    assert torch.allclose(box(inputs), brightness(inputs), atol=1e-6)
    assert box.class_names == ["dark", "bright"]


def test_import_path():
    box = CallableBlackBox(PATH, num_classes=2)
    assert box.name == PATH
    assert torch.allclose(box(torch.ones(1, 3, 4, 4)), torch.tensor([[0.0, 1.0]]))


def test_module_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_own_classifier.py").write_text("def predict(x):\n    return [[0.25, 0.75]] * len(x)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    box = CallableBlackBox("my_own_classifier:predict", num_classes=2)
    assert box(torch.zeros(2, 3, 4, 4)).tolist() == [[0.25, 0.75]] * 2


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("brightness", ValueError, "expected 'package.module:function'"),
        ("no_such_module:f", ImportError, "No module named 'no_such_module'"),
        ("tests.black_box.functions:dimness", ImportError, "has no attribute 'dimness'"),
        ("tests.black_box.functions:NOT_A_FUNCTION", TypeError, "is a int, expected a function"),
        (3, TypeError, "got a int"),
    ],
)
def test_refused_functions(path, error, message):
    with pytest.raises(error, match=message):
        CallableBlackBox(path, num_classes=2)


def test_logits():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    box = CallableBlackBox(lambda x: logits, num_classes=3, outputs="logits")
    assert torch.allclose(box(torch.zeros(1, 3, 4, 4)), logits.softmax(1))
    both = CallableBlackBox(lambda x: logits, num_classes=3, outputs="logits", multi_label=True)
    assert torch.allclose(both(torch.zeros(1, 3, 4, 4)), logits.sigmoid())


def test_probabilities_that_are_said_to_be_logits():
    box = CallableBlackBox(brightness, num_classes=2, outputs="logits")
    with pytest.raises(ValueError, match="'brightness' was said to return logits.*`outputs: probabilities`"):
        box(torch.rand(2, 3, 4, 4))


def test_unknown_outputs():
    with pytest.raises(ValueError, match="outputs='scores'"):
        CallableBlackBox(brightness, num_classes=2, outputs="scores")


@pytest.mark.parametrize("answer", [None, "text", [[0.5, 0.5], [1.0]]])
def test_refused_answers(answer):
    box = CallableBlackBox(lambda x: answer, num_classes=2, name="odd")
    with pytest.raises(ValueError, match=r"'odd' returned a \w+ that is no table of numbers.*\(2, 2\)"):
        box(torch.zeros(2, 3, 4, 4))


def test_function_may_work_in_place():
    def careless(inputs):
        inputs.zero_()
        return brightness(inputs)

    inputs = torch.ones(2, 3, 4, 4)
    CallableBlackBox(careless, num_classes=2)(inputs)
    assert inputs.min() == 1


@pytest.mark.parametrize("function", [PATH, brightness])
def test_copies(function):
    box = CallableBlackBox(function, num_classes=2)
    inputs = torch.rand(2, 3, 4, 4)
    for other in (copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert torch.equal(other(inputs), box(inputs))


def test_a_function_that_raises_is_named():
    def broken(inputs):
        raise KeyError("weights")

    with pytest.raises(RuntimeError, match=r"'broken' raised KeyError: 'weights', on inputs of shape \(2, 3, 8, 8\)"):
        CallableBlackBox(broken, num_classes=2)(torch.zeros(2, 3, 8, 8))


def test_a_function_out_of_memory_gets_smaller_chunks():
    seen = []

    def narrow(inputs):
        seen.append(len(inputs))
        if len(inputs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.full((len(inputs), 2), 0.5)

    assert CallableBlackBox(narrow, num_classes=2)(torch.zeros(2, 3, 8, 8)).shape == (2, 2)
    assert seen[0] == 2


@pytest.mark.parametrize("count", [0, -3])
def test_the_number_of_classes_is_told_as_it_was_given(count):
    with pytest.raises(ValueError, match=f"Got num_classes={count}, expected at least 1"):
        CallableBlackBox(len, num_classes=count)
