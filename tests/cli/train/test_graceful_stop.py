"""What a run that is stopped says: what it waits for, and the command that goes on with it."""

import signal
from pathlib import Path

import pytest

from fex.cli.train.graceful_stop import GracefulStop, _resuming


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("--config my.yaml", "fex-train --config my.yaml --ckpt_path r/last.ckpt"),
        ("fit --config=my.yaml --overwrite true", "fex-train fit --config=my.yaml --ckpt_path r/last.ckpt"),
        (
            "--ckpt_path old.ckpt --config my.yaml --ckpt_path=older.ckpt",
            "fex-train --config my.yaml --ckpt_path r/last.ckpt",
        ),
    ],
)
def test_it_is_the_first_one_from_the_checkpoint(words, command):
    assert _resuming(["fex-train", *words.split()], Path("r/last.ckpt")) == command


def test_words_with_spaces_are_quoted():
    assert "'my run.yaml'" in _resuming(["fex-train", "--config", "my run.yaml"], Path("last.ckpt"))


def test_it_says_what_has_to_end_first(capfd):
    stop = GracefulStop()
    stop._took = 12.3
    stop._ask(signal.SIGTERM, None)
    stop.on_validation_start(None, None)
    stop._ask(signal.SIGTERM, None)
    stop.on_validation_end(None, None)
    stop._took = 0.1
    stop._ask(signal.SIGTERM, None)
    first, second, third = filter(None, capfd.readouterr().err.splitlines())
    assert first.startswith("Stopping after this batch (12 s each), with a checkpoint.")
    assert second.startswith("Stopping after this validation, with a checkpoint.")
    assert third.startswith("Stopping after this batch, with a checkpoint.")
