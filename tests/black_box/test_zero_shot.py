"""CLIP and SigLIP with prompts as classes: tiny networks, saved and loaded."""

import pytest
import torch
from jsonargparse import ArgumentParser
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

import fex
from fex.black_box import BlackBox, TransformersBlackBox, ZeroShotBlackBox
from tests.toys import instantiate

PROMPTS = ["a photo of a cat", "a dog", "a photo of the sea"]
WORDS = ["[PAD]", "[UNK]", "[END]", "a", "photo", "of", "cat", "dog", "the", "sea"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
INPUTS = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def folder(path, kind="clip"):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 2)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[END]", unk_token="[UNK]")
    fast.save_pretrained(path)
    text = {**SMALL, "vocab_size": 10, "max_position_embeddings": 8, "eos_token_id": 2, "pad_token_id": 0}
    text |= {"bos_token_id": 2, "projection_size": 16} if kind == "siglip" else {"bos_token_id": 1}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    if kind == "clip":
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(path)
        size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        CLIPImageProcessor(**size).save_pretrained(path)
    else:
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(path)
        SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("clip"))


def asked(path, kind, padding):
    net, tokenizer = kind.from_pretrained(path).eval(), PreTrainedTokenizerFast.from_pretrained(path)
    tokens = tokenizer(PROMPTS, return_tensors="pt", **padding)
    box = ZeroShotBlackBox(path, PROMPTS)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (box.mean, box.std))
    keys = ("input_ids",) if kind is SiglipModel else ("input_ids", "attention_mask")
    with torch.no_grad():
        whole = net(pixel_values=(INPUTS - mean) / std, **{key: tokens[key] for key in keys})
    return box, whole.logits_per_image


def test_probabilities_are_those_of_the_whole_network(clip):
    box, logits = asked(clip, CLIPModel, {"padding": True})
    assert (box.class_names, box.preprocess.size, box.multi_label) == (PROMPTS, (32, 32), False)
    assert torch.allclose(box(INPUTS), logits.softmax(1), atol=1e-5)
    assert logits.softmax(1).std(1).min() > 1e-4  # the prompts differ
    assert torch.allclose(box.differentiable(INPUTS), logits, atol=1e-4)


def test_siglip_is_not_exclusive(tmp_path):
    box, logits = asked(folder(tmp_path, "siglip"), SiglipModel, {"padding": "max_length", "max_length": 8})
    assert box.multi_label
    assert torch.allclose(box(INPUTS), logits.sigmoid(), atol=1e-5)


def test_the_texts_are_read_once(clip, monkeypatch):
    box = ZeroShotBlackBox(clip, PROMPTS, class_names=["cat", "dog", "sea"])
    assert box.class_names == ["cat", "dog", "sea"]
    monkeypatch.setattr(CLIPModel, "get_text_features", lambda *a, **k: pytest.fail("read again"))
    assert box(INPUTS).shape == (3, 3)


def test_in_yaml_and_by_name(clip):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--black_box", type=BlackBox)
    spec = {"class_path": "fex.black_box.ZeroShotBlackBox", "init_args": {"model": clip, "prompts": PROMPTS}}
    box = instantiate(parser, parser.parse_object({"black_box": spec})).black_box
    assert torch.equal(box(INPUTS), fex.load_black_box(clip, prompts=PROMPTS)(INPUTS))


def test_what_cannot_be_asked(clip):
    with pytest.raises(ValueError, match=r"has 9 tokens, .* reads 8: shorten it"):
        ZeroShotBlackBox(clip, ["a cat", "a photo of a cat of the sea"])
    for prompts in (["a cat"], ["a cat", "a cat"], "a cat"):
        with pytest.raises(ValueError, match="expected two or more"):
            ZeroShotBlackBox(clip, prompts)
    with pytest.raises(ValueError, match=r"give it `prompts`, one a class \(ZeroShotBlackBox\)"):
        TransformersBlackBox(clip)


def test_another_way_to_compare_is_refused(clip, monkeypatch):
    forward = CLIPModel.forward

    def other(self, **options):
        answer = forward(self, **options)
        answer.logits_per_image = 2 * answer.logits_per_image
        return answer

    monkeypatch.setattr(CLIPModel, "forward", other)
    with pytest.raises(ValueError, match="in a way that fex does not know"):
        ZeroShotBlackBox(clip, PROMPTS)
