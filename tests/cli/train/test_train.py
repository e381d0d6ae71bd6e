"""`fex-train`: packaged configs by name, flags, short errors, what is left beside the run, progress lines."""

import csv
import json
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from fex.cli.quick_check import TOP
from fex.cli.train import train
from fex.cli.train.loop_progress import LoopProgress
from fex.cli.train.train import main, run
from fex.storage.resources import resource_dir
from tests.shrink import load, shrink, written


def quickstart_in(folder):
    config = shrink(load("quickstart"), folder)
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:1]
    return written(config, folder / "small.yaml")


@pytest.fixture
def small(tmp_path):
    return quickstart_in(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run: small.yaml, run/checkpoints/last.ckpt."""
    folder = tmp_path_factory.mktemp("trained")
    run(["--config", quickstart_in(folder)])
    return folder


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as error:
        run(list(argv))
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) < 20
    return message


def printed(capsys, *argv):
    with pytest.raises(SystemExit) as error:
        run([*argv, "--print_config"])
    assert error.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["quickstart.yaml", "quickstart"])
def test_packaged_config_by_name_from_any_directory_and_flags_win(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--data.init_args.batch_size", "7", "--model.init_args.num_masks=9", "--trainer.max_epochs", "2"]
    found = printed(capsys, "--config", name, *flags)
    assert found["data"]["init_args"]["batch_size"] == 7
    assert found["model"]["init_args"]["num_masks"] == 9
    assert found["trainer"]["max_epochs"] == 2
    assert found["data"]["init_args"]["num_train"] == load("quickstart")["data"]["init_args"]["num_train"]


def test_a_file_in_the_working_directory_wins_over_a_packaged_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = load("quickstart")
    config["data"]["init_args"]["num_train"] = 123
    written(config, tmp_path / "quickstart.yaml")
    assert printed(capsys, "--config", "quickstart.yaml")["data"]["init_args"]["num_train"] == 123


def test_unknown_config_lists_the_packaged_ones(capsys):
    message = refused(capsys, "--config", "nope.yaml")
    assert "Found no config 'nope.yaml'" in message
    for path in resource_dir("configs").glob("*.yaml"):
        assert path.name in message


@pytest.mark.parametrize(
    ("flag", "name"),
    [("--data.init_args.num_trian=5", "num_trian"), ("--model.init_args.lambda_kl=1", "lambda_kl"),
     ("--trainer.max_epoch=1", "max_epoch")],
)  # fmt: skip
def test_unknown_key_fails_with_its_name(flag, name, capsys):
    message = refused(capsys, "--config", "quickstart.yaml", flag)
    assert name in message
    assert "For all settings: fex-train fit --help" in message


def test_unknown_key_in_a_file_fails_with_its_name(tmp_path, capsys):
    config = load("quickstart")
    config["trainer"]["epochs"] = 3
    assert "epochs" in refused(capsys, "--config", written(config, tmp_path / "mine.yaml"))


def test_null_is_null_at_any_depth(capsys):
    """Of nested settings, where the parser would make a word of it."""
    model = "--model.init_args."
    deep = ["black_box.init_args.name", "black_box.init_args.weights", "explainer.init_args.encoder.init_args.weights"]
    flags = [word for key in deep for word in (model + key, "null")]
    found = printed(capsys, "--config", "quickstart.yaml", *flags, f"{model}kl_stop=null", "--data.init_args.num_val=5")
    arguments = found["model"]["init_args"]
    assert arguments["black_box"]["init_args"]["name"] is None
    assert arguments["black_box"]["init_args"]["weights"] is None
    assert arguments["explainer"]["init_args"]["encoder"]["init_args"]["weights"] is None
    assert arguments["kl_stop"] is None
    assert {*found} <= {*TOP["train"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reward": {"class_path": "fex.policy.rewards.Retaind"}},
            "'fex.policy.rewards' has no 'Retaind'; did you mean Retained",
        ),
        ({"num_maskz": 3}, "takes no 'num_maskz'; did you mean num_masks?"),
    ],
)
def test_a_wrong_name_in_a_file_is_told_with_the_close_ones(change, message, tmp_path, capsys):
    config = load("quickstart")
    config["model"]["init_args"] |= change
    told = refused(capsys, "--config", written(config, tmp_path / "mine.yaml"))
    assert message in told
    assert "Namespace" not in told
    assert "NestedArg" not in told


@pytest.mark.parametrize("flag", ["--model.help", "--model.init_args.explainer.help", "--model.init_args.a.help=x.Y"])
def test_help_of_a_class_says_how_it_is_asked_for(flag):
    with pytest.raises(ValueError, match="does not say of which class: write `--model.help lightning_modules.FEXM"):
        run(["fit", "--config", "quickstart.yaml", flag])


def test_help_of_a_class_inside_another(capsys):
    with pytest.raises(SystemExit):
        run(["fit", "--model.help", "lightning_modules.FEXModule", "--model.explainer.help", "fex.nets.ExplainerNet"])
    assert "--model.explainer.value_degree" in capsys.readouterr().out


def test_a_value_named_like_a_subcommand_is_a_value():
    assert train._arguments(["--config", "x.yaml", "--data.init_args.root", "test"])[0] == "fit"
    assert train._arguments(["test", "--config", "x.yaml"])[0] == "test"
    assert train._arguments(["--help"]) == ["--help"]


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        run(["--help"])
    text = capsys.readouterr().out
    assert "\n  fex-train --config quickstart.yaml\n" in text
    assert "vit_imagenet.yaml" in text


def test_run_without_a_terminal(small, tmp_path, capsys, caplog):
    """The resolved config repeats the run; progress is lines; Lightning's tips and known warnings are silent."""
    with warnings.catch_warnings(record=True) as told:
        first = run(["--config", small, "--seed_everything", "3"])
    out = capsys.readouterr()
    assert any(isinstance(callback, LoopProgress) for callback in first.trainer.callbacks)
    assert "epoch 1 of 1: 2 of 2 batches" in out.out
    assert "Tip:" not in out.err + out.out + caplog.text
    assert not [str(w.message) for w in told if "eval mode" in str(w.message)]
    beside = tmp_path / "run" / "config.yaml"
    assert yaml.safe_load(beside.read_text())["seed_everything"] == 3
    with pytest.raises(
        FileExistsError, match=r"earlier run. To go on with it: --ckpt_path .*last.ckpt.*--overwrite true"
    ):
        run(["--config", str(beside), "--seed_everything", "4"])
    assert yaml.safe_load(beside.read_text())["seed_everything"] == 3
    again = run(["--config", str(beside), "--overwrite", "true"])
    assert yaml.safe_load(beside.read_text())["overwrite"] is False
    for mine, theirs in zip(first.model.explainer.parameters(), again.model.explainer.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_checkpoints_that_cannot_be_written_fail_before_training(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    config = yaml.safe_load(Path(small).read_text())
    config["trainer"]["callbacks"][0]["init_args"]["dirpath"] = str(tmp_path / "file" / "checkpoints")
    path = written(config, tmp_path / "bad.yaml")
    monkeypatch.setattr("sys.argv", ["fex-train", "--config", path])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    message = capsys.readouterr().err
    assert "Could not write to" in message
    assert "choose a folder that is writable" in message
    monkeypatch.setenv("FEX_TRACEBACK", "1")
    with pytest.raises(OSError, match="Could not write"):
        main()


def test_a_checkpoint_of_another_explainer_is_refused(trained, tmp_path):
    config = yaml.safe_load((trained / "small.yaml").read_text())
    config["model"]["init_args"]["explainer"]["init_args"]["value_degree"] = 1
    last = str(trained / "run" / "checkpoints" / "last.ckpt")
    with pytest.raises(ValueError, match="another explainer: net.value_degree is 3 there and 1 here. They must agree"):
        run(["--config", written(config, tmp_path / "other.yaml"), "--ckpt_path", last])


class Evil:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "fex": Evil()}, "without running code from it (it holds more than tensors and plain data"),
        (b"PK\x03\x04 cut off", "without running code from it (it is cut off, damaged or no checkpoint)"),
        ({"weights": torch.zeros(2)}, "is no checkpoint of fex-train (it has no `state_dict`)"),
        (torch.zeros(2), "is no checkpoint of fex-train"),
        (None, "Found no checkpoint at"),
    ],
)
def test_a_bad_checkpoint_is_one_line_without_unsafe_advice(small, tmp_path, monkeypatch, capsys, content, message):
    path = tmp_path / "bad.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    monkeypatch.setattr("sys.argv", ["fex-train", "--config", small, "--ckpt_path", str(path)])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    out, told = capsys.readouterr()
    assert message in told
    assert told.startswith("fex-train: error: ")
    assert len(told.splitlines()) == 2
    assert "weights_only" not in told
    assert "ran" not in out.splitlines()


