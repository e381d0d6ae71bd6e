"""DAX and IASSA over a data set: resume, scores, which class, which instances, sound; poisoned masks are not read."""

import json
import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from datamodules.folder import iter_images
from datamodules.rows import collate
from fex.black_box import CallableBlackBox
from fex.black_box.network import TorchBlackBox
from fex.cli.train.trainer import FexTrainer
from fex.dax import DAX, FitSettings, Grid
from fex.iassa import IASSA, BackboneFeatures, WindowSchedule
from fex.images import Black, Preprocess
from fex.sounds import LogMel
from lightning_modules import DAXModule, IASSAModule

SIZE = 16


def score(x):
    """Class by which half is brighter; class 2 never."""
    left, right = x[..., : SIZE // 2].mean((1, 2, 3)), x[..., SIZE // 2 :].mean((1, 2, 3))
    share = (0.5 + left - right).clamp(0, 1)
    return torch.stack([share, 1 - share, 0 * share], 1)


def box():
    return CallableBlackBox(score, num_classes=3, preprocess=Preprocess(SIZE, SIZE), name="halves")


class Data(pl.LightningDataModule):
    """Six pictures of one bright half, one row unreadable; labels are wrong for two of them."""

    def __init__(self, masks="true", **extra):
        super().__init__()
        rows = []
        for index in range(6):
            generator = torch.Generator().manual_seed(index)
            image, mask = (
                torch.rand(3, SIZE, SIZE, generator=generator) * 0.2,
                torch.zeros(SIZE, SIZE, dtype=torch.bool),
            )
            half = slice(0, 8) if index % 2 == 0 else slice(8, 16)
            image[..., half] += 0.7
            mask[..., half] = True
            row = {"inputs": image, "labels": index % 2 if index < 4 else 2, "valid": index != 1, "index": index}
            rows.append({**row, "names": f"folder/{index}.jpg", "masks": mask, **extra})
            if masks is None:
                del rows[-1]["masks"]
            elif masks == "poisoned":
                rows[-1]["masks"] = ~mask
        self.rows = rows

    def predict_dataloader(self):
        return DataLoader(self.rows, batch_size=2, collate_fn=collate)


def dax(**options):
    fit = FitSettings(mask_kernel=3, mask_width=4, student_width=2, hidden=4, max_epochs=2)
    return DAX(box(), Black(), Grid(2, 4), num_samples=40, resolution=8, fit=fit, **options)


def iassa():
    schedule = WindowSchedule(window=6, stride=4, min_window=2)
    return IASSA(box(), None, Black(), schedule=schedule, iterations=1)


def run(module, data=None, folder=None):
    logger = TensorBoardLogger(folder, name="", version="") if folder else False
    trainer = FexTrainer(
        accelerator="cpu", devices=1, logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data or Data())
    return trainer


def instances(folder):
    return sorted(path.name for path in (folder / "instances" / "folder").glob("*.npz"))


def attribution(folder, name):
    with np.load(folder / "instances" / "folder" / name) as data:
        return data["attribution"]


def test_explains_every_readable_instance(tmp_path):
    run(DAXModule(dax(), output=str(tmp_path / "out"), protocols=["dax-iou"], pictures=3), folder=tmp_path / "tb")
    out = tmp_path / "out"
    assert instances(out) == [f"{index}.jpg.npz" for index in (0, 2, 3, 4, 5)]
    assert (out / "folder" / "3.jpg.png").is_file()
    assert (out / "gallery.html").is_file()
    assert len((out / "explanations.csv").read_text().splitlines()) == 6
    rows = {row["metric"]: row for row in json.loads((out / "report.json").read_text())["rows"]}
    assert rows["iou"]["n"] == 5
    assert rows["iou"]["queries"] == 40
    with np.load(out / "instances" / "folder" / "0.jpg.npz") as data:
        assert data["attribution"].shape == (SIZE, SIZE)
        assert json.loads(str(data["meta"]))["target"]["index"] == 0
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert len(events.Scalars("folder/0.jpg/val_loss")) == 2
    assert set(events.Tags()["images"]) == {"folder/0.jpg/mask", "folder/2.jpg/mask"}


def test_iassa_logs_its_iterations(tmp_path):
    run(IASSAModule(iassa(), output=str(tmp_path / "out"), protocols=["iassa"]), folder=tmp_path / "tb")
    assert len(instances(tmp_path / "out")) == 5
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert 1 <= len(events.Images("folder/0.jpg/map")) <= 2
    assert events.Scalars("folder/0.jpg/queries")[-1].value > 10


def test_every_iteration_can_be_scored(tmp_path):
    run(IASSAModule(iassa(), output=str(tmp_path), protocols=["dax-iou"], score_iterations=True))
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["course"]) == 2
    assert all(rows[0]["n"] == 5 for rows in report["course"])
    assert report["course"][1] == report["rows"]
    assert Image.open(tmp_path / "course.png").size == (1800, 780)  # four panels: mean, sd, precision and recall
    assert report["course"][0][0]["value"] != report["rows"][0]["value"]


