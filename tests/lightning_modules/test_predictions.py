"""What several processes predict becomes one result, equal to that of one process."""

from types import SimpleNamespace

import pytest
import torch

from lightning_modules import FEXModule
from lightning_modules.callbacks import PredictionWriter, predictions
from tests.lightning_modules.small import GRID, SmoothBox, pictures, sgd, vit


def written(folder, ranks, module):
    """The rows 0 ... 12 in batches of 4, dealt to `ranks` processes; the last three rows pad."""
    inputs = pictures(16)[0]
    trainers = [
        SimpleNamespace(
            log_dir=folder, default_root_dir=folder, world_size=ranks, global_rank=rank, is_global_zero=rank == 0,
            num_devices=ranks,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    writers = [PredictionWriter(["npz"]) for _ in trainers]
    for writer, trainer in zip(writers, trainers, strict=True):
        writer.on_predict_start(trainer, module)
    for step, rows in enumerate(torch.arange(16).split(4)):
        for writer, trainer, own in zip(writers, trainers, rows.chunk(ranks), strict=True):
            batch = {"inputs": inputs[own], "index": own, "valid": own < 13}
            writer.on_predict_batch_end(trainer, module, module.predict_step(batch, step), batch, step)
    for writer, trainer in reversed(list(zip(writers, trainers, strict=True))):  # the first has to wait for the last
        writer.on_predict_end(trainer, module)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return files, (folder / "predictions" / "explanations.csv").read_text()


@pytest.fixture
def module(monkeypatch):
    names = {f".part-{rank}.jsonl" for rank in range(2)}
    monkeypatch.setattr(predictions, "union_over_processes", lambda own, group: names | own)
    return FEXModule(SmoothBox(), GRID, vit(), num_masks=2, optimizer=sgd)


def test_the_parts_of_two_processes_become_one_result(tmp_path, module):
    alone, table = written(tmp_path / "alone", 1, module)
    merged, merged_table = written(tmp_path / "two", 2, module)
    assert merged.keys() == alone.keys()
    assert len([name for name in merged if name.endswith(".npz")]) == 13
    assert merged_table == table
    assert merged_table.count("\n") == 14
    gallery = "predictions/gallery.html"
    assert merged[gallery].read_text() == alone[gallery].read_text()


def test_a_part_on_another_machine_is_told(tmp_path, module, monkeypatch, caplog):
    monkeypatch.setattr(predictions, "union_over_processes", lambda own, group: own | {".part-7.jsonl"})
    _, table = written(tmp_path, 2, module)
    assert table.count("\n") == 1 + 7  # of rank 0 alone
    assert "1 of 2 processes wrote their results to the disk of another machine" in caplog.text
