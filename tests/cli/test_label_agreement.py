"""How often the box agrees with the labels: told before a run, with a warning where it is wrong."""

import pytest
import torch
from PIL import Image

from datamodules import ESC10, Folder, Texts
from fex.black_box import CallableBlackBox
from fex.cli.label_agreement import KEPT, SAMPLE, label_agreement, tell_agreement
from fex.images import Preprocess
from tests.datamodules.sounds import MEL, esc10_folder
from tests.texts.tiny import WordBox, preprocess

NAMES = ["blue", "green", "red"]
STEADY = 9  # three pictures, asked together twice and alone
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


def box(names=NAMES, order=(2, 1, 0), **options):
    """Its outputs are blue, green, red by the channels; what it calls them is another matter."""
    return CallableBlackBox(
        lambda x: x.mean((2, 3))[:, list(order)].softmax(1), class_names=names, preprocess=Preprocess(4, 4), **options
    )


@pytest.fixture
def colours(tmp_path):
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for number in range(40):
            Image.new("RGB", (4, 4), colour).save(tmp_path / name / f"{number}.png")
    data = Folder(str(tmp_path), val_fraction=0.0, test_fraction=1.0, preprocess=Preprocess(4, 4))
    data.setup("test")
    return data


def test_one_line_and_its_queries(colours, capsys):
    asked = box()
    assert tell_agreement(asked, colours, ("test",)) == []
    assert asked.queries == SAMPLE + STEADY
    assert capsys.readouterr().err == (
        f"The black box agrees with {SAMPLE} of {SAMPLE} labels of the test data (100%; a sample, {SAMPLE + STEADY} "
        "queries).\n"
    )


def test_a_run_that_goes_on_does_not_ask_again(colours, tmp_path, capsys):
    folder = tmp_path / "results"
    found = [tell_agreement(box(["0", "1", "2"], order=(1, 0, 2)), colours, ("test",), folder)]
    first = capsys.readouterr().err
    again = box(["0", "1", "2"], order=(1, 0, 2))
    found.append(tell_agreement(again, colours, ("test",), folder))
    assert again.queries == 0
    assert found[0] == found[1] != []
    assert capsys.readouterr().err == f"{first.rstrip()} (Asked by an earlier run.)\n"
    for other in (box(["0", "1", "2"], mean=(0.1, 0.2, 0.3)), box(["0", "1", "3"])):  # another box
        tell_agreement(other, colours, ("test",), folder)
        assert other.queries == SAMPLE + STEADY
    (folder / KEPT).write_text('{"key": [')
    again = box()
    tell_agreement(again, colours, ("test",), folder)
    assert again.queries == SAMPLE + STEADY


def test_a_sample_is_of_all_classes(colours):
    """Though the files lie class by class."""
    stage, batch = colours.sample(SAMPLE, ("val", "test"))
    assert stage == "test"
    assert len(batch["inputs"]) == SAMPLE
    assert set(batch["labels"].tolist()) == {0, 1, 2}
    assert torch.equal(batch["inputs"], colours.sample(SAMPLE, ("test",))[1]["inputs"])


def test_near_chance_is_a_warning(colours, capsys):
    (warning,) = tell_agreement(box(["0", "1", "2"], order=(1, 0, 2)), colours, ("test",))
    assert "near chance (0.33)" in warning
    assert "`mean` and `std`" in warning
    assert "(0%;" in capsys.readouterr().err


def test_names_in_another_order_than_the_folders(colours):
    """The answers tell which of the two is wrong."""
    wrong_names = tell_agreement(box(["red", "green", "blue"]), colours, ("test",))
    assert len(wrong_names) == 1
    assert "'red' is number 0 to the black box" in wrong_names[0]
    assert "results would carry wrong names" in wrong_names[0]
    wrong_labels = tell_agreement(box(["red", "green", "blue"], order=(0, 1, 2)), colours, ("test",))
    assert "give the data's classes the box's order" in wrong_labels[0]
    assert f"Counted by name, {SAMPLE} of {SAMPLE} labels agree" in wrong_labels[0]


def test_labels_that_are_no_classes_and_rows_that_cannot_be_read():
    inputs = torch.zeros(4, 3, 4, 4)
    inputs[:, 2] = 1
    batch = {"inputs": inputs, "labels": torch.tensor([0, 7, 0, 0]), "valid": torch.tensor([True, True, True, False])}
    line, warnings = label_agreement(box(), batch, "val")
    assert "agrees with 2 of 2 labels of the val data" in line
    assert "Labels such as 7 are none of the 3 classes" in warnings[0]


def test_without_labels_nothing_is_said_and_only_steadiness_is_asked_for(colours, tmp_path, capsys):
    asked = box()
    data = Folder(str(tmp_path), 0.0, 1.0, labels=False, preprocess=Preprocess(4, 4))
    data.setup("test")
    assert tell_agreement(asked, data, ("test",)) == tell_agreement(asked, object(), ("test",)) == []
    assert tell_agreement(asked, Texts(), ("val", "train")) == []
    assert (asked.queries, capsys.readouterr().err) == (STEADY, "")
    assert tell_agreement(asked, data, ("test",), tmp_path / "results") == []
    assert asked.queries == STEADY
    turned = CallableBlackBox(lambda x: x.mean((2, 3)).softmax(1).flip(0), num_classes=3, preprocess=Preprocess(4, 4))
    [warning] = tell_agreement(turned, data, ("test",))
    assert "in another batch" in warning


def test_texts(tmp_path, capsys):
    rows = "".join(f"a gem,{int(n < 9)}\na mess,0\n" for n in range(12))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}")
    data = Texts(test=str(tmp_path / "a.csv"), label_column="label", preprocess=preprocess())
    data.setup("test")
    assert tell_agreement(WordBox("gem"), data, ("test",)) == []
    assert "agrees with 21 of 24 labels of the test data (88%" in capsys.readouterr().err


def test_sounds(tmp_path, capsys):
    data = ESC10(str(esc10_folder(tmp_path / "esc")), seconds=0.5, log_mel=MEL, padding=None)
    data.setup("fit")

    def tones(spectrograms):
        low, high = spectrograms[:, 0].mean(2).split(4, 1)
        return torch.stack([low.mean(1), high.mean(1)], 1).softmax(1)

    asked = CallableBlackBox(tones, num_classes=2)
    assert tell_agreement(asked, data, ("train",)) == []
    assert asked.queries == 8 + STEADY
    assert " of 8 labels of the train data" in capsys.readouterr().err