class StopsError(Exception):
    pass


def test_a_run_that_was_stopped_loses_nothing_that_was_finished(tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    run(DAXModule(dax(), output=str(unbroken)))
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
        with (
            np.load(unbroken / "instances" / "folder" / name) as a,
            np.load(broken / "instances" / "folder" / name) as b,
        ):
            np.testing.assert_allclose(a["attribution"], b["attribution"], atol=1e-6)
    third = DAXModule(dax(), output=str(broken))
    run(third)
    assert third.black_box.queries == 0


def test_other_settings_do_not_mix_with_old_results(tmp_path):
    run(DAXModule(dax(), output=str(tmp_path)))
    with pytest.raises(ValueError, match="holds results of other settings \\(explainer differ\\)"):
        run(DAXModule(dax(seed=1), output=str(tmp_path)))
    with pytest.raises(ValueError, match="\\(explain differ\\)"):
        run(DAXModule(dax(), output=str(tmp_path), explain="label"))


@pytest.mark.parametrize("key", ["inputs", "labels", "masks"])
def test_other_data_of_the_same_names_does_not_mix_with_old_results(tmp_path, key):
    run(DAXModule(dax(), output=str(tmp_path)))
    changed = Data()
    value = changed.rows[3][key]
    changed.rows[3][key] = 1 - value if key != "masks" else ~value
    module = DAXModule(dax(), output=str(tmp_path))
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
    source.write_text("from tests.lightning_modules.instances.test_module import score\n")

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
    source.write_text("from tests.lightning_modules.instances.test_module import score  # another\n")
    with pytest.raises(ValueError, match="explainer differ"):
        run(named())


def test_settings_tell_networks_of_one_class_apart(tmp_path):
    torch.manual_seed(0)
    one, other = (BackboneFeatures("test_resnet", levels=[1]) for _ in range(2))
    run(IASSAModule(IASSA(box(), one, Black(), iterations=0), output=str(tmp_path)))
    run(IASSAModule(IASSA(box(), one, Black(), iterations=0), output=str(tmp_path)))
    with pytest.raises(ValueError, match="explainer differ"):
        run(IASSAModule(IASSA(box(), other, Black(), iterations=0), output=str(tmp_path)))


@pytest.mark.parametrize("name", ["/somewhere/else/a.jpg", "../../a.jpg", "歌" * 80 + ".jpg"])
def test_results_stay_in_their_folder_whatever_the_names(tmp_path, name):
    data = Data()
    data.rows = data.rows[:1]
    data.rows[0]["names"] = name
    out = tmp_path / "deep" / "out"
    run(DAXModule(dax(), output=str(out)), data)
    assert len(list((out / "instances").rglob("*.npz"))) == 1
    assert len(list(tmp_path.rglob("*.jpg*.npz")) + list(tmp_path.rglob("歌*.npz"))) == 1
    pictures = list(out.rglob("*.png"))
    assert len(pictures) == 1
    again = DAXModule(dax(), output=str(out))
    run(again, data)
    assert again.black_box.queries == 0
    assert (
        "1 images" in (out / "gallery.html").read_text() or pictures[0].name[:9] in (out / "gallery.html").read_text()
    )


def test_instances_explained_at_once_share_the_costs(tmp_path):
    run(DAXModule(dax(), output=str(tmp_path), together=2))
    costs = {}
    for name in instances(tmp_path):
        with np.load(tmp_path / "instances" / "folder" / name) as found:
            meta = json.loads(str(found["meta"]))
        costs[name] = (meta["queries"], meta["seconds"])
    assert {queries for queries, _ in costs.values()} == {40}
    assert costs["2.jpg.npz"] == costs["3.jpg.npz"]
    assert min(seconds for _, seconds in costs.values()) > 0


def test_labels_of_other_classes_than_the_black_box_are_refused(tmp_path):
    def named(*names):
        explainer = dax()
        explainer.black_box = CallableBlackBox(score, class_names=names, preprocess=Preprocess(SIZE, SIZE))
        return explainer

    data = Data()
    data.class_names = ["left", "right", "never"]
    run(DAXModule(named("left", "right", "never"), output=str(tmp_path / "a"), only="correct"), data)
    run(DAXModule(dax(), output=str(tmp_path / "b"), only="correct"), data)  # a box without names
    run(DAXModule(named("right", "left", "never"), output=str(tmp_path / "c")), data)  # needs no labels
    for options in ({"only": "correct"}, {"explain": "label"}):
        with pytest.raises(ValueError, match=r"differ from class 0 on: \['left', 'right', 'never'\] against \['right'"):
            run(DAXModule(named("right", "left", "never"), output=str(tmp_path / str(options)), **options), data)


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


def test_fitted_together_or_alone(tmp_path):
    run(DAXModule(dax(), output=str(tmp_path / "a")))
    run(DAXModule(dax(), output=str(tmp_path / "b"), together=2))
    for name in instances(tmp_path / "a"):
        with (
            np.load(tmp_path / "a" / "instances" / "folder" / name) as a,
            np.load(tmp_path / "b" / "instances" / "folder" / name) as b,
        ):
            np.testing.assert_allclose(a["attribution"], b["attribution"], atol=1e-4)


def targets(folder):
    found = {}
    for path in (folder / "instances" / "folder").glob("*.npz"):
        with np.load(path) as data:
            found[int(path.name[0])] = json.loads(str(data["meta"]))["target"]["index"]
    return found


@pytest.mark.filterwarnings("ignore:.*keep one score whatever is removed")
def test_which_class_and_which_instances(tmp_path):
    run(DAXModule(dax(), output=str(tmp_path / "label"), explain="label", only="wrong"))
    assert targets(tmp_path / "label") == {4: 2, 5: 2}
    run(DAXModule(dax(), output=str(tmp_path / "other"), explain="incorrect", only="correct"))
    other = targets(tmp_path / "other")
    assert set(other) == {0, 2, 3}
    assert all(target != index % 2 for index, target in other.items())


@pytest.mark.parametrize(("module", "explainer"), [(DAXModule, dax), (IASSAModule, iassa)])
def test_poisoned_masks_change_scores_and_no_map(tmp_path, module, explainer):
    for kind in ("true", "poisoned"):
        run(module(explainer(), output=str(tmp_path / kind), protocols=["dax-iou"]), Data(kind))
    for name in instances(tmp_path / "true"):
        with (
            np.load(tmp_path / "true" / "instances" / "folder" / name) as a,
            np.load(tmp_path / "poisoned" / "instances" / "folder" / name) as b,
        ):
            assert np.array_equal(a["attribution"], b["attribution"])
    true, poisoned = (json.loads((tmp_path / kind / "report.json").read_text()) for kind in ("true", "poisoned"))
    assert true["rows"][0]["value"] != poisoned["rows"][0]["value"]


def test_settings_that_no_module_takes(tmp_path):
    with pytest.raises(ValueError, match="together must be at least 1 instance, got 0"):
        DAXModule(dax(), output="x", together=0)
    with pytest.raises(TypeError, match="together"):
        IASSAModule(iassa(), output="x", together=2)


def test_data_without_what_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="'dax-iou' compares maps with ground-truth masks"):
        run(DAXModule(dax(), output=str(tmp_path / "a"), protocols=["dax-iou"]), Data(None))
    with pytest.raises(ValueError, match="expected 'predicted', 'label' or 'incorrect'"):
        DAXModule(dax(), output="x", explain="best")
    with pytest.raises(ValueError, match="Got protocol 'x'"):
        DAXModule(dax(), output="x", protocols=["x"])


