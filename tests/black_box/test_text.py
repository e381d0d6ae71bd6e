"""Text classifiers as black boxes."""

import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from fex.black_box import TextBlackBox, TextCallableBlackBox, load_black_box
from fex.nets import TextEncoder
from fex.texts.backbone import load_text_net, save_text_black_box
from tests.texts.architectures import architecture_folder, tokenizer_of
from tests.texts.tiny import SENTENCES, text_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return text_folder(tmp_path_factory.mktemp("net"), num_classes=3)


def test_probabilities_are_those_of_the_library(folder):
    box = load_black_box(folder, chunk=2)
    assert isinstance(box, TextBlackBox)
    assert box.class_names == ["LABEL_0", "LABEL_1", "LABEL_2"]
    net = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = box.tokenize(SENTENCES)
    for row, text in enumerate(SENTENCES):
        ids = box.preprocess(text).ids[None]
        expected = net(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.softmax(1)
        torch.testing.assert_close(box(inputs)[row : row + 1], expected.detach(), atol=1e-5, rtol=1e-4)
    assert box.queries == 16
    pair = box.preprocess(("a gem", "a mess")).ids[None]
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    torch.testing.assert_close(box(pair), net(input_ids=pair, token_type_ids=types).logits.softmax(1).detach())


def test_token_limits_of_a_call_do_not_change_answers(folder):
    inputs = TextBlackBox(folder).tokenize(SENTENCES)
    torch.testing.assert_close(TextBlackBox(folder, chunk_tokens=7)(inputs), TextBlackBox(folder)(inputs))
    half = TextBlackBox(folder, precision="bf16")(inputs)
    torch.testing.assert_close(half, TextBlackBox(folder)(inputs), atol=0.05, rtol=0.1)


def test_multi_label_heads(tmp_path):
    folder = text_folder(tmp_path, num_classes=3, problem="multi_label_classification")
    box = TextBlackBox(folder)
    found = box(box.tokenize(SENTENCES))
    assert box.multi_label
    assert not torch.allclose(found.sum(1), torch.ones(4), atol=0.01)


def test_one_logit_is_a_box_of_two_classes(tmp_path):
    folder = architecture_folder(tmp_path, "bert", num_labels=1, id2label={0: "good"})
    box = TextBlackBox(folder)
    assert box.class_names == ["not good", "good"]
    inputs = box.tokenize(SENTENCES)
    net = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    alone = torch.cat([net(box.preprocess(text).ids[None]).logits for text in SENTENCES]).sigmoid().detach()
    torch.testing.assert_close(box(inputs), torch.cat([1 - alone, alone], 1), atol=1e-5, rtol=1e-4)
    assert float(alone.std()) > 0.01
    torch.testing.assert_close(box.differentiable(inputs).softmax(1).detach(), box(inputs), atol=1e-5, rtol=1e-4)
    assert TextBlackBox(folder, class_names=["bad", "good"]).class_names == ["bad", "good"]
    assert TextBlackBox(folder, class_names=["yes"]).class_names == ["not yes", "yes"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_regression_is_refused(tmp_path, count):
    folder = architecture_folder(tmp_path, "bert", num_labels=count, problem_type="regression")
    with pytest.raises(ValueError, match="is a regression, its answers are no probabilities"):
        TextBlackBox(folder)


def test_labels_that_begin_at_one(tmp_path):
    folder = architecture_folder(tmp_path, "bert", num_labels=3, id2label={1: "bad", 2: "so", 3: "good"})
    assert load_black_box(folder).class_names == ["bad", "so", "good"]


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("mpnet", {"max_position_embeddings": 40, "pad_token_id": 1}, 38),
        ("roberta", {"max_position_embeddings": 40, "pad_token_id": 1}, 38),
        ("opt", {"max_position_embeddings": 40}, 40),
        ("bert", {"max_position_embeddings": 40}, 40),
        ("xlnet", {}, 512),
        ("mistral", {}, 8192),
        ("t5", {}, 512),
    ],
)
def test_the_network_says_how_long_a_text_may_be(tmp_path, kind, options, expected):
    folder = architecture_folder(tmp_path, kind, **options)
    box = TextBlackBox(folder)
    assert box.preprocess.max_length == expected
    if expected > 1000:  # fits, but takes long
        return
    inputs = box.tokenize(["a gem " * expected])
    assert inputs.shape[1] == expected
    assert box(inputs).shape == (1, 3)
    assert TextEncoder(folder)(inputs).tokens.shape[1] == expected
    if options:
        with pytest.raises(ValueError, match=f"has only {expected} positions"):
            TextBlackBox(folder, max_length=expected + 1)
    else:
        assert TextBlackBox(folder, max_length=600).preprocess.max_length == 600


def test_a_network_that_does_not_run_on_its_tokens_is_refused(tmp_path):
    folder = architecture_folder(tmp_path, "bart")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    tokenizer_of("none").save_pretrained(folder)  # BART reads at the end token
    with pytest.raises(ValueError, match="BartForSequenceClassification does not run on a text of its tokenizer"):
        TextBlackBox(folder)


def test_a_network_without_a_trained_head_is_refused(folder, tmp_path):
    AutoModelForSequenceClassification.from_pretrained(folder).base_model.save_pretrained(tmp_path)
    load_text_net(folder, classifier=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{folder}/{name}", tmp_path)
    with pytest.raises(ValueError, match="is no trained text classifier"):
        TextBlackBox(str(tmp_path))
    with pytest.raises(OSError, match="Without a network, give a local folder"):
        TextBlackBox("nobody/nothing")
    with pytest.raises(ValueError, match="has only 64 positions"):
        TextBlackBox(folder, max_length=128)


@pytest.mark.parametrize("rank", [0, 2])
def test_what_was_trained_is_restored_upon_its_base(folder, tmp_path, rank):
    pytest.importorskip("peft")
    from lightning_modules import TextClassifierModule

    module = TextClassifierModule(folder, class_names=["bad", "so", "good"], lora_rank=rank)
    for parameter in module.net.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    module.write(str(tmp_path / "box.safetensors"))
    box = load_black_box(str(tmp_path / "box.safetensors"))
    assert isinstance(box, TextBlackBox)
    assert box.class_names == ["bad", "so", "good"]
    inputs = box.tokenize(SENTENCES)
    module.eval()
    torch.testing.assert_close(box(inputs), module(inputs).softmax(1).detach(), atol=0.03, rtol=0.1)  # bf16
    if rank:
        assert (tmp_path / "box.safetensors").stat().st_size < 40_000


def test_weights_of_another_base_are_refused(folder, tmp_path):
    net = load_text_net(folder, classifier=True).net.requires_grad_()
    meta = {"base": folder, "lora_rank": 0, "class_names": ["a", "b"], "max_length": 32}
    save_text_black_box(tmp_path / "box.safetensors", net, meta)
    with pytest.raises(ValueError, match="do not fit their base"):
        TextBlackBox(str(tmp_path / "box.safetensors"))


def test_a_function_of_texts(folder):
    seen = []

    def score(texts):
        seen.extend(texts)
        return [[0.1, 0.9] if "gem" in text else [0.8, 0.2] for text in texts]

    box = TextCallableBlackBox(score, folder, class_names=["no", "yes"])
    inputs = box.tokenize(["a gem", "a mess"])
    inputs[0, 1] = box.preprocess.mask
    assert box(inputs)[:, 1].tolist() == pytest.approx([0.9, 0.2])
    assert sorted(seen) == ["[MASK] gem", "a mess"]


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="TextCallableBlackBox got a int, expected a function or 'package.module:fun"):
        TextCallableBlackBox(3, num_classes=2)
