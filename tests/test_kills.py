"""Runs killed at random moments, inside saves too: nothing is lost, nothing mixed, nothing left behind.

FEX_KILLS sets how often each run is killed (12).
"""

import os
import random
import signal
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from fex.cli.explain import explain
from lightning_modules import DAXModule
from tests.benchmark.test_killed import CONFIG, bench, records, rows
from tests.explainers.tiny import write_checkpoint
from tests.lightning_modules.instances.halves import dax, instances
from tests.lightning_modules.instances.halves import run as run_instances
from tests.lightning_modules.processes import fex_train, finish, start, wait_for
from tests.lightning_modules.test_resume import assert_same_end, config, result

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("FEX_KILLS", "12"))


def slowly(work, *args):
    """Does `work` with saves that take long: a kill mostly falls into one."""
    from fex.storage import atomic

    sync = atomic._sync

    def late(path):
        time.sleep(0.2)  # the file is written and not in its place, or in its place and not listed for good
        sync(path)

    atomic._sync = late
    work(*args)


def left(folder):
    return list(folder.rglob("*.part"))


def killed(work, arguments, folder, log, check=lambda: None):
    """Starts `work` again and again, kills it at random moments after its first write, and then lets it finish."""
    draw, inside = random.Random(0), 0
    for number in range(KILLS):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")} if folder.exists() else {}
        process = start(slowly, work, *arguments(), log=log)

        def written(before=before):
            return any(before.get(path) != path.stat().st_mtime_ns for path in list(folder.rglob("*")) if path.exists())

        wait_for(lambda process=process, written=written: written() or not process.is_alive(), process, log)
        time.sleep(draw.uniform(0, 1.5))
        if number % 2 == 0:  # inside a save
            wait_for(lambda process=process: left(folder) or not process.is_alive(), process, log)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        code = finish(process, log)
        assert code in (0, -signal.SIGKILL), log.read_text()[-3000:]
        inside += bool(left(folder))
        check()
        if code == 0:
            break
    assert finish(start(work, *arguments(), log=log), log) == 0, log.read_text()[-3000:]
    assert not left(folder)
    return inside


def test_training(tmp_path):
    folders = {name: tmp_path / name for name in ("whole", "killed")}
    for folder in folders.values():
        folder.mkdir()
    log, folder = tmp_path / "log", folders["killed"]
    assert finish(start(fex_train, "--config", config(folders["whole"], tmp_path), log=log), log) == 0
    path, last, steps = config(folder, tmp_path), folder / "run" / "last.ckpt", [0]

    def arguments():
        return ["--config", path, *(["--ckpt_path", str(last)] if last.exists() else ["--overwrite", "true"])]

    def check():
        if last.exists():
            steps.append(torch.load(last, weights_only=True)["global_step"])
        assert steps == sorted(steps)

    assert killed(fex_train, arguments, folder / "run", log, check) > 0
    assert_same_end(result(folder), result(folders["whole"]))


def test_benchmark(tmp_path):
    (tmp_path / "bench.yaml").write_text(CONFIG)
    arguments = ["run", "--config", str(tmp_path / "bench.yaml"), "--output"]
    folder, log, seen = tmp_path / "killed", tmp_path / "log", {}
    assert finish(start(bench, *arguments, str(tmp_path / "whole"), log=log), log) == 0

    def check():
        now = records(folder)
        assert {path: now.get(path) for path in seen} == seen  # nothing that was finished is done again
        seen.update(now)

    assert killed(bench, lambda: [*arguments, str(folder)], folder, log, check) > 0
    assert len(records(folder)) == len(records(tmp_path / "whole"))
    assert rows(folder) == rows(tmp_path / "whole")


def per_instance(folder):
    run_instances(DAXModule(dax(), output=folder, protocols=["dax-iou"]))


def test_dax(tmp_path):
    folder, log, seen = tmp_path / "killed", tmp_path / "log", {}
    per_instance(str(tmp_path / "whole"))

    def check():
        now = {path: path.stat().st_mtime_ns for path in (folder / "instances").rglob("*.npz")}
        assert {path: now.get(path) for path in seen} == seen
        seen.update(now)

    assert killed(per_instance, lambda: [str(folder)], folder, log, check) > 0
    assert instances(folder) == instances(tmp_path / "whole")
    for name in instances(folder):
        found = [np.load(tmp_path / each / "instances" / "folder" / name) for each in ("killed", "whole")]
        assert np.array_equal(found[0]["attribution"], found[1]["attribution"])


def fex_explain(*argv):
    sys.exit(explain.main(argv))


def test_explain(tmp_path):
    checkpoint, inputs, log = write_checkpoint(tmp_path / "x.ckpt"), tmp_path / "in", tmp_path / "log"
    inputs.mkdir()
    for number in range(12):
        Image.effect_noise((20, 24), 20 + 5 * number).convert("RGB").save(inputs / f"{number}.png")
    arguments = [str(checkpoint), str(inputs), "--formats", "npz,json", "--num-workers", "1", "--output"]
    assert finish(start(fex_explain, *arguments, str(tmp_path / "whole"), log=log), log) == 0
    folder = tmp_path / "killed"

    def check():
        for path in folder.rglob("*.npz"):
            assert np.load(path)["attribution"].size

    assert killed(fex_explain, lambda: [*arguments, str(folder)], folder, log, check) > 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "whole").iterdir())
    for name in [name for name in names if name.endswith(".npz")]:
        assert np.array_equal(*(np.load(tmp_path / each / name)["attribution"] for each in ("killed", "whole")))
