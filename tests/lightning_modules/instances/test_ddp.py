"""Two processes share the instances out among them."""

import json

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from datamodules.loader import table_loader
from datamodules.order import ShardedBatchSampler
from fex.cli.train.trainer import FexTrainer
from lightning_modules import DAXModule
from tests.lightning_modules.instances.halves import Data, dax
from tests.lightning_modules.processes import together


class Rows:
    def __init__(self):
        self.rows = Data().rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return {key: value for key, value in self.rows[index].items() if key != "index"}


class Sharded(pl.LightningDataModule):
    """The project's own sharding."""

    def predict_dataloader(self) -> DataLoader:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        sampler = ShardedBatchSampler(6, 1, shuffle=False, rank=rank, world_size=world)
        return table_loader(Rows(), sampler, 0)


def explain(folder):
    module = DAXModule(dax(), output=f"{folder}/out", protocols=["dax-iou"])
    logger = TensorBoardLogger(folder, name="tb", version="")
    trainer = FexTrainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=logger, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=Sharded())
    torch.save(module.black_box.queries, f"{folder}/{trainer.global_rank}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    together(explain, folder, folder=folder)
    return folder


def test_every_instance_is_explained_once(folder):
    found = sorted(path.name for path in (folder / "out" / "instances" / "folder").glob("*.npz"))
    assert found == [f"{index}.jpg.npz" for index in (0, 2, 3, 4, 5)]
    queries = [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]
    assert sorted(queries) == [2 * 41, 3 * 41]  # 40 samples and the clean prediction each


def test_the_course_of_each_instance_is_logged_by_the_process_that_explains_it(folder):
    files = list((folder / "tb").glob("events*"))
    assert len(files) == 2
    found = {tag for file in files for tag in EventAccumulator(str(file)).Reload().Tags()["images"]}
    assert found == {f"folder/{index}.jpg/mask" for index in (0, 2, 3, 4, 5)}


def test_one_report_has_them_all(folder):
    rows = json.loads((folder / "out" / "report.json").read_text())["rows"]
    assert rows[0]["n"] == 5
    assert len((folder / "out" / "explanations.csv").read_text().splitlines()) == 6
