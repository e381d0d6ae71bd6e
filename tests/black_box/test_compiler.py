"""`compile: auto`: OpenVINO on a CPU where it is installed, nothing elsewhere, and told in one line."""

import importlib.util
import logging

import pytest
import torch
import yaml
from torch import nn

from fex.benchmark.report.lines import headline
from fex.benchmark.settings import plain_settings
from fex.black_box import CachedBlackBox, CallableBlackBox, TorchBlackBox
from fex.black_box import network as network_module
from fex.black_box.compiler import tell_compiler, told_compiler
from fex.errors import warn_once
from fex.images import Preprocess
from fex.storage.resources import resource_dir
from tests.black_box.test_base import network

SIZE = Preprocess(8, 8)
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")


def box_of(net=None, **options):
    return TorchBlackBox(net or network(), num_classes=3, preprocess=SIZE, chunk=4, name="toy", **options)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(network_module, "has_openvino", lambda: True)


def test_it_is_openvino_on_a_cpu_where_there_is_one(installed, monkeypatch):
    box = box_of(compile="auto")
    assert box.compiler == CachedBlackBox(box).compiler == "openvino"
    box.device = torch.device("meta")
    assert box.compiler == ""
    box.device = torch.device("cpu")
    monkeypatch.setattr(network_module, "has_openvino", lambda: False)
    assert box.compiler == ""
    inputs = torch.rand(4, 3, 8, 8)
    assert torch.equal(box(inputs), box_of(box.module)(inputs))
    assert box._compiled is None


def test_what_was_asked_for_is_what_it_is():
    kinds = {False: "", True: "torch", "openvino": "openvino"}
    assert {key: box_of(compile=key).compiler for key in kinds} == kinds
    assert CallableBlackBox(lambda x: x.mean((2, 3)).softmax(1), num_classes=3, preprocess=SIZE).compiler == ""


@needs_openvino
def test_full_chunks_go_through_it():
    box = box_of(compile="auto")
    plain = box_of(box.module)
    inputs = torch.rand(6, 3, 8, 8)
    torch.testing.assert_close(box(inputs), plain(inputs))
    assert box._compiled is not None
    with box.bare():
        assert box.compiler == ""
        assert torch.equal(box(inputs), plain(inputs))


def test_a_network_that_it_does_not_take_answers_as_it_is(installed, monkeypatch, caplog):
    def refuses(*_):
        raise RuntimeError("no such operation\nmore of it")

    monkeypatch.setattr(network_module, "compile_openvino", refuses)
    warn_once.cache_clear()
    box, inputs = box_of(compile="auto"), torch.rand(8, 3, 8, 8)
    with caplog.at_level(logging.WARNING, "fex"):
        assert torch.equal(box(inputs), box_of(box.module)(inputs))
    assert [record.getMessage() for record in caplog.records] == [
        "Black box 'toy' is not compiled: OpenVINO does not take its network (no such operation)."
    ]
    assert box.compiler == ""
    with pytest.raises(RuntimeError, match="no such operation"):
        box_of(box.module, compile="openvino")(inputs)


def test_it_is_told_in_one_line_and_in_reports(installed, capsys):
    assert told_compiler(box_of()) == ""
    tell_compiler(box_of())
    assert capsys.readouterr().err == ""
    tell_compiler(box_of(compile="auto"))
    assert capsys.readouterr().err == "black box toy: full chunks of 4 inputs go through openvino\n"
    report = {"data": "D", "seed": 0, "device": "cpu", "threads": 1, "compiler": "openvino", "versions": {}}
    assert "1 threads, black box compiled by openvino" in headline(report)
    assert "compiled" not in headline({**report, "compiler": ""})


def test_it_is_no_setting_of_results(installed):
    """Answers differ by rounding alone, so that what is kept goes on with or without it."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    assert plain_settings(box_of(net, compile="auto")) == plain_settings(box_of(net))


# A ViT-B, in chunks for a GPU; a BLSTM, of which nobody has measured that it gains.
AS_THEY_ARE = {"fex_authors_vit_imagenet", "fex_paper_vit_imagenet", "vit_imagenet", "dax_sound_blstm"}


@pytest.mark.parametrize("path", sorted(resource_dir("configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_small_boxes_of_shipped_configs_have_it(path):
    def boxes(spec):
        if isinstance(spec, dict):
            if spec.get("class_path") == "fex.black_box.TimmBlackBox":
                yield spec["init_args"]
            for part in spec.values():
                yield from boxes(part)

    for found in boxes(yaml.safe_load(path.read_text())):
        assert found.get("compile") == (None if path.stem in AS_THEY_ARE else "auto")
