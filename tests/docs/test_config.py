"""The whole YAMLs of the pages train, with the files that they name made up."""

import shutil

import pytest
import timm
import torch
import yaml

from fex.cli.train.train import run
from tests.datamodules.pictures import encode
from tests.docs.test_examples import DOCS


def trained(tmp_path, *more):
    """One step of the config of getting started, in this folder."""
    text = (DOCS / "examples" / "mine.yaml").read_text(encoding="utf-8").replace("resnet50", "resnet10t")
    torch.save(timm.create_model("resnet10t", num_classes=2).state_dict(), "mine.pth")
    (tmp_path / "photos").mkdir()
    for index in range(20):
        (tmp_path / "photos" / f"{index}.png").write_bytes(encode((70, 66), colour=(10 * index, 90, 30)))
    (tmp_path / "mine.yaml").write_text(text)
    flags = ["--trainer.max_steps", "1", "--data.init_args.batch_size", "2", "--trainer.limit_val_batches", "1"]
    cli = run(["--config", "mine.yaml", *more, "--trainer.accelerator", "cpu", *flags])
    assert cli.trainer.global_step == 1
    assert yaml.safe_load(text)["data"]["init_args"]["root"] == "photos"


def test_the_config_of_getting_started_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path)
    assert (tmp_path / "runs" / "mine" / "checkpoints" / "last.ckpt").is_file()


def test_the_config_of_replay_asks_in_its_first_epochs_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "examples" / "replay.yaml").read_text(encoding="utf-8")
    text = text.replace("vit_tiny_patch16_224", "test_vit").replace("height: 14, width: 14", "height: 5, width: 5")
    torch.save(timm.create_model("test_vit", num_classes=2).state_dict(), "mine.pth")
    (tmp_path / "photos").mkdir()
    for index in range(10):
        (tmp_path / "photos" / f"{index}.png").write_bytes(encode((170, 166), colour=(20 * index, 90, 30)))
    (tmp_path / "replay.yaml").write_text(text)
    flags = ["--trainer.max_epochs", "4", "--data.init_args.batch_size", "4", "--trainer.limit_val_batches", "0"]
    cli = run(["--config", "replay.yaml", "--trainer.accelerator", "cpu", *flags])
    assert cli.trainer.global_step == 4 * 2  # of 8 photographs, two are held back
    assert cli.trainer.callback_metrics["train/queries"] == cli.model.black_box.queries == 2 * 8 * (1 + 8)
    assert cli.trainer.callback_metrics["train/masks"] == 8


def test_the_loggers_of_the_page_on_training_take_all(tmp_path, monkeypatch):
    for package in ("wandb", "mlflow"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    shutil.copy(DOCS / "examples" / "loggers.yaml", tmp_path)
    trained(tmp_path, "--config", "loggers.yaml")
    run = tmp_path / "runs" / "mine"
    assert list(run.glob("events.*"))
    assert list((run / "wandb").rglob("media/images/val/heat_maps*.png"))
    assert list((run / "mlflow").rglob("*heat_maps*"))
