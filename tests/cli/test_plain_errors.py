"""What jsonargparse reports, as one sentence."""

from pathlib import Path

import pytest
import yaml

from fex.cli.bench import bench
from fex.cli.ending import told
from fex.cli.explain.black_box_argument import chosen_black_box
from fex.cli.plain_errors import plain
from fex.cli.train import train
from fex.storage.resources import resource_dir

WRONG = {
    "gone": ({"weights": "gone.pth", "model": "resnet18"}, "Found no weights at gone.pth"),
    "count": ({"weights": "vit_scenes", "class_names": ["cat", "dog"]}, "Got 2 class_names and num_classes=8"),
    "type": (
        {"weights": "vit_scenes", "class_names": 7},
        "class_names (fex.black_box.TimmBlackBox): got 7, expected list or text",
    ),
}


def is_plain(message):
    return not any(word in message for word in ("Union", "Namespace", "NestedArg", "<class", "Subtypes", "NoneType"))


@pytest.mark.parametrize("name", WRONG)
def test_a_box_that_cannot_be_built(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[name]
    box = {"class_path": "fex.black_box.TimmBlackBox", "init_args": arguments}
    Path("box.yaml").write_text(yaml.safe_dump(box))
    with pytest.raises(ValueError, match="The black box of box.yaml cannot be built: ") as error:
        chosen_black_box("box.yaml")
    assert message in str(error.value)
    assert is_plain(str(error.value))
    content = yaml.safe_load((resource_dir("configs") / "quickstart.yaml").read_text())
    content["model"]["init_args"]["black_box"] = box
    Path("fit.yaml").write_text(yaml.safe_dump(content))
    content = yaml.safe_load((resource_dir("configs") / "benchmark_quickstart.yaml").read_text())
    Path("run.yaml").write_text(yaml.safe_dump({**content, "black_box": box}))
    for program, word in ((train, "fit"), (bench, "run")):
        with pytest.raises(SystemExit) as stop:
            told("fex-x", lambda program=program, word=word: program.run([word, "--config", f"{word}.yaml"]))
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert message in said
        assert is_plain(said)


def test_a_mistyped_file_of_a_box(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    with pytest.raises(ValueError, match="Found no black box 'mine.yam'; did you mean mine.yaml?"):
        chosen_black_box("mine.yam")


def test_other_messages_stay():
    assert plain("There are 3 instances to train on.\nset a smaller one") == (
        "There are 3 instances to train on.\nset a smaller one"
    )
