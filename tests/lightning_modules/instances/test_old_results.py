"""A run over instances goes on from its own results, and does not mix them with those of others."""

import json
import shutil

import numpy as np
import pytest
import torch

from fex.black_box import CallableBlackBox
from fex.black_box.network import TorchBlackBox
from fex.iassa import IASSA, BackboneFeatures
from fex.images import Black, Preprocess
from lightning_modules import DAXModule, IASSAModule
from tests.lightning_modules.instances.halves import SIZE, Data, attribution, box, dax, iassa, instances, run, score


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Results of DAX, made in one go: to be read, not to be added to."""
    folder = tmp_path_factory.mktemp("unbroken")
    run(DAXModule(dax(), output=str(folder)))
    return folder


@pytest.fixture
def finished(unbroken, tmp_path):
    """A copy of them."""
    return shutil.copytree(unbroken, tmp_path / "finished")


class StopsError(Exception):
    pass


def test_a_run_that_was_stopped_loses_nothing_that_was_finished(unbroken, tmp_path):
    broken = tmp_path / "broken"
    module = DAXModule(dax(), output=str(broken))
    explain = module.explain_rows

    def stop_after_three(inputs, target):
        for finished in explain(inputs, target):
            if len(instances(broken)) == 3:
                raise StopsError
            yield finished

    module.explain_rows = stop_after_three
    # As at a signal: everything in memory is lost.
    with pytest.raises(StopsError):
        run(module)
    assert instances(broken) == ["0.jpg.npz", "2.jpg.npz", "3.jpg.npz"]
    again = DAXModule(dax(), output=str(broken))
    run(again)
    assert again.black_box.queries == 2 * 40 + 3 * 0 + 2  # two instances, and their clean predictions
    for name in instances(unbroken):
        np.testing.assert_allclose(attribution(unbroken, name), attribution(broken, name), atol=1e-6)
    third = DAXModule(dax(), output=str(broken))
    run(third)
    assert third.black_box.queries == 0


def test_other_settings_do_not_mix_with_old_results(finished):
    with pytest.raises(ValueError, match="holds results of other settings \\(explainer differ\\)"):
        run(DAXModule(dax(seed=1), output=str(finished)))
    with pytest.raises(ValueError, match="\\(explain differ\\)"):
        run(DAXModule(dax(), output=str(finished), explain="label"))


@pytest.mark.parametrize("key", ["inputs", "labels", "masks"])
def test_other_data_of_the_same_names_does_not_mix_with_old_results(finished, key):
    changed = Data()
    value = changed.rows[3][key]
    changed.rows[3][key] = 1 - value if key != "masks" else ~value
    module = DAXModule(dax(), output=str(finished))
    with pytest.raises(ValueError, match=r"3\.jpg\.npz is the result of another input, label or mask"):
        run(module, changed)
    assert module.black_box.queries == 0


def test_a_scored_course_is_not_added_to_results_without_one(tmp_path):
    run(IASSAModule(iassa(), output=str(tmp_path), protocols=["dax-iou"]))
    with pytest.raises(ValueError, match="score_iterations differ"):
        run(IASSAModule(iassa(), output=str(tmp_path), protocols=["dax-iou"], score_iterations=True))


def test_another_file_or_function_behind_a_name_does_not_mix_with_old_results(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "scorer_of_halves.py"
    source.write_text("from tests.lightning_modules.instances.halves import score\n")

    def named(**options):
        explainer = dax()
        explainer.black_box = CallableBlackBox(
            "scorer_of_halves:score", num_classes=3, preprocess=Preprocess(SIZE, SIZE), **options
        )
        return DAXModule(explainer, output=str(tmp_path / "out"))

    run(named())
    run(named(chunk=7))  # is no setting
    with pytest.raises(ValueError, match="explainer differ"):
        run(named(mean=(0.1, 0.2, 0.3)))
    source.write_text("from tests.lightning_modules.instances.halves import score  # another\n")
    with pytest.raises(ValueError, match="explainer differ"):
        run(named())


def test_settings_tell_networks_of_one_class_apart(tmp_path):
    torch.manual_seed(0)
    one, other = (BackboneFeatures("test_resnet", levels=[1]) for _ in range(2))
    run(IASSAModule(IASSA(box(), one, Black(), iterations=0), output=str(tmp_path)))
    run(IASSAModule(IASSA(box(), one, Black(), iterations=0), output=str(tmp_path)))
    with pytest.raises(ValueError, match="explainer differ"):
        run(IASSAModule(IASSA(box(), other, Black(), iterations=0), output=str(tmp_path)))


def test_a_box_trained_anew_under_its_old_name_does_not_mix_with_old_results(tmp_path):
    explainer = dax()
    for weight in (0.0, 1.0):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, 3))
        torch.nn.init.constant_(net[1].weight, 0.0)
        torch.nn.init.constant_(net[1].bias, 0.0)
        net[1].weight.data[0, :8] = 1 + weight
        explainer.black_box = TorchBlackBox(
            net,
            class_names=["a", "b", "c"],
            preprocess=Preprocess(SIZE, SIZE),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            name="net",
        )
        module = DAXModule(explainer, output=str(tmp_path))
        if weight:
            with pytest.raises(ValueError, match="\\(weights differ\\)"):
                run(module)
        else:
            run(module)


def test_fitted_together_or_alone(unbroken, tmp_path):
    run(DAXModule(dax(), output=str(tmp_path), together=2))
    assert instances(tmp_path) == instances(unbroken)
    for name in instances(unbroken):
        np.testing.assert_allclose(attribution(tmp_path, name), attribution(unbroken, name), atol=1e-4)


def test_nan_scores_end_the_run_and_cost_no_finished_instance(tmp_path):
    explainer, calls = dax(), []

    def breaks(x):
        calls.append(len(x))
        return score(x) if len(calls) != 5 else score(x) * torch.nan

    explainer.black_box = CallableBlackBox(breaks, num_classes=3, preprocess=Preprocess(SIZE, SIZE), name="halves")
    with pytest.raises(ValueError, match="NaN or infinite scores"):
        run(DAXModule(explainer, output=str(tmp_path)))
    assert calls == [1, 40, 2, 40, 40]  # by batch: clean predictions, and the samples of each instance
    assert instances(tmp_path) == ["0.jpg.npz", "2.jpg.npz"]
    run(DAXModule(explainer, output=str(tmp_path)))  # another function under that name would be refused
    assert len(instances(tmp_path)) == 5


def test_the_report_is_of_the_instances_of_this_data(tmp_path, capsys):
    class Others(Data):
        def __init__(self):
            super().__init__()
            self.rows = [{**row, "names": row["names"].replace("folder", "other")} for row in self.rows[2:4]]

    run(DAXModule(dax(), output=str(tmp_path), protocols=["dax-iou"]))
    capsys.readouterr()
    run(DAXModule(dax(), output=str(tmp_path), protocols=["dax-iou"]), Others())
    assert "2 instances in" in (out := capsys.readouterr().out)
    assert "5 more are there, which are not of this data" in out
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["n"] == 2
    run(DAXModule(dax(), output=str(tmp_path), protocols=["dax-iou"]))
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["n"] == 5
