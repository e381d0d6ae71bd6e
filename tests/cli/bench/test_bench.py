"""`fex-bench run`: the report in all its forms, resume, selection, methods that fail."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules.cifar10 import CIFAR10_CLASSES
from fex.cli.bench import bench
from tests.explainers.tiny import tiny_explainer, write_checkpoint
from tests.shrink import box_weights, cifar_folder

ASKED: list[int] = []


def half(inputs):
    """A box of two classes that looks at the left half."""
    ASKED.append(len(inputs))
    left = inputs[..., : inputs.shape[-1] // 2].mean((1, 2, 3))
    return torch.stack([left, 1 - left], 1)


def config(folder, **changes):
    methods = {
        "RISE": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 20}},
        "Random": {"class_path": "fex.baselines.Random"},
        "Broken": {"class_path": "fex.baselines.Random", "init_args": {"colour": "red"}},
    }
    content = {
        "black_box": {
            "class_path": "fex.black_box.CallableBlackBox",
            "init_args": {"function": f"{__name__}:half", "num_classes": 2,
                          "preprocess": {"height": 32, "width": 32}},
        },
        "data": {"class_path": "datamodules.CIFAR10",
                 "init_args": {"root": str(cifar_folder(folder)), "batch_size": 3}},
        "features": {"height": 4, "width": 4},
        "methods": methods,
        "output": str(folder / "out"),
    } | changes  # fmt: skip
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return ["run", "--config", str(path)]


def scores(report):
    return {(r["method"], r["protocol"], r["metric"]): (r["value"], r.get("ci95"), r["n"]) for r in report["rows"]}


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


class Mine:
    """Asks for what is handed over in the ways that people annotate it."""

    def __init__(self, black_box: "torch.nn.Module", strength: int = 1, weights: Path = Path("none")) -> None:
        self.black_box, self.strength, self.weights = black_box, strength, weights

    def attribute(self, inputs, target=None):
        rows = self.black_box(inputs).gather(1, target.unsqueeze(1))
        return rows.unsqueeze(2) * self.strength * torch.ones(inputs.shape[0], *inputs.shape[-2:])


class MineToo(Mine):
    """Hands on what it does not know."""

    def __init__(self, *, more: int = 0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.more = more

    def attribute(self, inputs, target=None):
        return super().attribute(inputs, target).numpy() if self.more else super().attribute(inputs, target)


def test_own_methods_are_handed_what_they_ask_for(tmp_path):
    methods = {
        "Mine": {"class_path": f"{__name__}.Mine", "init_args": {"strength": 3, "weights": "mine.pt"}},
        "Mine too": {"class_path": f"{__name__}.MineToo", "init_args": {"strength": 3}},
        "Arrays": {"class_path": f"{__name__}.MineToo", "init_args": {"more": 1}},
        "Unknown": {"class_path": f"{__name__}.MineToo", "init_args": {"less": 1}},
        "Blur": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 4, "removal": "fex.images.Blur"}},
        "Random + 8": {
            "class_path": "fex.Refined",
            "init_args": {"explainer": {"class_path": "fex.baselines.Random"}, "queries": 8},
        },
    }
    report = bench.run(config(tmp_path, methods=methods, protocols=["fex"]))
    rows = {row["method"]: row for row in report["rows"]}
    assert rows["Mine"]["n"] == rows["Mine too"]["n"] == 8
    assert "returned ndarray, expected a tensor: of an array, torch.from_numpy(array)" in rows["Arrays"]["error"]
    assert "does not take ['less']; it takes ['black_box', 'more', 'strength', 'weights']" in rows["Unknown"]["error"]
    assert rows["Blur"]["explainer_removal"] == "blur"
    assert (rows["Random + 8"]["n"], rows["Random + 8"]["queries"]) == (8, 8)


def ten(inputs):
    return torch.softmax(inputs.mean((2, 3)) @ torch.linspace(-1, 1, 30).view(3, 10), 1)


def test_an_explainer_of_another_box_is_told_or_refused(tmp_path):
    other = write_checkpoint(tmp_path / "other.ckpt")
    methods = {
        name: {"class_path": "fex.load_explainer", "init_args": {"name_or_path": str(path)}}
        for name, path in (("CIFAR-10", "fex_vit_cifar10"), ("Small", other))
    }
    box = {
        "class_path": "fex.black_box.CallableBlackBox",
        "init_args": {"function": f"{__name__}:ten", "num_classes": 10, "preprocess": {"height": 32, "width": 32}},
    }
    report = bench.run([*config(tmp_path, methods=methods, black_box=box, protocols=["fex"]), "--limit", "2"])
    told = [warning for warning in report["warnings"] if "was trained to explain" in warning]
    assert len(told) == 1
    assert told[0].startswith("CIFAR-10 was trained to explain vit_cifar10 and here explains ")
    rows = {row["method"]: row for row in report["rows"]}
    assert rows["CIFAR-10"]["n"] == 2
    said = "takes (32, 32) pixels and this explainer (16, 16): give the box that it was trained on"
    assert said in rows["Small"]["error"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["left", "right"], "the data has 10 classes and the black box 2"),
        (["Automobile", "airplane", *CIFAR10_CLASSES[2:]], "class 'Automobile' in another place than the black box"),
    ],
)
def test_labels_of_other_classes_are_refused(tmp_path, names, message):
    box = {"class_path": "fex.black_box.CallableBlackBox",
           "init_args": {"function": f"{__name__}:ten", "num_classes": len(names), "class_names": names,
                         "preprocess": {"height": 32, "width": 32}}}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        bench.run(config(tmp_path, black_box=box, protocols=["fex", "chefer"]))


def test_labels_of_other_words_come_with_a_warning(tmp_path):
    box = {"class_path": "fex.black_box.CallableBlackBox",
           "init_args": {"function": f"{__name__}:ten", "num_classes": 10, "preprocess": {"height": 32, "width": 32},
                         "class_names": ["plane", *map(str.upper, CIFAR10_CLASSES[1:])]}}  # fmt: skip
    argv = [*config(tmp_path, black_box=box, protocols=["chefer"]), "--methods=[Random]", "--limit", "2"]
    assert any("class 0 is 'plane' to the black box and 'airplane' to" in each for each in bench.run(argv)["warnings"])
    argv[argv.index("--limit") :] = ["--limit", "2", "--protocols", "[fex]"]
    assert not any("plane" in each for each in bench.run(argv)["warnings"])


def test_methods_are_selected_by_name(ran, tmp_path):
    _, argv, _ = ran
    report = bench.run([*argv, "--methods=[Random]", "--limit", "2", "--output", str(tmp_path), "--protocols", "[fex]"])
    assert {row["method"] for row in report["rows"]} == {"Random"}
    assert report["rows"][0]["n"] == 2
    with pytest.raises(ValueError, match="has no method 'FX'; it has 'RISE', 'Random', 'Broken'"):
        bench.run([*argv, "--methods", "FX"])


def test_a_flag_sets_one_argument_of_one_method(tmp_path):
    shared = {"num_masks": 20, "keep_rate": 0.5}
    methods = {name: {"class_path": "fex.baselines.RISE", "init_args": shared} for name in ("RISE", "RISE (v. 1.5)")}
    flags = ["--methods.RISE (v. 1.5).init_args.num_masks", "7", "--methods.RISE.init_args.keep_rate=4e-1", "--limit=2"]
    report = bench.run([*config(tmp_path, methods=methods), *flags, "--methods.RISE.training.queries", "70"])
    assert {row["method"]: row["queries"] for row in report["rows"]} == {"RISE": 20, "RISE (v. 1.5)": 7}
    assert report["methods"]["RISE"]["init_args"] == {"num_masks": 20, "keep_rate": 0.4}
    assert report["methods"]["RISE (v. 1.5)"]["init_args"] == {"num_masks": 7, "keep_rate": 0.5}
    assert report["rows"][0]["training"] == {"queries": 70}
    # Selected as before, and an argument that the method does not take is its row.
    argv = [*config(tmp_path, methods=methods), "--methods", "RISE", "--methods.RISE.init_args.colour", "red"]
    with pytest.raises(ValueError, match=r"RISE: ValueError: fex.baselines.RISE does not take \['colour'\]"):
        bench.run([*argv, "--output", str(tmp_path / "other")])


def test_names_with_commas_and_equals_signs(tmp_path):
    spec = {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 10}}
    methods = {"IG (20 steps, white box)": spec, "V2 Q=6 area=2.5": spec, "Other": spec}
    argv = [*config(tmp_path, methods=methods), "--limit", "1", "--protocols", "[fex]"]
    flags = [
        "--methods.V2 Q=6 area=2.5.init_args.num_masks=7",
        "--methods",
        "[IG (20 steps, white box), V2 Q=6 area=2.5]",
    ]
    report = bench.run([*argv, *flags])
    assert {row["method"]: row["queries"] for row in report["rows"]} == {
        "IG (20 steps, white box)": 10,
        "V2 Q=6 area=2.5": 7,
    }
    with pytest.raises(ValueError, match="has no method 'IG'; it has 'IG"):
        bench.run([*argv, "--methods", "[IG, Other]"])
    with pytest.raises(ValueError, match="The reference RISE is no method of this run"):
        bench.run([*argv, "--reference", "RISE"])


def test_the_matrix_crosses_the_fill_of_the_method_with_that_of_the_evaluation(tmp_path):
    black = {"class_path": "fex.images.Black"}
    methods = {
        "Mean": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 10}},
        "Black": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 10, "removal": black}},
    }
    flags = ["--limit", "2", "--protocols", "[fex, fex/black, saco]"]
    report = bench.run([*config(tmp_path, methods=methods), *flags])
    rows = {(r["method"], r["removal"]): r["value"] for r in report["rows"] if r["metric"] == "positive_auc"}
    matrix = [entry for entry in report["removal_matrix"] if entry["metric"] == "positive_auc"]
    assert {(e["method"], e["explainer_removal"], e["evaluation_removal"], e["value"]) for e in matrix} == {
        (method, method.lower(), fill, rows[method, fill]) for method in ("Mean", "Black") for fill in ("mean", "black")
    }
    assert {entry["protocol"] for entry in report["removal_matrix"]} == {"fex"}  # saco had one fill


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


def test_a_method_that_was_not_trained_yet_is_a_row_that_says_how(tmp_path, capsys):
    trained = {"class_path": "fex.load_explainer", "init_args": {"name_or_path": "runs/fastshap_vit_cifar10"}}
    methods = {"FastSHAP": trained, "Random": {"class_path": "fex.baselines.Random"}}
    report = bench.run([*config(tmp_path, methods=methods), "--limit", "2"])
    missing = next(row for row in report["rows"] if row["method"] == "FastSHAP")
    assert "`fex-train --config fastshap_vit_cifar10.yaml` makes it" in missing["error"]
    assert {row["n"] for row in report["rows"] if row["method"] == "Random"} == {2}
    assert capsys.readouterr().err.startswith("without scores: FastSHAP: FileNotFoundError: Found no checkpoint")


def test_nothing_scored_is_an_error_with_a_report(ran, tmp_path):
    _, argv, _ = ran
    with pytest.raises(ValueError, match=r"No method could be scored \(Broken: ValueError"):
        bench.run([*argv, "--methods", "Broken", "--output", str(tmp_path)])
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["method"] == "Broken"


class Fails:
    """A method that breaks at its first input."""

    def attribute(self, inputs, target=None):
        raise RuntimeError("no map")


@pytest.mark.parametrize("kind", [f"{__name__}.Fails", "fex.baselines.Nothing"])
def test_a_method_without_scores_is_an_exit_code_of_its_own(tmp_path, kind, monkeypatch, capsys):
    methods = {"Random": {"class_path": "fex.baselines.Random"}, "Broken": {"class_path": kind}}
    monkeypatch.setattr("sys.argv", ["fex-bench", *config(tmp_path, methods=methods), "--limit", "2"])
    assert bench.main() == 1
    assert capsys.readouterr().err.endswith("fex-bench: without scores: Broken; the report says why.\n")
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["rows"]
    assert {row["method"]: "error" in row for row in rows} == {"Random": False, "Broken": True}
    monkeypatch.setattr("sys.argv", [*sys.argv, "--methods", "Random"])
    assert bench.main() == 0


def test_training_pays_after_so_many_explanations(tmp_path):
    weights = str(box_weights("vit_cifar10", tmp_path))
    methods = {
        "RISE": {"class_path": "fex.baselines.RISE", "init_args": {"num_masks": 20}},
        "Trained": {"class_path": "fex.baselines.Random", "training": {"queries": 1000}},
    }
    box = {"class_path": "fex.black_box.TimmBlackBox", "init_args": {"weights": weights}}
    report = bench.run([*config(tmp_path, black_box=box, methods=methods), "--limit", "2"])
    row = next(row for row in report["rows"] if row["method"] == "Trained")
    assert (row["training"], row["break_even"]) == ({"queries": 1000}, {"queries": 50})
    assert report["break_even_against"] == "RISE"
    assert "| Trained | 1,000 | – | 50 | – |" in (tmp_path / "out" / "report.md").read_text()


def test_a_checkpoint_knows_what_it_cost(tmp_path):
    from fex.benchmark.cost import training_cost
    from fex.explainers import load_explainer

    explainer = tiny_explainer()
    path = write_checkpoint(tmp_path / "x.ckpt", explainer, training={"queries": 7, "seconds": 2.5})
    assert training_cost(load_explainer(path)) == {"queries": 7.0, "seconds": 2.5}
    assert training_cost(load_explainer("fex_vit_cifar10"))["queries"] == 6 * (49_000 // 128 * 128) * 6
    assert training_cost(explainer) is None


@pytest.mark.parametrize(
    ("changes", "flags", "message"),
    [
        ({}, ["--limit", "-5"], "limit"),
        ({}, ["--limit", "0"], "limit"),
        ({}, ["--threads", "0"], "threads"),
        ({}, ["--methods", "FX"], "has no method 'FX'; it has 'RISE'"),
        ({}, ["--protocols", "[fix]"], "Got protocol 'fix', expected one of"),
        ({}, ["--data.init_args.root", "nowhere"], "nowhere"),
        ({}, ["--methods.RISES.init_args.num_masks", "5"],
         "--methods.RISES.init_args.num_masks names no method of the config, which has RISE, Random, Broken"),
        ({}, ["--methods.RISE.num_masks", "5"], "Write --methods.RISE.init_args.ARGUMENT VALUE"),
        ({}, ["--methods.RISE.init_args.removal.init_args.sigma", "5"],
         r"RISE of the config has no init_args.removal .* Give all of it: --methods.RISE.init_args.removal "
         r"'\{class_path: \.\.\., init_args: \{sigma: 5\}\}'"),
        ({}, ["--methods.RISE.init_args.seed"], "has no value"),
        ({}, ["--methods.RISE.init_args.seed", "[1"], "which is no YAML"),
        ({}, ["--methods", "Random", "--methods.RISE.init_args.num_masks", "5"],
         "num_masks sets something of RISE, which is not among those that run"),
        ({"methods": {"RISE": {"class_path": "fex.baselines.RISE", "init_arg": {}}}}, [],
         "Method RISE has init_arg, expected only class_path, init_args, training"),
        ({"methods": {"RISE": {"init_args": {}}}}, [], "Method RISE has no class_path"),
        ({}, ["--methods", "[]"], "There is no method to run"),
        ({}, ["--protocols", "[]"], "There is no protocol to score by"),
        ({}, ["--methods.RISE.training.querys", "3"], "Got training cost {'querys': 3}"),
        ({}, ["--methods.RISE.init_args", "3"], "Method RISE has init_args: 3, expected settings by their names"),
        ({}, ["--show", "[positiv_auc]"], "--show names positiv_auc; the protocols of this run have positive_auc"),
        ({}, ["--show", "[iou]"], "--show names iou; the protocols of this run have positive_auc, negative_auc"),
        ({}, ["--device", "cuda:99"], "--device cuda:99 cannot be used"),
        (None, ["--methods.RISE.init_args.seed", "1"], "is a setting of `fex-bench run`"),
        (None, ["--only", "[one_pas]"], "knows no one_pas; it measures step_overhead"),
        (None, ["--images", "50"], "at least 100 pictures"),
        (None, ["--images", "-5"], "images"),
        (None, ["--repeats", "0"], "repeats"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_code_2_before_any_work(tmp_path, monkeypatch, capsys, changes, flags, message):
    ASKED.clear()
    argv = ["speed"] if changes is None else config(tmp_path, **changes)
    monkeypatch.setattr("sys.argv", ["fex-bench", *argv, *flags])
    with pytest.raises(SystemExit) as error:
        bench.main()
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("fex-bench: error: ")
    assert re.search(message, told)
    assert len(told.splitlines()) < 8
    assert ASKED == []
    assert not (tmp_path / "out").exists()


def test_an_output_without_a_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Got --output '', expected a folder"):
        bench.run([*config(tmp_path), "--output", ""])


@pytest.mark.parametrize("command", [[], ["run"], ["speed"]])
def test_help_shows_examples_one_a_line(capsys, command):
    with pytest.raises(SystemExit):
        bench.run([*command, "--help"])
    name = command[0] if command else "run"
    assert f"examples:\n  fex-bench {name} " in capsys.readouterr().out


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
