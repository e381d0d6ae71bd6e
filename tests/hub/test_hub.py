"""An explainer goes to a hub and comes back, with a card; without the hub, from its cache."""

import hashlib
import json

import pytest
import torch
import yaml
from huggingface_hub import constants

import fex
from fex.hub import fetch, model_card, push
from fex.hub.repository import FILE
from tests.explainers.tiny import tiny_box, tiny_explainer, write_checkpoint
from tests.hub.fake import COMMIT, hub

REPORT = {
    "rows": [
        {
            "method": "FEX",
            "protocol": "fex",
            "metric": "positive_auc",
            "value": 0.2331,
            "ci95": [0.224, 0.243],
            "n": 99,
        },
        {"method": "RISE", "protocol": "fex", "metric": "positive_auc", "value": 0.9, "ci95": None, "n": 99},
        {"method": "FEX", "protocol": "seg", "metric": None, "value": None, "n": 0, "error": "no masks"},
    ]
}


@pytest.fixture
def checkpoint(tmp_path):
    training = {"queries": 12345, "seconds": 60.0}
    return write_checkpoint(tmp_path / "x.ckpt", training=training, agreement={"share": 0.9, "inputs": 100})


@pytest.fixture
def online(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server


def test_it_goes_there_and_comes_back(checkpoint, online, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    explainer = fex.load_explainer(checkpoint)
    address = explainer.push_to_hub("me/mine", data="20 squares", license="apache-2.0", report=tmp_path / "report.json")
    assert address.endswith(COMMIT)
    assert set(online.files) == {FILE, "README.md"}
    again = fex.load_explainer("hf://me/mine")
    inputs = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(
        again.attribute(inputs, 1), explainer.attribute(inputs, 1), atol=0.02, rtol=0
    )  # bfloat16
    assert (again.class_names, again.agreement.inputs) == (explainer.class_names, 100)
    card = online.files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["license"], front["library_name"]) == ("apache-2.0", "fex")
    for fact in ("| toy |", "| 20 squares |", "| mean |", "4 x 4 patches", "12,345", "90 % of 100 held-out inputs"):
        assert fact in card
    assert hashlib.sha256(online.files[FILE]).hexdigest() in card
    assert "| fex | positive_auc | 0.233 [0.224, 0.243] | 99 |" in card
    assert "0.900" not in card


def test_from_a_cache_no_hub_is_asked(checkpoint, tmp_path, monkeypatch):
    """The layout in which `huggingface_hub` keeps what it has fetched."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "models--me--mine"
    (kept / "snapshots" / COMMIT).mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    fex.explainers.export_explainer(checkpoint, kept / "snapshots" / COMMIT / FILE)
    assert fex.load_explainer("hf://me/mine").method == "FEX"
    assert fetch(f"hf://me/mine@{COMMIT}").name == FILE
    with pytest.raises(ConnectionError, match=r"not in its cache"):
        fetch("hf://me/other")


def test_what_is_not_there_is_told(checkpoint, online, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no explainer at hf://me/mine"):
        fetch("hf://me/mine")
    with pytest.raises(FileNotFoundError, match=r"no explainer at hf://me/none"):
        fetch("hf://me/none")
    with pytest.raises(ValueError, match=r"expected hf://owner/name"):
        fetch("hf://mine")
    online.files[FILE] = b"PK\x03\x04 no explainer"
    with pytest.raises(ValueError, match=r"no safetensors file"):
        fex.load_explainer("hf://me/mine")
    monkeypatch.setattr("fex.hub.repository.LARGEST", 3)
    with pytest.raises(ValueError, match=r"the limit is 3"):
        fetch("hf://me/mine")


def test_a_branch_is_made_and_a_hub_that_is_not_there_is_told(checkpoint, online, monkeypatch):
    push(checkpoint, "me/mine", revision="v2")
    asked = [path for path, _ in online.asked]
    assert [path for path in asked if path.endswith(("/branch/v2", "/commit/v2"))] == [
        "/api/models/me/mine/branch/v2", "/api/models/me/mine/commit/v2"
    ]  # fmt: skip
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(ConnectionError, match="did not take me/mine"):
        push(checkpoint, "me/mine")
    with pytest.raises(ValueError, match=r"me/a\.\.b"):
        push(checkpoint, "me/a..b")


def test_what_has_no_file_cannot_be_pushed(tmp_path):
    with pytest.raises(ValueError, match=r"made in memory has no weights"):
        tiny_explainer().push_to_hub("me/mine")
    with pytest.raises(ValueError, match=r"explainer.onnx has no weights"):
        push("explainer.onnx", "me/mine")
    with pytest.raises(ValueError, match=r"expected owner/name"):
        push(write_checkpoint(tmp_path / "x.ckpt"), "mine")


def test_a_card_of_little_says_so(tmp_path):
    card = model_card({**tiny_explainer().meta, "removal": "a|b\n<c>"}, "me/mine", digest="0")
    for fact in ("Not scored yet", "was not measured", "not said", "not known", "a\\|b\ufffd&lt;c>"):
        assert fact in card
    digest = tiny_box().digest()
    card = model_card({**tiny_explainer().meta, "black_box_sha256": digest}, "me/mine", digest="0")
    assert f"| SHA-256 of the black box | {digest} " in card
    (tmp_path / "report.json").write_text(json.dumps({"rows": REPORT["rows"][1:2]}))
    with pytest.raises(ValueError, match=r"no scores of a method named 'FEX', only of: RISE"):
        model_card(tiny_explainer().meta, "me/mine", digest="0", report=tmp_path / "report.json")
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(ValueError, match=r"is no report.json"):
        model_card(tiny_explainer().meta, "me/mine", digest="0", report=tmp_path / "report.json")
