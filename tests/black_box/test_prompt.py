"""A language model as a box, against a fake server on the loopback interface."""

import copy
import math
import pickle
import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

import fex
from datamodules import DataModule
from datamodules.text_rows import TextRows
from fex.baselines import LIME, RISE
from fex.black_box import BlackBox, HttpBlackBox, PromptBlackBox
from fex.black_box.logprobs import label_probabilities
from fex.cli.explain.black_box_argument import chosen_black_box
from fex.nets import ExplainerNet
from fex.policy import Antithetic, CompatibleControl, Retained, TwoSidedBudget
from lightning_modules import FEXModule
from tests.black_box.language_model import YES, language_model
from tests.texts.tiny import sentences, small_encoder, text_folder
from tests.toys import instantiate

TEMPLATE = 'Review: {text}\nIs it good? Answer {"good": yes or no}:'
DOCS = Path(__file__).parents[2] / "docs"
TEXTS = ["the film is a gem", "so very odd and dull", "a gem", "a mess"]
RIGHT = torch.tensor([YES["gem" in text] for text in TEXTS])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return text_folder(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with language_model() as running:
        yield running


def make(server, tokenizer, path="/completions", **options):
    given = {"template": TEMPLATE, "labels": ["no", "YES"], "backoff": 0.001, "seed": 0, **options}
    return PromptBlackBox(server.url + path, "tiny", tokenizer=tokenizer, **given)


@pytest.mark.parametrize(("path", "requests"), [("/completions", 2), ("/chat/completions", 4)])
def test_probabilities_of_the_label_words(path, requests, server, tokenizer):
    box = make(server, tokenizer, path, chunk=2, concurrency=2)
    scores = box(box.tokenize(TEXTS))
    assert torch.allclose(scores, torch.stack([1 - RIGHT, RIGHT], 1), atol=1e-5)
    assert (box.class_names, box.queries, len(server.requests)) == (["no", "YES"], 4, requests)
    for message, _ in server.requests:
        assert (message["model"], message["max_tokens"], message["temperature"]) == ("tiny", 1, 0)
    prompts = [p for m, _ in server.requests for p in m.get("prompt") or [m["messages"][0]["content"]]]
    assert sorted(prompts) == sorted(TEMPLATE.replace("{text}", text) for text in TEXTS)
    for other in (copy.deepcopy(box), pickle.loads(pickle.dumps(box))):
        assert torch.equal(other(box.tokenize(TEXTS[:1])), scores[:1])


def test_a_missing_word_gets_the_most_that_it_can_have():
    tops = [("a", math.log(0.6)), ("b", math.log(0.3))]
    assert label_probabilities(tops, ["A", "c"]) == (pytest.approx([0.6 / 0.7, 0.1 / 0.7]), True)  # what is left
    assert label_probabilities(tops[:1], ["a", "c"])[0] == pytest.approx([0.6, 0.4])
    tops = [("a", math.log(0.6)), ("b", math.log(0.01))]
    assert label_probabilities(tops, ["a", "c"])[0] == pytest.approx([0.6 / 0.61, 0.01 / 0.61])  # the least listed
    assert label_probabilities(tops, ["x", "y"]) == ([0.5, 0.5], False)
    assert label_probabilities([("a", 0.0)], ["a", "c"])[0][1] == pytest.approx(0, abs=1e-8)


def test_words_that_never_come_are_an_error_and_that_rarely_come_a_warning(server, tokenizer, caplog):
    box = make(server, tokenizer, labels=["good", "bad"])
    with pytest.raises(ValueError, match=r"none of the label words \['good', 'bad'\].*likeliest tokens are .*Yes"):
        box(box.tokenize(TEXTS))
    box = make(server, tokenizer)
    none = {"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"Hm": -0.1}]}}]}
    box(box.tokenize(TEXTS[:1]))
    for _ in range(2):
        server.faults.append(none)
        assert box(box.tokenize(TEXTS[:1])).tolist() == [[0.5, 0.5]]
    assert box.unanswered == 2
    assert caplog.text.count("gave none of the label words") == 1


@pytest.mark.parametrize(
    "answer", [{}, [], {"choices": []}, {"choices": [{"index": 0, "text": "yes", "logprobs": None}]},
               {"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"a": "x"}]}}]},
               {"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"a": math.nan}]}}]},
               {"choices": [{"index": 1, "logprobs": {"top_logprobs": [{"a": -1.0}]}}]}],
)  # fmt: skip
def test_answers_of_another_kind(answer, server, tokenizer):
    box = make(server, tokenizer)
    server.faults.append(answer)
    with pytest.raises(ValueError, match="is it an OpenAI-compatible server whose model gives log-probabilities"):
        box(box.tokenize(TEXTS[:1]))


def test_retries_bounds_and_the_token(server, tokenizer, monkeypatch):
    monkeypatch.setenv("MODEL_TOKEN", "secret-of-mine")
    box = make(server, tokenizer, token_env="MODEL_TOKEN")
    server.faults += [503, 429]
    box(box.tokenize(TEXTS[:1]))
    assert len(server.requests) == 3
    assert server.requests[-1][1]["Authorization"] == "Bearer secret-of-mine"
    server.faults += [{"error": "secret-of-mine"}, 401, {"choices": [], "pad": "x" * 2**21}]
    messages = []
    for expected in ("answered .*error", "status 401", r"more than [\d,]+ bytes"):
        with pytest.raises(ValueError, match=expected) as error:
            box(box.tokenize(TEXTS[:1]))
        messages.append(str(error.value))
    assert "secret-of-mine" not in " ".join([*messages, repr(vars(box)), repr(vars(box.endpoint))])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"template": "no place"}, r"expected one \{text\}"),
        ({"labels": ["yes", "Yes"]}, "single words"),
        ({"labels": ["not good", "good"]}, "single words"),
        ({"labels": "yes"}, "single words"),
        ({"tops": 0}, "tops=0"),
        ({"path": "/score"}, "not of a language model"),
        ({"path": "/completions?api_key=abcdefg"}, "looks like a secret"),
    ],
)
def test_settings_that_cannot_work(change, match, server, tokenizer):
    with pytest.raises(ValueError, match=match):
        make(server, tokenizer, **change)


