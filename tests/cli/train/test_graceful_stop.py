"""The command that goes on with a stopped run."""

from pathlib import Path

import pytest

from fex.cli.train.graceful_stop import _resuming


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
