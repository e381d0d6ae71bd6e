"""Pictures, curves and tables reach whatever logger is set."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_modules.callbacks import ExplanationScores, HeatMaps
from lightning_modules.sinks import MLflowSink
from tests.lightning_modules.test_callbacks import fixed, module, trainer  # noqa: F401 a fixture

PICTURES = {"val/heat_maps", "curves/fex/positive_curve", "curves/fex/negative_curve"}


class Plain(Logger):
    """Takes numbers alone."""

    name, version, experiment = "plain", 0, None

    def __init__(self):
        self.numbers, self.kept = {}, []

    def log_metrics(self, metrics, step=None):
        self.numbers |= metrics

    def log_hyperparams(self, *_, **__):
        pass


class LikeWandb(Plain):
    def log_image(self, key, images, step=None):
        self.kept.append(("picture", key, images[0], step))

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.kept.append(("table", key, (columns, data), step))


class LikeMLflow(Plain):
    run_id = "r1"

    @property
    def experiment(self):
        return self

    def log_image(self, run_id, image, artifact_file=None, key=None, step=None):
        assert (run_id, artifact_file) == ("r1", None)
        self.kept.append(("picture", key, image, step))

    def log_text(self, run_id, text, artifact_file):
        self.kept.append(("table", artifact_file, text, None))


def ran(folder, logger, module):  # noqa: F811
    run = trainer(folder, [ExplanationScores(["fex"]), HeatMaps(count=2)], max_epochs=1, fresh=logger)
    run.fit(module, fixed(), fixed())
    run.test(module, fixed(), verbose=False)
    return run


@pytest.mark.parametrize("kind", [LikeWandb, LikeMLflow])
def test_pictures_and_tables_by_shape_of_the_logger(kind, module, tmp_path):  # noqa: F811
    logger = kind()
    ran(tmp_path, logger, module)
    pictures = {key: (pixels, step) for what, key, pixels, step in logger.kept if what == "picture"}
    assert set(pictures) == PICTURES
    for pixels, step in pictures.values():
        assert (pixels.dtype, pixels.ndim, pixels.shape[2], step) == (np.uint8, 3, 3, 2)
    [(_, key, table, _)] = [each for each in logger.kept if each[0] == "table"]
    if kind is LikeWandb:
        columns, rows = table
        assert (key, columns) == ("test/scores", ["protocol", "metric", "mean", "low", "high", "n"])
        mean = next(row[2] for row in rows if row[1] == "positive_auc")
        assert mean == pytest.approx(logger.numbers["test/fex/positive_auc"], abs=1e-4)
    else:
        assert key == "test/scores/2.md"
        assert table.splitlines()[0] == "| protocol | metric | mean | low | high | n |"
        assert "| fex | positive_auc |" in table


def test_a_logger_without_pictures_is_told_of_once(module, tmp_path, caplog):  # noqa: F811
    with caplog.at_level(logging.INFO):
        logging.getLogger("lightning.pytorch").propagate = True
        ran(tmp_path, [CSVLogger(tmp_path), TensorBoardLogger(tmp_path, name="tb", version="")], module)
    assert caplog.text.count("takes no pictures") == 1
    assert "CSVLogger takes no pictures: heat maps, curves and tables are left out of it" in caplog.text
    events = EventAccumulator(str(tmp_path / "tb"), size_guidance={"images": 0})
    events.Reload()
    assert set(events.Tags()["images"]) == PICTURES
    assert "test/scores/text_summary" in events.Tags()["tensors"]


def test_names_of_instances_fit_mlflow():
    logger = LikeMLflow()
    sink = MLflowSink(logger)
    sink.picture("Straße (1).png/mask", np.zeros((2, 2, 3), np.uint8), 0)
    sink.number("a:b/loss", 0.5, 3)
    assert logger.kept[0][1] == "Stra_e _1_.png/mask"
    assert logger.numbers == {"a_b/loss": 0.5}


def test_wandb_offline(module, tmp_path, monkeypatch):  # noqa: F811
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="fex", save_dir=tmp_path, offline=True)
    ran(tmp_path, logger, module)
    logger.experiment.finish()
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    for tag in PICTURES:
        assert any(f"media/images/{tag}" in name and name.endswith(".png") for name in names), (tag, names)
    assert any("media/table/test/scores" in name for name in names)


def test_mlflow_in_a_local_store(module, tmp_path, monkeypatch):  # noqa: F811
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    logger = MLFlowLogger(
        "fex", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", artifact_location=str(tmp_path / "kept")
    )
    ran(tmp_path, logger, module)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    images = [Path(item.path).name for item in client.list_artifacts(logger.run_id, "images")]
    for tag in PICTURES:
        assert any(re.match(tag.replace("/", "[~#]"), name) for name in images), (tag, images)
    [table] = (tmp_path / "kept").rglob("2.md")
    assert "| fex | positive_auc |" in table.read_text()