def test_in_yaml_by_name_and_on_the_command_line(server, tokenizer, tmp_path):
    given = {"model": "tiny", "template": TEMPLATE, "labels": ["no", "yes"], "tokenizer": tokenizer}
    spec = {"class_path": "fex.black_box.PromptBlackBox", "init_args": {"url": f"{server.url}/completions", **given}}
    [shown] = re.findall(r"```yaml\n(.*?)```", (DOCS / "models" / "llm.md").read_text(encoding="utf-8"), re.DOTALL)
    shown = yaml.safe_load(shown)
    shown["init_args"] |= {"url": f"{server.url}/completions", "tokenizer": tokenizer}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--black_box", type=BlackBox)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(spec))
    for box in (
        *(instantiate(parser, parser.parse_object({"black_box": each})).black_box for each in (spec, shown)),
        fex.load_black_box(f"{server.url}/completions", **given),
        chosen_black_box(str(tmp_path / "mine.yaml")),
    ):
        assert torch.allclose(box(box.tokenize(TEXTS))[:, 1], RIGHT, atol=1e-5)
    with pytest.raises(ValueError, match=r"must be said in a file.*PromptBlackBox.*labels: \['no', 'yes'\]"):
        chosen_black_box(f"{server.url}/completions")
    assert isinstance(fex.load_black_box("http://127.0.0.1/classify", num_classes=2), HttpBlackBox)


class Reviews(DataModule):
    def setup(self, stage):
        self.datasets = {"train": TextRows(sentences(256), self.preprocess)}


def test_the_word_that_the_model_looks_for_is_found(server, tokenizer):
    box = make(server, tokenizer, chunk=256)
    module = FEXModule(
        box, None, ExplainerNet(small_encoder(), hidden=16, value_degree=2), reward=Retained(), num_masks=6,
        noise=Antithetic(), exploration=TwoSidedBudget(-2, 2), control=CompatibleControl(), entropy_weight=0.1,
        kl_weight=0.1, optimizer=lambda parameters: torch.optim.AdamW(parameters, 3e-3),
    )  # fmt: skip
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_steps=40, enable_checkpointing=False, limit_val_batches=0, **quiet)
    trainer.fit(module, datamodule=Reviews(batch_size=32))
    inputs = box.tokenize([text for text in sentences(20, seed=9) if "gem" in text.split()])
    words = inputs == int(box.tokenize(["gem"])[0, 1])
    with torch.no_grad():
        found = module(inputs, torch.ones(len(inputs), dtype=torch.int64))
    hidden = ~box.features.valid(inputs)
    maps = {"FEX": found, **{kind.__name__: kind(box, box.features, num_masks=200).attribute(inputs, 1)
                             for kind in (RISE, LIME)}}  # fmt: skip
    for name, values in maps.items():
        best = values.masked_fill(hidden, -torch.inf).argmax(1, keepdim=True)
        assert words.gather(1, best).float().mean() >= 0.9, name
    assert box.unanswered == 0
