"""Speed figures of texts: what is compared with what, and the count of padding."""

import math

import pytest
import torch

from fex.benchmark.speed import texts
from fex.benchmark.speed.images import one_pass, speedups
from fex.benchmark.speed.texts import (
    SST2_MEAN,
    made_up_sentences,
    make_text_explainer,
    padding_waste,
    text_tokenizer,
    text_weights_or_random,
)
from fex.black_box import TextBlackBox
from fex.cli.bench import bench
from fex.explainers import AmortizedTextExplainer
from fex.nets import TextEncoder
from tests.texts.tiny import text_folder


@pytest.fixture(scope="module")
def explainer_and_box(tmp_path_factory):
    folder = text_folder(tmp_path_factory.mktemp("net"))
    box = TextBlackBox(folder, chunk=4)
    return make_text_explainer(TextEncoder(folder, class_head=True), box), box


def test_one_pass_is_compared_with_the_classifier_that_it_stands_on(explainer_and_box):
    explainer, box = explainer_and_box
    assert isinstance(explainer, AmortizedTextExplainer)
    passes = []
    hook = explainer.net.encoder.net.register_forward_hook(lambda *_: passes.append(1))
    figure = one_pass("one_pass_text", explainer, box.tokenize(["a gem", "the film"]), repeats=2)
    hook.remove()
    assert len(passes) == 2 * (2 + 2)  # both, in warm-up and measurement: an explanation is one pass
    assert math.isfinite(figure.value)
    assert set(figure.parts) == {"explanation", "backbone"}
    assert figure.shapes == {"inputs": [2, 4], "features": 4}
    assert (figure.bound, figure.target) == ("<=", 1.2)


def test_rise_spends_the_queries_it_names(explainer_and_box):
    explainer, box = explainer_and_box
    before = box.queries
    (rise,) = speedups(explainer, box, box.tokenize(["a gem", "the film"]), repeats=1, queries=6)
    assert rise.name == "speedup_rise_text"
    assert (rise.bound, rise.target) == (">=", 30.0)
    assert box.queries - before == 2 + 2 * 2 * 6  # the classes once, RISE in warm-up and measurement


def test_padding_is_counted():
    batches = [{"inputs": torch.tensor([[2, 5, 3, 0], [2, 5, 6, 3]])}, {"inputs": torch.tensor([[2, 3], [2, 3]])}]
    figure = padding_waste(batches, pad=0)
    assert figure.value == pytest.approx(100 / 12)
    assert figure.ok
    assert figure.parts == {"tokens": 11, "padding": 1, "percent_at_one_length": pytest.approx(100 * 5 / 16)}
    assert figure.shapes == {"batches": 2, "texts": 4, "longest": 4}
    with pytest.raises(ValueError, match="Got no batches"):
        padding_waste([], pad=0)


def test_made_up_sentences_are_as_long_as_those_of_sst2():
    lengths = torch.tensor([float(len(text.split())) for text in made_up_sentences(5000)])
    assert lengths.mean() == pytest.approx(SST2_MEAN, rel=0.05)
    assert lengths.min() >= 1
    assert {len(text.split()) for text in made_up_sentences(5, words=24)} == {24}


def test_random_weights_stand_in_for_what_is_not_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "manifest", lambda: {"shipped": {}, "minilm": {"package": "json"}})
    assert text_weights_or_random("shipped", tmp_path) == "shipped"
    monkeypatch.setattr(texts, "manifest", lambda: {"shipped": {}, "minilm": {"package": "no_such_package"}})
    monkeypatch.setitem(texts.MINILM, "num_hidden_layers", 1)
    box = TextBlackBox(text_weights_or_random("shipped", tmp_path))
    row = box.preprocess(made_up_sentences(1, words=5)[0])
    assert len(row.ids) == 7
    assert not (row.ids == 1).any()  # no unknown words
    assert box.preprocess.vocabulary == texts.MINILM["vocab_size"]
    assert text_tokenizer(tmp_path / "tokenizer").vocabulary == box.preprocess.vocabulary


def test_padding_waste_is_measured_on_the_runs_own_batches(tmp_path, capsys):
    report = bench.run(["speed", "--only", "[padding_waste]"])
    made_up = report["padding_waste"]
    assert made_up["ok"]
    assert made_up["value"] < 10 < made_up["parts"]["percent_at_one_length"]
    assert "%" in capsys.readouterr().out
    rows = "".join(f"{'word ' * (1 + number % 7)}\t1\n" for number in range(200))
    (tmp_path / "train.tsv").write_text(f"sentence\tlabel\n{rows}")
    given = bench.run(["speed", "--only", "[padding_waste]", "--data", str(tmp_path)])["padding_waste"]
    assert given["shapes"]["longest"] == 9
    with pytest.raises(FileNotFoundError, match=r"Found no train\.tsv"):
        bench.run(["speed", "--only", "[padding_waste]", "--data", str(tmp_path.parent)])
