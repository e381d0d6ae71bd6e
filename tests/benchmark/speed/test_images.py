import json
import math

import pytest
import torch

from fex.benchmark.measure import peak_bytes
from fex.benchmark.speed.images import Figure, make_explainer, one_pass, ratio, speedups, spread, time_in_turn
from fex.benchmark.speed.memory import class_head_memory, folder_memory, memory_ratios, write_pictures
from fex.benchmark.speed.overhead import harness_overhead
from fex.black_box import TorchBlackBox
from fex.cli.bench.speed import run_speed
from fex.cli.bench.step_cost import step_memory, step_overhead
from fex.images import PatchGrid, Preprocess
from fex.nets import ExplainerNet, ViTEncoder
from tests.lightning_modules.tiny import TinyEncoder
from tests.shrink import load, written

SMALL = {"img_size": 16, "depth": 1, "embed_dim": 16, "num_heads": 1}


@pytest.fixture(scope="module")
def explainer_and_box():
    torch.manual_seed(0)
    encoder = ViTEncoder("conv_vit_tiny", model_args=SMALL)
    net = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()
    box = TorchBlackBox(net, num_classes=3, preprocess=Preprocess(16, 16), chunk=4)
    return make_explainer(encoder, box, PatchGrid(4, 4)), box


def positive(figure: Figure) -> bool:
    return math.isfinite(figure.value) and figure.value > 0


def test_functions_are_timed_in_turn_and_the_warm_up_is_left_out():
    calls = []
    samples = time_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, warm_up=2)
    assert "".join(calls) == "ab" * 5
    assert {name: len(times) for name, times in samples.items()} == {"a": 3, "b": 3}
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        time_in_turn({}, 0)


def test_ratio_is_of_medians_and_counts_the_parts():
    figure = ratio("r", [1.0, 9.0, 3.0], {"x": (2, [0.5, 0.1, 7.0]), "y": (1, [1.0, 1.0])}, target=1.5)
    assert figure.value == pytest.approx(3.0 / (2 * 0.5 + 1.0))
    assert figure.ok
    assert figure.parts["x"]["count"] == 2
    assert figure.parts["measured"] == {"median": 3.0, "quartiles": [2.0, 6.0], "n": 3}
    assert spread([2.0]) == {"median": 2.0, "quartiles": [2.0, 2.0], "n": 1}


@pytest.mark.parametrize(
    ("bound", "value", "ok"), [("<=", 1.0, True), ("<=", 2.0, False), (">=", 2.0, True), (">=", 1.0, False)]
)
def test_target_is_a_bound_on_its_side(bound, value, ok):
    assert Figure("f", value, 1.5, bound).ok is ok
    assert Figure("f", value).ok is None


def test_one_pass_compares_with_the_backbone(explainer_and_box):
    explainer, _ = explainer_and_box
    figure = one_pass("one_pass", explainer, torch.rand(2, 3, 16, 16), repeats=2)
    assert positive(figure)
    assert set(figure.parts) == {"explanation", "backbone"}
    assert figure.shapes == {"inputs": [2, 3, 16, 16], "features": 16}


def test_speedups_spend_the_queries_they_name(explainer_and_box):
    explainer, box = explainer_and_box
    before = box.queries
    rise, ig, gradshap = speedups(explainer, box, torch.rand(2, 3, 16, 16), repeats=1, queries=6)
    assert [rise.name, ig.name, gradshap.name] == ["speedup_rise", "speedup_ig", "speedup_gradshap"]
    assert positive(rise)
    assert positive(ig)
    assert (rise.bound, rise.target) == (">=", 30.0)
    assert box.queries - before == 2 + 2 * 2 * 6  # the classes once, RISE in warm-up and measurement


def test_memory_ratios_are_of_the_peaks(explainer_and_box):
    explainer, box = explainer_and_box
    figures = memory_ratios(explainer, box, torch.rand(1, 3, 16, 16), queries=6)
    assert [figure.name for figure in figures] == ["memory_rise", "memory_ig", "memory_gradshap"]
    for figure in figures:
        assert figure.value == pytest.approx(figure.parts["mb"] / figure.parts["mb_of_an_explanation"])
        assert positive(figure)
        assert figure.bound == ">="


