"""Networks and functions at hand."""

import logging

import pytest
import timm
import torch
from torch import nn

import fex
from fex.black_box import CallableBlackBox, TextCallableBlackBox, TorchBlackBox
from fex.errors import warn_once
from fex.images import Preprocess

GEOMETRY = {"preprocess": {"height": 16, "width": 12}, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


@pytest.fixture
def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def normalised(inputs):
    return (inputs - torch.tensor(GEOMETRY["mean"]).view(3, 1, 1)) / torch.tensor(GEOMETRY["std"]).view(3, 1, 1)


def test_a_network_is_asked_about_normalised_pictures_and_its_classes_are_counted(net):
    net.train()
    box = fex.load_black_box(net, **GEOMETRY)
    assert isinstance(box, TorchBlackBox)
    assert box.num_classes == 3
    assert box.preprocess == Preprocess(16, 12)
    assert net.training
    inputs = torch.rand(4, 3, 16, 12)
    torch.testing.assert_close(box(inputs), net.eval()(normalised(inputs)).softmax(1).detach())
    assert fex.load_black_box(net, class_names=["a", "b", "c"], **GEOMETRY).class_names == ["a", "b", "c"]
    with pytest.raises(ValueError, match="Got 2 class_names and num_classes=3"):
        fex.load_black_box(net, class_names=["a", "b"], **GEOMETRY)


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_of_a_network_stay_what_they_are(net, multi_label):
    ending = nn.Sigmoid() if multi_label else nn.Softmax(1)
    whole = nn.Sequential(net, ending).eval()
    box = fex.load_black_box(whole, outputs="probabilities", multi_label=multi_label, **GEOMETRY)
    inputs = torch.rand(4, 3, 16, 12)
    torch.testing.assert_close(box(inputs), whole(normalised(inputs)).detach(), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="set outputs='logits'"):
        fex.load_black_box(net, outputs="probabilities", **GEOMETRY)(inputs)


def test_a_network_of_timm_says_how_its_pictures_are_prepared_and_others_are_warned_of(net, caplog):
    own = timm.create_model("test_resnet", num_classes=5)
    with caplog.at_level(logging.WARNING):
        box = fex.load_black_box(own)
    assert not caplog.records
    assert (box.num_classes, box.preprocess.size) == (5, own.pretrained_cfg["input_size"][1:])
    assert list(box.mean) == pytest.approx(list(own.pretrained_cfg["mean"]))
    with caplog.at_level(logging.WARNING):
        fex.load_black_box(net, preprocess=GEOMETRY["preprocess"])
    assert "mean, std of Sequential" in caplog.text


def test_functions_of_pictures_and_of_texts():
    box = fex.load_black_box(lambda x: torch.full((len(x), 2), 0.5), class_names=["no", "yes"])
    assert isinstance(box, CallableBlackBox)
    assert box(torch.zeros(2, 3, 8, 8)).tolist() == [[0.5, 0.5]] * 2


def test_a_function_of_texts(tmp_path):
    from tests.texts.tiny import text_folder

    folder = text_folder(tmp_path)
    box = fex.load_black_box(lambda texts: [[0.2, 0.8] for _ in texts], tokenizer=folder, num_classes=2)
    assert isinstance(box, TextCallableBlackBox)
    assert box(box.tokenize(["a gem"])).tolist() == [[pytest.approx(0.2), pytest.approx(0.8)]]


def test_what_is_neither_is_refused(net):
    with pytest.raises(TypeError, match="expected a name, a path, a network or a function"):
        fex.load_black_box(3)
    with pytest.raises(ValueError, match=r"expected fex.images.Preprocess"):
        fex.load_black_box(net, preprocess=lambda x: x)
    with pytest.raises(ValueError, match="set `preprocess` to the size"):
        fex.load_black_box(nn.Linear(4, 2), **GEOMETRY)


@pytest.mark.parametrize(
    ("mean", "std"),
    [((123.0, 116.0, 103.0), (58.0, 57.0, 57.0)), (127.5, 127.5), (128.0, 1.0), (0.0, 255.0), (0.5, float("nan"))],
)
def test_mean_and_std_of_pixels_up_to_255_are_refused(net, mean, std):
    with pytest.raises(ValueError, match=r"of pixels in \[0, 1\]: divide them by 255|std > 0"):
        fex.load_black_box(net, preprocess=GEOMETRY["preprocess"], mean=mean, std=std)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.5), (0.0, 1 / 255), (123 / 255, 1 / 255), (-1.0, 2.0)])
def test_mean_and_std_of_other_ranges_are_taken(net, mean, std):
    assert fex.load_black_box(net, preprocess=GEOMETRY["preprocess"], mean=mean, std=std).std == (std,) * 3


class Answers(nn.Module):
    """Returns what a function makes of the logits (B, 3)."""

    def __init__(self, change):
        super().__init__()
        self.linear, self.change = nn.Linear(3, 3), change

    def forward(self, x):
        return self.change(self.linear(x.mean((2, 3))))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda z: None, "returned a NoneType without a tensor of logits"),
        (lambda z: z.sum(), "returned a single number, expected"),
        (lambda z: z.T, r"returned shape \(3, 1\) for one picture .*expected \(1, C\)"),
        (lambda z: z[:, :, None].expand(-1, -1, 7), r"returned shape \(1, 3, 7\) for one picture"),
    ],
)
@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_what_is_no_table_of_scores_is_a_sentence(change, told, outputs):
    with pytest.raises(ValueError, match=told):
        fex.load_black_box(Answers(change), outputs=outputs, **GEOMETRY)
    box = fex.load_black_box(Answers(change), class_names=list("abc"), num_classes=3, outputs=outputs, **GEOMETRY)
    told = r"NoneType|single number|\(3, 2\), .*transposed|\(2, 3, 7\)|rows do not sum"
    with pytest.raises(ValueError, match=told):
        box(torch.rand(2, 3, 8, 8))


def test_of_several_tables_of_scores_the_first_is_taken_and_told_once(caplog):
    warn_once.cache_clear()
    box = fex.load_black_box(Answers(lambda z: (z, z.flip(1), z.exp()[:, :2])), name="twin", **GEOMETRY)
    inputs = torch.rand(2, 3, 8, 8)
    shown = normalised(inputs).mean((2, 3))
    torch.testing.assert_close(box(inputs), box.module.linear(shown).softmax(1).detach())
    box(inputs[:1])
    told = [record.getMessage() for record in caplog.records if "'twin'" in record.getMessage()]
    assert len(told) == 1
    assert "3 arrays of shapes (B, 3), (B, 3), (B, 2), several of which fit" in told[0]
    one = fex.load_black_box(Answers(lambda z: (z, z[0])), name="one", num_classes=3, **GEOMETRY)
    one(inputs)
    assert "'one'" not in caplog.text


def test_the_own_names_of_a_model_in_another_order_are_refused(net):
    net.config = type("Config", (), {"id2label": {0: "cat", 1: "dog", 2: "owl"}})()
    assert fex.load_black_box(net, **GEOMETRY).class_names == ["cat", "dog", "owl"]
    assert fex.load_black_box(net, class_names=["Katze", "Hund", "cat"], **GEOMETRY).class_names[1] == "Hund"
    with pytest.raises(ValueError, match="own names in another order: its scores are those of cat, dog, owl"):
        fex.load_black_box(net, class_names=["dog", "Cat", "owl"], **GEOMETRY)
