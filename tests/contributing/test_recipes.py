"""Each recipe of `CONTRIBUTING.md`, followed once: a class in a file, its class path in a YAML, no edit in `fex`."""

from pathlib import Path

import pytest

from fex.cli.bench import bench
from fex.cli.train.train import run
from fex.metrics.protocols import get_protocol
from tests.contributing.own import LeftHalf, OwnReward, White
from tests.table_modality import Columns

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_own_black_box_explainer_removal_and_protocol_in_a_benchmark(tmp_path):
    report = bench.run(["run", "--config", str(HERE / "benchmark.yaml"), "--output", str(tmp_path)])
    assert {row["method"] for row in report["rows"]} == {"Own", "RISE"}
    assert not [row["error"] for row in report["rows"] if "error" in row]
    row = next(row for row in report["rows"] if row["method"] == "RISE")
    assert (row["metric"], row["n"], row["explainer_removal"]) == ("share_above_mean", 4, "white")
    assert 0 < row["value"] < 1


def test_own_black_box_removal_and_reward_in_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = run(["--config", str(HERE / "train.yaml")]).model
    assert isinstance(trained.black_box, LeftHalf)
    assert isinstance(trained.removal, White)
    assert isinstance(trained.reward, OwnReward)
    assert trained.reward.price == 0.2
    assert trained.cost.queries > 0


def test_own_modality_in_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = run(["--config", str(HERE / "table.yaml")]).model
    assert trained.features == Columns(3)
    assert trained.removal.name == "typical value"
    assert trained.cost.queries > 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no.such.Protocol", "Found no protocol 'no.such.Protocol'"),
        ("fex.images.Mean", "is no subclass of fex.metrics"),
    ],
)
def test_what_is_no_protocol_is_told(path, reason):
    with pytest.raises(ValueError, match=reason):
        get_protocol(path)


def test_the_guide_names_files_that_exist():
    words = (ROOT / "CONTRIBUTING.md").read_text().replace("`", " ").split()
    named = {
        word.rstrip(".,:;)").lstrip("(")
        for word in words
        if "/" in word and word.startswith(("fex/", "tests/", "configs/"))
    }
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
