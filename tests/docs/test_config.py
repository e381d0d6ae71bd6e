"""The whole YAML of "Getting started" trains, with the files that it names made up."""

import timm
import torch
import yaml

from fex.cli.train.train import run
from tests.datamodules.pictures import encode
from tests.docs.test_examples import DOCS


def test_the_config_of_getting_started_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "examples" / "mine.yaml").read_text(encoding="utf-8").replace("resnet50", "resnet10t")
    torch.save(timm.create_model("resnet10t", num_classes=2).state_dict(), "mine.pth")
    (tmp_path / "photos").mkdir()
    for index in range(20):
        (tmp_path / "photos" / f"{index}.png").write_bytes(encode((70, 66), colour=(10 * index, 90, 30)))
    (tmp_path / "mine.yaml").write_text(text)
    flags = ["--trainer.max_steps", "1", "--data.init_args.batch_size", "2", "--trainer.limit_val_batches", "1"]
    cli = run(["--config", "mine.yaml", "--trainer.accelerator", "cpu", *flags])
    assert cli.trainer.global_step == 1
    assert (tmp_path / "runs" / "mine" / "checkpoints" / "last.ckpt").is_file()
    assert yaml.safe_load(text)["data"]["init_args"]["root"] == "photos"
