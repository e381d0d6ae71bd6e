"""`fex-bench run`: the report in all its forms, resume, selection, what is told of the data and the box."""

import json
import re

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fex.cli.bench import bench
from tests.cli.bench.tiny import ASKED, config, scores

pytestmark = pytest.mark.usefixtures("empty_curves")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    argv = config(folder, protocols=["fex", "fex/black"])
    return folder, argv, bench.run(argv)


def test_report_has_the_rows_and_says_what_failed(ran):
    folder, _, report = ran
    assert json.loads((folder / "out" / "report.json").read_text()) == report
    row = next(row for row in report["rows"] if row["method"] == "RISE")
    assert {
        "method", "protocol", "metric", "value", "ci95", "n", "queries", "seconds", "peak_mb", "evaluation_queries",
        "removal", "unit", "best", "to_best", "to_best_ci95", "differs", "training", "break_even", "explainer_removal",
    } == set(row)  # fmt: skip
    assert (row["n"], row["queries"], row["explainer_removal"]) == (8, 20, "mean")
    assert row["peak_mb"] > 0
    broken = [row for row in report["rows"] if row["method"] == "Broken"]
    assert len(broken) == 1
    assert "does not take ['colour']; it takes ['features', 'seed']" in broken[0]["error"]
    assert {"rows", "black_box", "data", "versions", "seed"} <= set(report)
    assert {"torch", "python"} <= set(report["versions"])
    assert {entry["evaluation_removal"] for entry in report["removal_matrix"]} == {"mean", "black"}
    curve = report["curves"][0]
    assert len(curve["mean"]) == len(curve["x"]) == 10


def test_every_form_of_the_report_is_there(ran):
    folder, _, report = ran
    markdown = (folder / "out" / "report.md").read_text()
    assert "| RISE |" in markdown
    assert "failed: ValueError: fex.baselines.Random does not take" in markdown
    assert "Removal of training × of evaluation: fex positive auc" in markdown
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<img") == 8 * 3  # the inputs, RISE and Random
    assert page.count("<polyline") == 2 * 2 * 2  # protocols x directions x methods
    assert "http" not in page.replace("http-equiv", "")
    runs = sorted((folder / "out" / "tensorboard").glob("*/events*"))
    assert len(runs) == 2
    events = EventAccumulator(str(runs[0].parent))
    events.Reload()
    value = next(r["value"] for r in report["rows"] if (r["method"], r["metric"]) == ("RISE", "positive_auc"))
    assert events.Scalars("fex/positive_auc")[0].value == pytest.approx(value)
    told = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"num_masks" in told
    assert b"fex.baselines.RISE" in told


def test_a_second_run_asks_next_to_nothing_and_says_the_same(ran, capsys):
    _, argv, report = ran
    ASKED.clear()
    again = bench.run(argv)
    # Whether it is still the same box, about whole and masked inputs.
    assert ASKED == [3, 3]
    assert scores(again) == scores(report)
    # Another protocol explains again, but for what is new; the old numbers stay.
    capsys.readouterr()
    more = bench.run([*argv, "--protocols", "[fex, saco]", "--methods", "RISE"])
    assert "which had methods Random, Broken; protocol fex/black, is replaced: results" in capsys.readouterr().err
    assert {key: value for key, value in scores(more).items() if key[1] == "fex"} == {
        key: value for key, value in scores(report).items() if key[:2] == ("RISE", "fex")
    }
    assert ("RISE", "saco", "saco") in scores(more)
    assert ASKED


def test_without_resume_and_with_another_seed_everything_is_done_again(ran, tmp_path):
    _, argv, report = ran
    ASKED.clear()
    fresh = bench.run([*argv, "--resume", "false", "--output", str(tmp_path)])
    assert sum(ASKED) > 8 * 20
    assert not (tmp_path / "results").exists()
    assert scores(fresh) == scores(report)
    other = bench.run([*argv, "--seed", "1", "--methods", "[Random]", "--output", str(tmp_path)])
    assert scores(other)["Random", "fex", "positive_auc"] != scores(report)["Random", "fex", "positive_auc"]


def test_the_seconds_of_a_box_that_remembers_come_with_a_warning(tmp_path):
    argv = config(tmp_path)
    content = yaml.safe_load((tmp_path / "benchmark.yaml").read_text())
    inner = content["black_box"]
    content["black_box"] = {"class_path": "fex.black_box.CachedBlackBox", "init_args": {"black_box": inner}}
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    report = bench.run([*argv, "--methods=[Random]", "--protocols", "[fex]", "--limit", "2"])
    assert any("Do not compare the seconds" in warning for warning in report["warnings"])


