"""`fex-bench`: mistakes are told before any work; labels of other classes than the box's; help."""

import re

import pytest

from datamodules.cifar10 import CIFAR10_CLASSES
from fex.cli.bench import bench
from tests.cli.bench.tiny import ASKED, config

pytestmark = pytest.mark.usefixtures("empty_curves")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["left", "right"], "the data has 10 classes and the black box 2"),
        (["Automobile", "airplane", *CIFAR10_CLASSES[2:]], "class 'Automobile' in another place than the black box"),
    ],
)
def test_labels_of_other_classes_are_refused(tmp_path, names, message):
    box = {"class_path": "fex.black_box.CallableBlackBox",
           "init_args": {"function": "tests.cli.bench.tiny:ten", "num_classes": len(names), "class_names": names,
                         "preprocess": {"height": 32, "width": 32}}}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        bench.run(config(tmp_path, black_box=box, protocols=["fex", "chefer"]))


def test_labels_of_other_words_come_with_a_warning(tmp_path):
    box = {"class_path": "fex.black_box.CallableBlackBox",
           "init_args": {"function": "tests.cli.bench.tiny:ten", "num_classes": 10,
                         "preprocess": {"height": 32, "width": 32},
                         "class_names": ["plane", *map(str.upper, CIFAR10_CLASSES[1:])]}}  # fmt: skip
    argv = [*config(tmp_path, black_box=box, protocols=["chefer"]), "--methods=[Random]", "--limit", "2"]
    assert any("class 0 is 'plane' to the black box and 'airplane' to" in each for each in bench.run(argv)["warnings"])
    argv[argv.index("--limit") :] = ["--limit", "2", "--protocols", "[fex]"]
    assert not any("plane" in each for each in bench.run(argv)["warnings"])


@pytest.mark.parametrize(
    ("changes", "flags", "message"),
    [
        ({}, ["--limit", "-5"], "limit"),
        ({}, ["--limit", "0"], "limit"),
        ({}, ["--threads", "0"], "threads"),
        ({}, ["--methods", "FX"], "has no method 'FX'; it has 'RISE'"),
        ({}, ["--protocols", "[fix]"], "Got protocol 'fix', expected one of"),
        ({}, ["--data.init_args.root", "nowhere"], "nowhere"),
        ({}, ["--methods.RISES.init_args.num_masks", "5"],
         "--methods.RISES.init_args.num_masks names no method of the config, which has RISE, Random, Broken"),
        ({}, ["--methods.RISE.num_masks", "5"], "Write --methods.RISE.init_args.ARGUMENT VALUE"),
        ({}, ["--methods.RISE.init_args.removal.init_args.sigma", "5"],
         r"RISE of the config has no init_args.removal .* Give all of it: --methods.RISE.init_args.removal "
         r"'\{class_path: \.\.\., init_args: \{sigma: 5\}\}'"),
        ({}, ["--methods.RISE.init_args.seed"], "has no value"),
        ({}, ["--methods.RISE.init_args.seed", "[1"], "which is no YAML"),
        ({}, ["--methods", "Random", "--methods.RISE.init_args.num_masks", "5"],
         "num_masks sets something of RISE, which is not among those that run"),
        ({"methods": {"RISE": {"class_path": "fex.baselines.RISE", "init_arg": {}}}}, [],
         "Method RISE has init_arg, expected only class_path, init_args, training"),
        ({"methods": {"RISE": {"init_args": {}}}}, [], "Method RISE has no class_path"),
        ({}, ["--methods", "[]"], "There is no method to run"),
        ({}, ["--protocols", "[]"], "There is no protocol to score by"),
        ({}, ["--methods.RISE.training.querys", "3"], "Got training cost {'querys': 3}"),
        ({}, ["--methods.RISE.init_args", "3"], "Method RISE has init_args: 3, expected settings by their names"),
        ({}, ["--show", "[positiv_auc]"], "--show names positiv_auc; the protocols of this run have positive_auc"),
        ({}, ["--show", "[iou]"], "--show names iou; the protocols of this run have positive_auc, negative_auc"),
        ({}, ["--device", "cuda:99"], "--device cuda:99 cannot be used"),
        (None, ["--methods.RISE.init_args.seed", "1"], "is a setting of `fex-bench run`"),
        (None, ["--only", "[one_pas]"], "knows no one_pas; it measures step_overhead"),
        (None, ["--images", "50"], "at least 100 pictures"),
        (None, ["--images", "-5"], "images"),
        (None, ["--repeats", "0"], "repeats"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_code_2_before_any_work(tmp_path, monkeypatch, capsys, changes, flags, message):
    ASKED.clear()
    argv = ["speed"] if changes is None else config(tmp_path, **changes)
    monkeypatch.setattr("sys.argv", ["fex-bench", *argv, *flags])
    with pytest.raises(SystemExit) as error:
        bench.main()
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("fex-bench: error: ")
    assert re.search(message, told)
    assert len(told.splitlines()) < 8
    assert ASKED == []
    assert not (tmp_path / "out").exists()


def test_an_output_without_a_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Got --output '', expected a folder"):
        bench.run([*config(tmp_path), "--output", ""])


@pytest.mark.parametrize("command", [[], ["run"], ["speed"]])
def test_help_shows_examples_one_a_line(capsys, command):
    with pytest.raises(SystemExit):
        bench.run([*command, "--help"])
    name = command[0] if command else "run"
    assert f"examples:\n  fex-bench {name} " in capsys.readouterr().out
