"""The load test of the server: what it counts as wrong, and a small one as it runs."""

import argparse
import json

import pytest
import torch

pytest.importorskip("litserve")
pytest.importorskip("python_multipart")

from fex.benchmark.speed.serving import _wrong, run
from tests.explainers.tiny import write_checkpoint


def test_an_answer_to_another_question_is_wrong():
    values = torch.tensor([0.1, 0.2, 0.3, 0.4])
    body = json.dumps({"explanations": [[{"attribution": [[0.1, 0.2], [0.3, 0.4]], "target": {"index": 3}}]]}).encode()
    assert _wrong(200, body, values, 3) == ""
    assert "mixed up" in _wrong(200, body, values, 2)
    assert "mixed up" in _wrong(200, body, values + 0.01, 3)
    assert "503" in _wrong(503, b"", values, 3)


@pytest.mark.slow
def test_nothing_is_lost_or_mixed_up(tmp_path):
    checkpoint = str(write_checkpoint(tmp_path / "x.ckpt"))
    found = run(argparse.Namespace(checkpoint=checkpoint, requests=60, parallel=8, rounds=2, malformed=6, port=8798))
    assert (found["wrong"], found["malformed"], len(found["share_of_rounds"])) == (0, {"4xx": 6}, 2)
    assert found["share"] == pytest.approx(found["served_per_second"] / found["plain_per_second"], rel=0.05)