def test_sound_has_a_picture_and_masked_sound(tmp_path):
    mel = LogMel(sample_rate=1000, n_fft=64, hop=32, mels=SIZE)
    data = Data(waveforms=torch.randn(15 * 32))
    run(DAXModule(dax(), output=str(tmp_path), sound=mel), data)
    assert (tmp_path / "folder" / "2.jpg.sound.png").is_file()
    assert (tmp_path / "folder" / "2.jpg.masked.wav").stat().st_size == 44 + 2 * 15 * 32


def test_the_explained_class_is_scored(tmp_path):
    """Class 2, the label of two, is never predicted: its accuracy is 0 at every step."""
    module = DAXModule(dax(), output=str(tmp_path), explain="label", only="wrong", protocols=["dax", "rise"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*keep one score whatever is removed")
        run(module)
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [(row["protocol"], row["metric"], row["value"]) for row in rows] == [
        ("dax", "deletion_auc", 0.0),
        ("rise", "deletion_auc", 0.0),
        ("rise", "insertion_auc", 0.0),
    ]


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


def test_the_incorrect_class_of_a_box_with_one_score_is_the_other(tmp_path):
    explainer = dax()
    explainer.black_box = CallableBlackBox(
        lambda x: 0.6 + 0.3 * x[:, :1, 0, 0], num_classes=1, preprocess=Preprocess(SIZE, SIZE)
    )
    run(DAXModule(explainer, output=str(tmp_path), explain="incorrect"))
    assert len(instances(tmp_path)) == 5


def test_what_a_protocol_needs_is_missed_before_queries_are_spent(tmp_path):
    module = DAXModule(dax(), output=str(tmp_path), protocols=["dax-iou"])
    with pytest.raises(ValueError, match="'dax-iou' compares maps with ground-truth masks; the data has no masks"):
        run(module, Data(None))
    assert module.black_box.queries == 0


def test_dax_deletes_by_the_fill_of_the_perturbations(tmp_path):
    module = DAXModule(dax(), output=str(tmp_path), protocols=["dax", "dax/blur", "dax-iou"])
    own, named, _ = module.protocols
    assert own.removal is module.explainer.removal
    assert (own.name, named.name, named.removal.name) == ("dax", "dax/blur", "blur")
    with pytest.raises(ValueError, match="'model_randomisation' makes explainers of other black boxes"):
        DAXModule(dax(), output=str(tmp_path), protocols=["model_randomisation"])


def test_protocols_may_ask_the_explainer_again(tmp_path):
    run(IASSAModule(iassa(), output=str(tmp_path), protocols=["dax-iou", "dax-iou-incorrect"]))
    rows = {row["metric"]: row for row in json.loads((tmp_path / "report.json").read_text())["rows"]}
    assert rows["iou"]["value"] > 0.4
    assert rows["incorrect_iou"]["value"] < rows["iou"]["value"]
    assert rows["incorrect_iou"]["n"] == 5
    alone = tmp_path / "alone"
    run(IASSAModule(iassa(), output=str(alone), protocols=["dax-iou"]))
    found = json.loads((alone / "report.json").read_text())["rows"][0]
    assert rows["iou"]["queries"] == found["queries"]  # those of the explanation, not of its scores


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


def test_results_below_the_pictures_are_not_explained(tmp_path):
    for index in range(2):
        Image.fromarray(np.full((SIZE, SIZE, 3), 90 * index, np.uint8)).save(tmp_path / f"{index}.png")
    run(DAXModule(dax(), output=str(tmp_path / "runs" / "results")))
    assert (tmp_path / "runs" / "results" / "folder" / "0.jpg.png").is_file()
    assert sorted(iter_images(tmp_path)) == ["0.png", "1.png"]
