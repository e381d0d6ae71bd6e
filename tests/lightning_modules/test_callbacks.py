import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from datamodules.base import collate
from fex.metrics.functional import mean_auc, perturbation_curve
from fex.metrics.protocols import get_protocol
from fex.report.heatmap import grid_picture
from lightning_modules.callbacks import ClassCorrelation, ExplanationScores, HealthSigns, HeatMaps
from tests.lightning_modules.tiny import make_module


def loader(count=6):
    rows = [
        {"inputs": torch.rand(3, 2, 8), "index": i, "valid": i < count - 1, "labels": 0} for i in range(count)
    ]  # the last row is padding
    return DataLoader(rows, batch_size=3, collate_fn=collate)


def fixed():
    """The same batches in every pass."""
    return DataLoader(list(loader()), batch_size=None)


@pytest.fixture
def module():
    table = torch.rand(16, generator=torch.Generator().manual_seed(1))
    return make_module(table, num_masks=3)


def trainer(folder, callbacks, fresh=None, **options):
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", logger=fresh or TensorBoardLogger(folder, name="run", version=""),
        callbacks=callbacks, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def test_scores_match_a_direct_computation(module, tmp_path):
    rows = fixed()
    found = trainer(tmp_path, [ExplanationScores(["fex"], limit=None)]).validate(module, rows, verbose=False)[0]
    inputs = torch.cat([batch["inputs"][batch["valid"]] for batch in rows])
    protocol = get_protocol("fex")
    scores = module(inputs, module.black_box(inputs).argmax(1)).detach()
    for order, name in (("most_important_first", "positive_auc"), ("least_important_first", "negative_auc")):
        curve = perturbation_curve(
            module.black_box, module.masker, inputs, scores, fractions=protocol.fractions, order=order
        )
        assert found[f"val/fex/{name}"] == pytest.approx(mean_auc(curve).mean().item(), abs=1e-6)


def test_test_stage_logs_intervals_and_counts(module, tmp_path):
    rows = fixed()
    found = trainer(tmp_path, [ExplanationScores(["fex"])]).test(module, rows, verbose=False)[0]
    low, value, high = (found[f"test/fex/positive_auc{suffix}"] for suffix in ("/low", "", "/high"))
    assert low <= value <= high
    assert found["test/fex/positive_auc/n"] == 5


def test_unknown_protocol_fails_before_training():
    with pytest.raises(ValueError, match="fex"):
        ExplanationScores(["no_such_protocol"])


def test_heat_maps_and_curves_reach_tensorboard(module, tmp_path):
    run = trainer(tmp_path, [ExplanationScores(["fex"]), HeatMaps(count=2)], max_epochs=3)
    run.fit(module, fixed(), fixed())
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    pictures = ["curves/fex/negative_curve", "curves/fex/positive_curve", "val/heat_maps"]
    assert sorted(events.Tags()["images"]) == pictures
    for tag in pictures:  # one tag, a step a validation
        assert [event.step for event in events.Images(tag)] == [2, 4, 6]
    assert not [tag for tag in events.Tags()["scalars"] if "curve" in tag or "step_" in tag]


def drawn_maps(monkeypatch):
    """Arguments of the pictures that are drawn."""
    drawn = []
    monkeypatch.setattr(
        "lightning_modules.callbacks.heatmaps.grid_picture",
        lambda images, maps, **titles: drawn.append((images, maps, titles)) or grid_picture(images, maps, **titles),
    )
    return drawn


def test_heat_maps_are_of_different_classes_and_of_readable_images(module, tmp_path, monkeypatch):
    first, second = torch.zeros(3, 2, 8), torch.ones(3, 2, 8)
    with torch.no_grad():
        module.black_box.table.copy_(torch.cat([torch.full((15,), 0.9), torch.tensor([0.1])]))  # all white is class 1
    rows = [{"inputs": second, "index": 0, "valid": False, "labels": 0}]
    rows += [{"inputs": first + 0.01 * i, "index": 1 + i, "valid": True, "labels": 0} for i in range(7)]
    rows += [{"inputs": second, "index": 8, "valid": True, "labels": 1}]
    drawn = drawn_maps(monkeypatch)
    data = DataLoader(rows, batch_size=3, collate_fn=collate)
    trainer(tmp_path, [HeatMaps(count=3)]).validate(module, data, verbose=False)
    ((images, _, titles),) = drawn
    assert [title.split()[0] for title in titles["column_titles"]] == ["0", "0", "1"]
    assert [float(image.mean()) for image in images] == pytest.approx([0.0, 0.01, 1.0])


def test_heat_maps_are_titled_by_class_and_range(module, tmp_path, monkeypatch):
    drawn = drawn_maps(monkeypatch)
    rows = fixed()
    trainer(tmp_path, [HeatMaps(count=2)]).validate(module, rows, verbose=False)
    ((images, maps, titles),) = drawn
    inputs = torch.stack(images)
    target = module.black_box(inputs).argmax(1)
    for index, (title, values) in enumerate(zip(titles["column_titles"], module(inputs, target), strict=True)):
        low, high = values.min().item(), values.max().item()
        assert title == f"{module.class_names[target[index]]} {low:.2g}…{high:.2g}"
        assert maps[0][index].ravel() == pytest.approx(values.detach().numpy())


def test_health_signs_warn_once_with_advice(tmp_path):
    module = make_module(torch.rand(16), num_masks=3, keep_rate=1e-4)
    run = trainer(tmp_path, [HealthSigns(patience=2)], max_epochs=4)
    with pytest.warns(UserWarning, match="the masks collapse") as caught:
        run.fit(module, fixed())
    assert sum("the masks collapse" in str(one.message) for one in caught) == 1


@pytest.mark.parametrize("build", [lambda: HealthSigns(patience=0), lambda: HeatMaps(count=0)])
def test_settings_are_checked(build):
    with pytest.raises(ValueError, match="at least 1"):
        build()


@pytest.mark.parametrize(("second", "expected"), [(1.0, 1.0), (-1.0, -1.0)])
def test_class_correlation_of_equal_and_of_opposite_maps(module, tmp_path, second, expected):
    with torch.no_grad():  # two classes whose maps are the same numbers, or those numbers with the sign changed
        weight = torch.randn(module.explainer.hidden)
        module.explainer.weight.copy_(torch.stack([weight, second * weight]))
    for stage in ("validate", "test"):
        found = getattr(trainer(tmp_path, [ClassCorrelation()]), stage)(module, fixed(), verbose=False)[0]
        assert found[f"{'val' if stage == 'validate' else stage}/class_correlation"] == pytest.approx(expected)


def test_class_correlation_of_constant_maps_is_unknown(module, tmp_path):
    with torch.no_grad():
        module.explainer.weight.zero_()
    found = trainer(tmp_path, [ClassCorrelation()]).validate(module, fixed(), verbose=False)[0]
    assert torch.isnan(torch.tensor(found["val/class_correlation"]))


def test_labels_that_count_other_classes_than_the_box_are_refused_where_they_are_scored(module, tmp_path):
    class Data(pl.LightningDataModule):
        class_names = ["dark", "bright"]

        def val_dataloader(self):
            return fixed()

    module.black_box.class_names = ["bright", "dark"]
    trainer(tmp_path, [ExplanationScores(["fex"])]).validate(module, datamodule=Data(), verbose=False)
    with pytest.raises(ValueError, match="Protocol chefer compares labels .* class 'bright' in another place"):
        trainer(tmp_path, [ExplanationScores(["chefer"])]).validate(module, datamodule=Data(), verbose=False)