def test_a_smaller_report_says_what_it_lacks_and_leaves_no_picture_of_the_larger(tmp_path, capsys):
    argv = [*config(tmp_path, protocols=["fex", "fex/black"]), "--methods=[Random]"]
    bench.run(argv)
    out = tmp_path / "out"
    assert (out / "fex-black_positive_curve.png").is_file()
    (out / "mine.png").write_bytes(b"kept")
    capsys.readouterr()
    bench.run([*argv, "--limit", "2", "--protocols", "[fex]"])
    assert "which had protocol fex/black; 8 instances (now 2), is replaced: results are" in capsys.readouterr().err
    assert sorted(each.name for each in out.glob("*.png")) == [
        "fex_negative_curve.png", "fex_positive_curve.png", "mine.png", "pictures.png",
    ]  # fmt: skip
    bench.run([*argv, "--protocols", "[fex]"])
    assert "replaced" not in capsys.readouterr().err
    before = (out / "report.json").read_text()
    with pytest.raises(
        ValueError, match=r"No method could be scored .*seg.* The earlier report in .* is left as it is"
    ):
        bench.run([*argv, "--protocols", "[seg]"])
    assert (out / "report.json").read_text() == before
    assert (out / "pictures.png").is_file()


class Clobber:
    """Writes into what it is given, and asks gradients of it."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def attribute(self, inputs, target=None):
        inputs[:] = 0
        target[:] = 0
        inputs.requires_grad_(True)
        return torch.rand(len(inputs), *inputs.shape[-2:])


def test_what_a_method_writes_into_its_inputs_reaches_no_other_one(ran, tmp_path):
    _, _, report = ran
    methods = {
        "Clobber": {"class_path": f"{__name__}.Clobber"},
        "Again": {"class_path": f"{__name__}.Clobber", "init_args": {"strength": 2.0}},
        "RISE": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 20}},
    }
    protocols = ["fex", "fex/black", "sensitivity", "class_discrimination"]
    beside = scores(bench.run(config(tmp_path, methods=methods, protocols=protocols)))
    alone = {key: value for key, value in scores(report).items() if key[0] == "RISE"}
    assert {key: beside[key] for key in alone} == alone
    assert beside["Again", "fex", "positive_auc"][2] == 8


def test_methods_are_selected_by_name(ran, tmp_path):
    _, argv, _ = ran
    report = bench.run([*argv, "--methods=[Random]", "--limit", "2", "--output", str(tmp_path), "--protocols", "[fex]"])
    assert {row["method"] for row in report["rows"]} == {"Random"}
    assert report["rows"][0]["n"] == 2
    with pytest.raises(ValueError, match="has no method 'FX'; it has 'RISE', 'Random', 'Broken'"):
        bench.run([*argv, "--methods", "FX"])


def test_a_biased_grid_is_told_in_every_form(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fex.benchmark.summary.grid_bias", lambda run, **_: [f"{run.method} leans to one side"])
    argv = config(tmp_path)
    report = bench.run([*argv, "--limit", "2"])
    bias, *_, other = report["warnings"]
    assert bias == "Random leans to one side"  # RISE is not asked: it has a direction
    assert "Labels such as" in other  # of ten classes, the box has two
    assert "warning: Random leans to one side" in capsys.readouterr().err
    for form in ("json", "md", "html"):
        assert "Random leans to one side" in (tmp_path / "out" / f"report.{form}").read_text()


def test_nothing_scored_is_an_error_with_a_report(ran, tmp_path):
    _, argv, _ = ran
    with pytest.raises(ValueError, match=r"No method could be scored \(Broken: ValueError"):
        bench.run([*argv, "--methods", "Broken", "--output", str(tmp_path)])
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["method"] == "Broken"


def test_an_interrupt_is_told_and_what_was_found_before_too(tmp_path, monkeypatch, capsys):
    argv = config(tmp_path)
    monkeypatch.setattr("sys.argv", ["fex-bench", *argv])
    with monkeypatch.context() as patch:

        def interrupted(*_, **__):
            raise KeyboardInterrupt

        patch.setattr("fex.cli.bench.run.summarise", interrupted)
        with pytest.raises(SystemExit) as error:
            bench.main()
    assert error.value.code == 130
    assert capsys.readouterr().err.strip().endswith("fex-bench: interrupted; what was finished is kept.")
    bench.main()
    assert re.search(r"explanations of earlier runs were found in .*results", capsys.readouterr().err)
