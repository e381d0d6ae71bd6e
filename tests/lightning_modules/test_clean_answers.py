"""A deterministic box is asked about a whole input once, as long as the input stays the same."""

import pytest
import torch

from datamodules import HorizontalFlip
from lightning_modules import FEXModule, clean_answers
from lightning_modules.clean_answers import CleanAnswers
from tests.lightning_modules.small import GRID, Pictures, SmoothBox, fit, pictures, sgd, vit, weights_of


class SteadyBox(SmoothBox):
    deterministic = True


def test_answers_are_those_of_the_box_and_asked_once():
    box, inputs = SteadyBox(), pictures(6)[0]
    expected, answers = box(inputs), CleanAnswers(box)
    box.queries = 0
    for rows in ([0, 1, 2], [2, 3, 0], [5, 5, 1], [0, 1, 2, 3, 5]):
        torch.testing.assert_close(answers(inputs[rows], torch.tensor(rows)), expected[rows])
    assert box.queries == 3 + 1 + 2
    answers(inputs[:3], torch.arange(3)).zero_()  # the caller's own
    torch.testing.assert_close(answers(inputs[:3], torch.arange(3)), expected[:3])


def test_a_changed_input_is_asked_about():
    box, inputs = SteadyBox(), pictures(4)[0]
    answers, rows = CleanAnswers(box), torch.arange(4)
    answers(inputs, rows)
    other = inputs.clone()
    other[1, 2, 3, 4] = torch.nextafter(other[1, 2, 3, 4], torch.tensor(2.0))  # by the last bit
    other[2] = other[2].flip(-1)
    other[3, 0, 0, :2] = other[3, 0, 0, [1, 0]]
    before = box.queries
    torch.testing.assert_close(answers(other, rows), box(other))
    assert box.queries == before + 3 + 4


@pytest.mark.parametrize("what", ["too large", "augmented", "not steady", "no numbers"])
def test_what_cannot_be_remembered_is_asked_again(monkeypatch, what):
    box = SmoothBox() if what == "not steady" else SteadyBox()
    answers, inputs, rows = CleanAnswers(box), pictures(4)[0], torch.arange(4)
    monkeypatch.setattr(clean_answers, "MOST", 4 * 2 * 4 - 1 if what == "too large" else 2**20)
    monkeypatch.setattr(clean_answers, "PATIENCE", 6)
    for number in range(4):
        given = inputs * (1 - number / 10) if what == "augmented" else inputs
        torch.testing.assert_close(answers(given, None if what == "no numbers" else rows), box(given))
    assert box.queries == 2 * 4 * 4
    assert answers.on is (what in ("too large", "no numbers"))


@pytest.mark.parametrize("augment", [None, HorizontalFlip()])
def test_training_is_the_same_and_cheaper(augment):
    def train(box):
        module = FEXModule(box, GRID, vit(), num_masks=3, optimizer=sgd)
        data = Pictures(8, batch_size=4, augment=augment)
        rows = fit(module, data, max_epochs=3, limit_val_batches=None)
        return weights_of(module), rows[-1]["train/queries"], box.queries

    plain, every, asked = train(SmoothBox())
    steady, fewer, less = train(SteadyBox())
    torch.testing.assert_close(steady, plain, rtol=1e-3, atol=1e-5)
    assert every == 1 + 3 * 8 * 4
    if augment is None:
        assert fewer == every - 2 * 8
        assert less == asked - 2 * 8 - 2 * 8  # in validation too
    else:
        assert every - 2 * 8 <= fewer <= every


def test_a_checkpoint_holds_them_and_a_wrong_one_is_found_out(monkeypatch):
    box, (inputs, *_), rows = SteadyBox(), pictures(6), torch.arange(6)
    answers = CleanAnswers(box)
    expected = answers(inputs[:4], rows[:4])
    state = answers.state()
    assert state["rows"].shape == (4, 2)

    again, box.queries = CleanAnswers(box), 0
    again.resume(state)
    for asked in (4 + 2, 0):  # once whether it still says so, and what is new
        torch.testing.assert_close(again(inputs, rows)[:4], expected, rtol=0, atol=0)
        assert box.queries == asked
        box.queries = 0

    state["answers"] = state["answers"].flip(-1)
    again.resume(state)
    torch.testing.assert_close(again(inputs, rows)[:4], expected)
    monkeypatch.setattr(clean_answers, "SAVED", 6 * 2 * 4 - 1)
    assert again.state() is None


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": torch.zeros(4, 3, dtype=torch.int64)}, {"rows": torch.zeros(4, 2)}, {"rows": None}, {"changed": "3"},
        {"answers": torch.zeros(4, 3)}, {"answers": torch.full((4, 2), torch.nan)}, {"answers": [[0.5, 0.5]] * 4},
    ],
)  # fmt: skip
def test_damaged_ones_are_refused(damage):
    answers = CleanAnswers(SteadyBox())
    answers(pictures(4)[0], torch.arange(4))
    with pytest.raises(ValueError, match="remembered answers are damaged, or not of 2 classes"):
        CleanAnswers(SteadyBox()).resume({**answers.state(), **damage})
    with pytest.raises(ValueError, match="damaged"):
        CleanAnswers(SteadyBox()).resume(None)
