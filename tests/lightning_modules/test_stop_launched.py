"""A process that stops takes along those that it has launched, as `fex-train --trainer.devices 2` launches them."""

import os
import signal
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import pytest

from fex.cli.train.graceful_stop import GracefulStop
from fex.cli.train.trainer import FexTrainer
from lightning_modules import DAXModule, FEXModule
from tests.lightning_modules.instances.halves import dax
from tests.lightning_modules.instances.test_ddp import Sharded
from tests.lightning_modules.processes import finish, start, wait_for
from tests.lightning_modules.small import GRID, Pictures, SmoothBox, fit, sgd, vit

LONG = 300  # seconds that a share takes; no test waits so long


def rank():
    return int(os.environ.get("LOCAL_RANK", "0"))


def work(folder):
    """A share of which there are hours left."""
    (folder / f"{rank()}.busy").touch()
    time.sleep(LONG)


def until_the_other_works(folder):
    while not any(folder.glob("*.busy")):
        time.sleep(0.02)


def instances(case, folder):
    """Process 1 has an instance that takes for ever; 0 too, or it fails, or is done and waits; or the other way."""
    module = DAXModule(dax(), output=str(folder / "out"))
    explain = module.explain_rows

    def slowly(inputs, target):
        if case == "signal" or rank() == (case != "waited for"):
            work(folder)
        until_the_other_works(folder)
        if case == "error":
            raise ValueError("no numbers")
        yield from explain(inputs, target)

    module.explain_rows = slowly
    FexTrainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[GracefulStop()],
    ).fit(module, datamodule=Sharded())  # fmt: skip


class FailsInOne(pl.Callback):
    """The first process fails in the second batch, the other is not through with it."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 1 and rank() == 1:
            work(self.folder)
        if batch_idx == 1:
            until_the_other_works(self.folder)
            raise ValueError("no numbers")


def training(folder):
    module = FEXModule(SmoothBox(), GRID, vit(), optimizer=sgd, num_masks=4)
    data = Pictures(32, batch_size=4)
    fit(module, data, callbacks=[FailsInOne(folder), GracefulStop()], devices=2, strategy="ddp")


def run(case, folder):
    """The whole program, in each of the processes."""
    (folder / f"{rank()}.pid").write_text(str(os.getpid()))
    training(folder) if case == "training" else instances(case, folder)


def first(case, folder):
    """The process that launches the other, by its command line."""
    sys.argv = [__file__, case, str(folder)]
    run(case, folder)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


CODES = {"signal": 143, "waiting": 143, "waited for": 143, "error": 1, "training": 1}


def check(case, folder, process, log):
    """Stops process 0, which works or waits for the other; or it fails by itself."""
    wait_for(lambda: len(list(folder.glob("*.busy"))) == 1 + (case == "signal"), process, log)
    other = int((folder / "1.pid").read_text())
    try:
        if CODES[case] == 143:
            done = {"signal": 0, "waiting": 3, "waited for": 2}[case]  # of rows 0, 2 and 4, and 3 and 5
            wait_for(lambda: len(list((folder / "out" / "instances").rglob("*.npz"))) == done, process, log)
            time.sleep(1)
            os.kill(process.pid, signal.SIGTERM)
        assert finish(process, log, seconds=20) == CODES[case], log.read_text()
        assert not lives(other), f"{case}: {log.read_text()}"
    finally:
        if lives(other):
            os.kill(other, signal.SIGKILL)
    said, failed = log.read_text(), CODES[case] == 1
    assert said.count("What is finished is kept") == (not failed), said
    assert said.count("Traceback") == said.count("ValueError: no numbers") == failed, said


@pytest.mark.slow
def test_it_takes_along_what_it_has_launched(tmp_path):
    running = []
    for case in CODES:  # side by side: most of the time they start
        folder = tmp_path / case
        folder.mkdir()
        root = str(Path(__file__).parents[2])
        running.append((case, folder, start(first, case, folder, log=folder / "log", PYTHONPATH=root), folder / "log"))
    for each in running:
        check(*each)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
