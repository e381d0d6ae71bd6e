"""Mistyped names in YAML files: told at once where they are certainly wrong, left to the parser elsewhere."""

import subprocess
import sys

import pytest
import yaml

from fex.cli.quick_check import TOP, _entries, _look_up, _parameters, first_mistake
from fex.storage.resources import resource_dir
from tests.shrink import load, written

CONFIGS = sorted(path.name for path in resource_dir("configs").glob("*.yaml"))


@pytest.mark.parametrize("name", CONFIGS)
def test_packaged_configs_have_no_mistake_and_almost_all_classes_are_known(name):
    content = load(name.removesuffix(".yaml"))
    assert first_mistake(["fit", "--config", name], "bench" if name.startswith("benchmark") else "train") is None
    paths = {entry["class_path"] for entry in _entries(content)}
    own = {path for path in paths if path.split(".")[0] in ("fex", "lightning_modules", "datamodules")}
    found = {path: _look_up(*path.rpartition(".")[::2]) for path in own}
    unknown = {path for path, each in found.items() if each is None or _parameters(each) is None}
    assert own
    assert unknown <= {"fex.load_explainer", "fex.Refined", "datamodules.ImageNet"}


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["data", "init_args", "num_trian"], 5, "Scenes takes no 'num_trian'; did you mean num_train"),
        (["data", "init_args", "batchsize"], 5, "Scenes takes no 'batchsize'; did you mean batch_size"),
        (["data", "class_path"], "datamodules.Foldr", "datamodules has no 'Foldr'; did you mean Folder"),
        (["data", "class_path"], "datamodule.Folder", None),  # of who knows what package
        (["data", "class_path"], "datamodules.foldr.Folder", "there is no module 'datamodules.foldr'"),
        (["model", "init_args", "lambda_kl"], 1, "FEXModule takes no 'lambda_kl'"),
        (
            ["model", "init_args", "black_box", "init_args", "chnk"],
            1,
            "TimmBlackBox takes no 'chnk'; did you mean chunk",
        ),
        (["model", "init_args", "exploration", "init_args", "lo"], 1, "TwoSidedBudget takes no 'lo'; did you mean low"),
        (["trainer", "max_epoch"], 1, "trainer takes no 'max_epoch'; did you mean max_epochs"),
        (["model", "init_args", "optimizer", "init_args", "lrr"], 1, None),
        (["model", "class_path"], "mine.Module", None),
        (["modle"], {}, "there is no setting 'modle'; did you mean model"),
        (["data", "init_arg"], {}, "beside class_path and init_args stands 'init_arg'; did you mean init_args"),
    ],
)
def test_mistakes(keys, value, message, tmp_path):
    config = load("quickstart")
    place = config
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path = written(config, tmp_path / "mine.yaml")
    for argv in (["--config", path], ["fit", f"--config={path}"]):
        told = first_mistake(argv)
        assert (told is None) if message is None else (message in told and str(path) in told)


def test_what_cannot_be_read_is_left_to_the_parser(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "deep.yaml").write_text("[" * 5000)
    for name in ("bad.yaml", "list.yaml", "deep.yaml"):
        assert first_mistake(["--config", str(tmp_path / name)]) is None
    assert first_mistake(["--config"]) is None
    assert first_mistake(["--config", "a: 1\nb: 2"]) is None
    assert first_mistake(["--limit", "3"]) is None


def test_a_file_that_is_not_there_is_told_with_those_that_are(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 1")
    assert f"did you mean {tmp_path / 'mine.yaml'}" in first_mistake(["--config", str(tmp_path / "mine.yam")])


def test_the_settings_at_the_top_are_those_of_the_parsers():
    from fex.cli.bench.bench import _parser

    own = _parser()._subcommands_action._name_parser_map["run"]
    found = {action.dest.split(".")[0] for action in own._actions} - {"help", "config", "print_config", "print_shtab"}
    assert found == {*TOP["bench"]}


@pytest.mark.parametrize("program", ["train", "bench"])
def test_it_is_told_before_anything_is_imported(program, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"data": {"class_path": "datamodules.Scenes", "init_args": {"num_trian": 1}}}))
    code = (
        f"import sys; sys.argv = ['x', '--config', {str(path)!r}]\nfrom fex.cli.entry import {program} as f\n"
        "try: f()\nexcept SystemExit as e: print('code', e.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "code 2 False\n"
    assert done.stderr.startswith(f"fex-{program}: error: {path}: datamodules.Scenes takes no 'num_trian'")