def test_a_trainer_setting_that_lightning_refuses_is_one_line(small, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fex-train", "--config", small, "--trainer.max_steps", "-3"])
    with pytest.raises(SystemExit) as error:
        main()
    assert error.value.code == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fex-train: error: ")]
    assert len(told) == 1
    assert "max_steps" in told[0]


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_help_of_each_stage_shows_examples(stage, capsys):
    with pytest.raises(SystemExit):
        run([stage, "--help"])
    text = capsys.readouterr().out
    assert "examples:\n  fex-train" in text
    assert "exit codes" in text


def test_predict_writes_as_fex_explain_does_and_holds_nothing(trained):
    """Every row of the data: a picture and arrays each, one table, one gallery; they are the explainer's own."""
    small, last = str(trained / "small.yaml"), str(trained / "run" / "checkpoints" / "last.ckpt")
    done = run(["predict", "--config", small, "--trainer.precision", "32-true", "--ckpt_path", last])
    folder = trained / "run" / "predictions"
    with (folder / "explanations.csv").open() as file:
        rows = list(csv.DictReader(file))
    count = len(done.datamodule.datasets["test"])
    assert len(rows) == count == len(list(folder.glob("*.npz"))) == len(list(folder.glob("*.png")))
    assert (folder / "gallery.html").is_file()
    assert not done.trainer.predict_loop.return_predictions
    batch = next(iter(done.datamodule.predict_dataloader()))
    with torch.no_grad():
        probability, target = done.model.black_box(batch["inputs"]).max(1)
        scores, _ = done.model.explainer.explain(batch["inputs"], target)
    found = rows[: len(target)]
    assert [int(row["class_index"]) for row in found] == target.tolist()
    assert {row["probability_of"] for row in rows} == {"black box"}
    assert [float(row["probability"]) for row in found] == pytest.approx(probability.tolist(), abs=1e-4)
    assert [float(row["top_attribution"]) for row in found] == pytest.approx(scores.amax(1).tolist(), abs=1e-4)


def test_predictions_of_an_untrained_explainer_are_refused_and_scores_are_told(small, capsys):
    for flags in ([], ["--ckpt_path", "null"]):
        with pytest.raises(ValueError, match="Without a checkpoint the explainer is untrained.*give --ckpt_path"):
            run(["predict", "--config", small, *flags])
    capsys.readouterr()
    run(["test", "--config", small])
    out, err = capsys.readouterr()
    assert "what is scored is an untrained explainer" in err
    assert "FLOPs" not in out + err


def test_predict_writes_texts_in_the_order_given(tmp_path, monkeypatch):
    """Words, scores and character spans of every text that has tokens, as the explainer itself gives them."""
    pytest.importorskip("peft")
    config = shrink(load("fex_minilm_sst2"), tmp_path)
    config["trainer"]["callbacks"] = config["trainer"]["callbacks"][:1]
    config["trainer"]["limit_predict_batches"] = 1.0
    texts = ["the film is a gem and so very odd", "a mess", "", "films!", "so dull"]
    (tmp_path / "mine.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    options = {"test": str(tmp_path / "mine.csv"), "batch_size": 2}
    config["data"] = {"class_path": "datamodules.Texts", "init_args": options}
    path = written(config, tmp_path / "small.yaml")
    monkeypatch.setattr(train.FexCLI, "_untrained", lambda self: False)
    done = run(["predict", "--config", path, "--trainer.precision", "32-true"])
    folder = tmp_path / "run" / "predictions"
    lines = [json.loads(line) for line in (folder / "explanations.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [text for text in texts if text]
    assert [line["source"] for line in lines] == [f"mine.csv:{number}" for number in (2, 3, 5, 6)]
    assert done.datamodule.skipped == {"predict": 1}
    for line in lines:
        ids = done.model.preprocess(line["text"]).ids[None]
        with torch.no_grad():
            probability, target = done.model.black_box(ids).max(1)
            scores, _ = done.model.explainer.explain(ids, target)
        assert (line["target"]["index"], line["probability_of"]) == (int(target), "black box")
        assert line["probability"] == pytest.approx(float(probability), abs=5e-3)  # the box answers in bf16
        assert line["method"] == "FEX"
        assert all(line["text"][word["start"] : word["end"]] == word["word"] for word in line["words"])
        best = max(line["words"], key=lambda word: word["score"])
        assert best["score"] == pytest.approx(float(scores[0, 1:-1].max()), abs=1e-4)
    with (folder / "explanations.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    assert (folder / "gallery.html").read_text().count("<article") == 4


def test_a_config_that_is_no_text_is_told(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"model: \xff\xfe")
    assert f"The config {path} is no text in UTF-8" in refused(capsys, "--config", str(path))


def test_agreement_with_the_labels_is_told_before_the_training(small, tmp_path, capsys):
    run(["--config", small])
    out, err = capsys.readouterr()
    assert "The black box agrees with " in err
    assert " labels of the val data (" in err
    run(["--config", small, "--ckpt_path", str(tmp_path / "run" / "checkpoints" / "last.ckpt")])
    assert "The black box agrees" not in capsys.readouterr().err
