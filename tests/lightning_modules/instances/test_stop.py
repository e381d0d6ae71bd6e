"""Signals to a run over instances: it ends at once, and started again it does only what was not finished."""

import os
import signal
import time
from contextlib import nullcontext

import pytest
from torch.utils.data import DataLoader

from datamodules.rows import collate
from fex.cli.train.graceful_stop import GracefulStop
from fex.cli.train.trainer import FexTrainer
from lightning_modules import DAXModule
from tests.lightning_modules.instances.halves import Data, dax, instances, run
from tests.lightning_modules.processes import finish, start, wait_for


class OneByOne(Data):
    def predict_dataloader(self):
        return DataLoader(self.rows, batch_size=1, collate_fn=collate)


def slow(folder):
    """Two instances, and then one that takes for ever."""
    module = DAXModule(dax(), output=str(folder))
    explain = module.explain_rows

    def then_wait(inputs, target):
        if len(instances(folder)) == 2:
            time.sleep(200)
        yield from explain(inputs, target)

    module.explain_rows = then_wait
    FexTrainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[GracefulStop()],
    ).fit(module, datamodule=OneByOne())  # fmt: skip


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_signal_costs_only_the_instance_under_way(name, code, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(slow, out, log=log)
    wait_for(lambda: len(instances(out)) == 2, process, log)
    time.sleep(0.5)
    os.kill(process.pid, getattr(signal, name))
    assert finish(process, log, seconds=100) == code  # not after the 200 seconds
    if name != "SIGKILL":
        assert "What is finished is kept" in log.read_text()
        assert not list(out.rglob("*.part"))
    before = {path: path.stat().st_mtime_ns for path in (out / "instances").rglob("*.npz")}
    again = DAXModule(dax(), output=str(out))
    run(again)
    assert instances(out) == [f"{index}.jpg.npz" for index in (0, 2, 3, 4, 5)]
    assert again.black_box.queries == 3 * 41  # 40 samples and the clean prediction of each that was missing
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (out / "gallery.html").is_file()


@pytest.mark.parametrize("stopped", [True, False])
def test_the_signals_are_given_back(stopped, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    module = DAXModule(dax(), output=str(tmp_path))
    explain = module.explain_rows

    def with_signal(inputs, target):
        if stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from explain(inputs, target)

    module.explain_rows = with_signal
    trainer = FexTrainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[GracefulStop()],
    )  # fmt: skip
    with pytest.raises(SystemExit, match="143") if stopped else nullcontext():
        trainer.fit(module, datamodule=OneByOne())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