def test_harness_is_compared_with_direct_calls(explainer_and_box, tmp_path):
    explainer, box = explainer_and_box
    before = box.queries
    inputs = torch.rand(5, 3, 16, 16)
    figure, alone = harness_overhead(explainer, box, inputs, tmp_path, repeats=1, batch_size=3, queries=4)
    assert positive(figure)
    assert (figure.bound, figure.target) == ("<=", 1.05)
    assert alone.value == pytest.approx(alone.parts["harness_ms"] - alone.parts["direct_ms"])
    assert min(alone.parts.values()) > 0
    # Warm-up and one measurement of both: clean and RISE's queries; the harness explains the first batch twice.
    # And the same with the explainer alone, which asks nothing.
    # Each time the harness also asks about the first three, masked, to know the box again.
    assert box.queries - before == 2 * (2 * (5 + 5 * 4) + 3 * 4) + 2 * 2 * 5 + 4 * 3
    # Runs x batches x (methods and the clean scores), and the probes.
    assert len(list(tmp_path.rglob("*.npz"))) == 2 * 2 * 3 + 2 * 2 * 2 + 4


def test_peak_is_of_what_is_held_at_a_time():
    def one_after_the_other() -> None:
        for _ in range(8):
            torch.empty(1_000_000, dtype=torch.uint8)

    def together() -> None:
        _held = [torch.empty(1_000_000, dtype=torch.uint8) for _ in range(8)]

    assert 1_000_000 <= peak_bytes(one_after_the_other) < 1_100_000
    assert 8_000_000 <= peak_bytes(together) < 8_100_000


def test_class_head_holds_less_than_a_tensor_of_all_classes_a_few_times_over():
    net = ExplainerNet(TinyEncoder(196), hidden=8).build(6000, PatchGrid(14, 14))
    figure = class_head_memory(net, 16)
    one = 16 * 196 * 6000 * 4 / 1e6
    assert figure.parts["one_tensor_of_all_classes_mb"] == pytest.approx(one)
    # Naively: logits, their log-sigmoid, and the gradients of both.
    assert 0 < figure.value < 1.5 * one
    assert figure.unit == "MB"


def test_pictures_differ(tmp_path):
    write_pictures(tmp_path, 3)
    assert len({path.read_bytes() for path in tmp_path.rglob("*.png")}) == 3


@pytest.mark.slow
def test_memory_of_a_folder(explainer_and_box):
    figure = folder_memory(explainer_and_box[0], 300)
    assert positive(figure)
    assert set(figure.parts) == {"mb_after_a_tenth", "mb_in_the_last_tenth", "mb_peak", "bytes_an_image", "seconds"}
    assert figure.shapes == {"pictures": 300, "formats": "npz"}
    with pytest.raises(ValueError, match="at least 100 pictures.*got 99"):
        folder_memory(explainer_and_box[0], 99)


@pytest.mark.parametrize(("name", "epochs"), [("fex_vit_cifar10", 1), ("fex_paper_vit_cifar10", 2)])
def test_step_is_compared_with_its_passes(name, epochs, tmp_path):
    config = load(name)
    # Without instructions for it bf16 takes ten times as long; the next test keeps it.
    config["model"]["init_args"]["black_box"]["init_args"]["precision"] = "fp32"
    config["trainer"]["precision"] = "32-true"
    figure = step_overhead("step_overhead", written(config, tmp_path / "fp32.yaml"), repeats=2, batch_size=2)
    assert positive(figure)
    assert set(figure.parts) == {"step", "black_box_clean", "black_box_masked", "explainer"}
    assert figure.parts["explainer"]["count"] == epochs
    assert figure.parts["step"]["n"] == 2
    assert (figure.shapes["batch"], figure.shapes["masks"]) == (2, 5)


def test_memory_of_a_step_by_number_of_masks():
    figure = step_memory("fex_vit_cifar10.yaml", masks=(2, 3), batch_size=2)
    assert positive(figure)
    assert set(figure.parts) == {"mb_of_2_masks", "mb_of_3_masks"}


def test_report_holds_figures_and_what_they_depend_on(tmp_path, capsys):
    report = run_speed(tmp_path / "speed.json", repeats=1, only=["one_pass_vit"])
    assert json.loads((tmp_path / "speed.json").read_text()) == report
    assert set(report) == {"one_pass_vit", "versions", "threads", "shapes"}
    assert {"value", "target", "ok", "parts"} <= set(report["one_pass_vit"])
    assert "one_pass_vit" in capsys.readouterr().out


def test_unknown_figure():
    with pytest.raises(ValueError, match="knows no speed; it measures step_overhead"):
        run_speed(only=["speed"])
