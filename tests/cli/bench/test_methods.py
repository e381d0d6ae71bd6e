"""`fex-bench run`: what methods are handed, which settings they take, methods that fail, what training costs."""

import json
import sys
from pathlib import Path

import pytest
import torch

from fex.cli.bench import bench
from tests.cli.bench.tiny import config
from tests.explainers.tiny import tiny_explainer, write_checkpoint
from tests.shrink import box_weights

pytestmark = pytest.mark.usefixtures("empty_curves")


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


def test_an_explainer_of_another_box_is_told_or_refused(tmp_path):
    other = write_checkpoint(tmp_path / "other.ckpt")
    methods = {
        name: {"class_path": "fex.load_explainer", "init_args": {"name_or_path": str(path)}}
        for name, path in (("CIFAR-10", "fex_vit_cifar10"), ("Small", other))
    }
    box = {
        "class_path": "fex.black_box.CallableBlackBox",
        "init_args": {
            "function": "tests.cli.bench.tiny:ten",
            "num_classes": 10,
            "preprocess": {"height": 32, "width": 32},
        },
    }
    report = bench.run([*config(tmp_path, methods=methods, black_box=box, protocols=["fex"]), "--limit", "2"])
    told = [warning for warning in report["warnings"] if "was trained to explain" in warning]
    assert len(told) == 1
    assert told[0].startswith("CIFAR-10 was trained to explain vit_cifar10 and here explains ")
    rows = {row["method"]: row for row in report["rows"]}
    assert rows["CIFAR-10"]["n"] == 2
    said = "takes (32, 32) pixels and this explainer (16, 16): give the box that it was trained on"
    assert said in rows["Small"]["error"]


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


def test_a_method_that_was_not_trained_yet_is_a_row_that_says_how(tmp_path, capsys):
    trained = {"class_path": "fex.load_explainer", "init_args": {"name_or_path": "runs/fastshap_vit_cifar10"}}
    methods = {"FastSHAP": trained, "Random": {"class_path": "fex.baselines.Random"}}
    report = bench.run([*config(tmp_path, methods=methods), "--limit", "2"])
    missing = next(row for row in report["rows"] if row["method"] == "FastSHAP")
    assert "`fex-train --config fastshap_vit_cifar10.yaml` makes it" in missing["error"]
    assert {row["n"] for row in report["rows"] if row["method"] == "Random"} == {2}
    assert capsys.readouterr().err.startswith("without scores: FastSHAP: FileNotFoundError: Found no checkpoint")


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
