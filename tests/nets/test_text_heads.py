"""More classes than two, classes that are not exclusive, pairs of texts: trained on and explained like any other."""

import math

import pytest
import torch

from datamodules import Texts
from fex import explain
from fex.baselines import Occlusion
from fex.black_box import TextInputs
from tests.lightning_modules.test_texts import fit, module
from tests.texts.tiny import WORDS, preprocess, sentences

TOPICS = ("gem", "mess", "plot")


class TopicBox(TextInputs):
    """Each of three classes looks for its own word, independently of the others."""

    def __init__(self):
        super().__init__(class_names=list(TOPICS), preprocess=preprocess(), name="topics", multi_label=True)

    def _score(self, inputs):
        ids = [5 + WORDS.index(word) for word in TOPICS]
        return torch.stack([torch.where((inputs == i).any(1), 0.9, 0.1) for i in ids], 1)


def test_classes_that_are_not_exclusive_are_explained_one_by_one():
    box = TopicBox()
    found = explain("a gem is a plot", Occlusion(box, box.features), top_k=2)
    assert [(e.target_name, e.top(1)[0].word) for e in found] == [("gem", "gem"), ("plot", "plot")]
    assert [e.probability for e in found] == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize("divergence", ["black_box_to_explainer", "explainer_to_black_box"])
def test_classes_that_are_not_exclusive_are_trained_on(divergence):
    trained = module(TopicBox(), divergence=divergence)
    trainer = fit(trained, max_steps=3)
    signs = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert not [name for name, value in signs.items() if not math.isfinite(value)]
    assert signs["train/kl_loss"] >= 0  # of shares: the answers themselves do not sum to 1
    ids = preprocess()("a gem").ids[None]
    rates = torch.stack([trained(ids, torch.tensor([c]))[0] for c in range(3)])
    assert rates.shape == (3, 4)
    assert len({tuple(row) for row in rates.tolist()}) == 3  # a map of its own for each class


@pytest.mark.parametrize("columns", [{"text_column": "a", "pair_column": "b"}, {"text_column": "a"}])
def test_pairs_are_read_trained_on_and_scored(columns, tmp_path):
    both = zip(sentences(40), sentences(40, 1), strict=True)
    rows = [f"{text},{other},{number % 2}" for number, (text, other) in enumerate(both)]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,label", *rows]))
    path = str(tmp_path / "pairs.csv")
    data = Texts(train=path, val=path, test=path, label_column="label", batch_size=8, **columns)
    trained = module()
    trainer = fit(trained, data, max_steps=3)
    assert trainer.global_step == 3
    batch = next(iter(data.train_dataloader()))
    separators = (batch["inputs"] == 3).sum(1)
    assert separators.tolist() == [2 if "pair_column" in columns else 1] * 8
    assert not trained.features.valid(batch["inputs"])[batch["inputs"] == 3].any()


def test_labels_of_more_classes_than_the_model_has(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na gem,0\na mess,2\n")
    path = str(tmp_path / "a.csv")
    data = Texts(train=path, val=path, label_column="label", batch_size=1)
    data.needs_labels = True  # the module itself learns without
    with pytest.raises(ValueError, match=r"Label 2 of a\.csv:3 does not match the model, which has 2 classes"):
        fit(module(), data, max_steps=1)
