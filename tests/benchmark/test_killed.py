"""`fex-bench run`, killed: what was finished is not done again, and the report is that of a run that was not."""

import json
import os
import signal
import sys

import pytest

from tests.lightning_modules.processes import finish, start, wait_for

CONFIG = """
black_box: {class_path: fex.black_box.TimmBlackBox, init_args: {weights: vit_scenes}}
data: {class_path: datamodules.Scenes, init_args: {num_test: 24, batch_size: 4}}
features: {height: 8, width: 8}
protocols: [fex]
methods:
  RISE: {class_path: fex.baselines.RISE, init_args: {num_masks: 200}}
  Random: {class_path: fex.baselines.Random}
"""


def bench(*argv):
    """The console script."""
    from fex.cli.bench.bench import main

    sys.argv = ["fex-bench", *argv]
    main()


def records(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.npz")}


def rows(folder):
    found = json.loads((folder / "report.json").read_text())["rows"]
    return [(row["method"], row["metric"], row["value"], row["ci95"], row["queries"]) for row in found]


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    (tmp_path / "bench.yaml").write_text(CONFIG)
    arguments = ["run", "--config", str(tmp_path / "bench.yaml"), "--output"]
    killed, whole, log = tmp_path / "killed", tmp_path / "whole", tmp_path / "log"
    process = start(bench, *arguments, str(killed), log=log)
    wait_for(lambda: len(records(killed)) >= 5, process, log)
    os.kill(process.pid, signal.SIGKILL)
    assert finish(process, log) == -9
    before = records(killed)
    assert not (killed / "report.json").exists()
    for folder in (killed, whole):
        assert finish(start(bench, *arguments, str(folder), log=log), log) == 0, log.read_text()
    after = records(killed)
    assert (
        len(after) == len(records(whole)) == 3 * 6 + 1
    )  # batches of both methods and of the clean predictions, and the probe of the box
    assert {path: after[path] for path in before} == before
    assert rows(killed) == rows(whole)
