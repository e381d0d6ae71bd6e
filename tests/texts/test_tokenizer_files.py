"""Tokenizers that are not there, that are of another model, or whose padding is a token of texts."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from fex.black_box import TextBlackBox
from fex.nets import TextEncoder
from fex.texts.tokenizer_files import fetch_tokenizer
from tests.texts.architectures import architecture_folder, tokenizer_of


def saved(path, tokenizer):
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5", "mpnet", "llama"])
def test_a_folder_without_a_vocabulary_is_refused(kind, tmp_path):
    architecture_folder(tmp_path, kind)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    for build in (TextBlackBox, TextEncoder):
        with pytest.raises(ValueError, match=r"must hold the model's( own)? tokenizer.json"):
            build(str(tmp_path))


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    path = architecture_folder(tmp_path, "bert", vocab_size=12)
    with pytest.raises(ValueError, match="gives ids up to 19, but the network has embeddings for 12"):
        TextBlackBox(path)


def test_a_tokenizer_that_drops_all_letters_is_refused(tmp_path):
    tokenizer_of().save_pretrained(tmp_path)
    BertConfig(model_type="qwen2").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "qwen2"}))
    with pytest.raises(ValueError, match="makes tokens of 1 of 26 letters and drops the others"):
        fetch_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("pad", "around", "expected"),
    [("[PAD]", "cls", 0), ("[UNK]", "cls", 20), (None, "cls", 20), ("[SEP]", "eos", 20), ("[SEP]", "none", 3)],
)
def test_padding_is_no_token_of_a_text(pad, around, expected, tmp_path):
    own = fetch_tokenizer(saved(tmp_path, tokenizer_of(around, pad)))
    assert own.pad == expected
    inputs = own.pad_batch([own(text).ids for text in ("zzz gem zzz", "a")])
    assert int((inputs == own.pad).sum()) == 2
    assert own.features.valid(inputs).sum(1).tolist() == [3, 1]
    assert own.decode(inputs[1]) == "a"
    assert fetch_tokenizer(str(tmp_path), embeddings=40).pad == (40 if expected == 20 else expected)


def test_control_words_within_a_text_are_characters(tmp_path):
    pieces = ["<pad>", "</s>", "<unk>", "\u2581a", "\u2581", *"s<>/filmpadunk"]
    vocabulary = [(piece, -2.0 if number > 2 else 0.0) for number, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")
    own = fetch_tokenizer(saved(tmp_path, fast))
    text = "a </s> film <pad> <unk>a"
    row = own(text)
    assert [i for i in row.ids.tolist() if i in own.special] == [1]
    assert int(row.ids[-1]) == 1
    assert {place for span in row.spans[:-1] for place in range(*span)} == set(range(len(text)))
    assert own("a film").ids.tolist() == fast("a film").input_ids


def test_a_batch_of_no_texts_and_a_text_of_no_tokens(tmp_path):
    path = architecture_folder(tmp_path, "gpt2")
    box = TextBlackBox(path)
    assert box.tokenize([]).shape == (0, 1)
    assert box(box.tokenize([])).shape == (0, 3)
    alone, together = box(box.tokenize([""])), box(box.tokenize(["", "a gem is a gem"]))
    assert alone[0].tolist() == pytest.approx(together[0].tolist(), abs=1e-6)
    shutil.rmtree(Path(path))
