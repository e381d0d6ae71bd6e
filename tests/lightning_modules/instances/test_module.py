"""DAX and IASSA over a data set: scores, which class, which instances, sound; poisoned masks are not read."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from datamodules.folder import iter_images
from fex.black_box import CallableBlackBox
from fex.images import Preprocess
from fex.sounds import LogMel
from lightning_modules import DAXModule, IASSAModule
from tests.lightning_modules.instances.halves import SIZE, Data, attribution, dax, iassa, instances, run, score


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
        assert np.array_equal(attribution(tmp_path / "true", name), attribution(tmp_path / "poisoned", name))
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


def test_results_below_the_pictures_are_not_explained(tmp_path):
    for index in range(2):
        Image.fromarray(np.full((SIZE, SIZE, 3), 90 * index, np.uint8)).save(tmp_path / f"{index}.png")
    run(DAXModule(dax(), output=str(tmp_path / "runs" / "results")))
    assert (tmp_path / "runs" / "results" / "folder" / "0.jpg.png").is_file()
    assert sorted(iter_images(tmp_path)) == ["0.png", "1.png"]
