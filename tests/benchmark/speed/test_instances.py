"""The figures of the per-instance explainers, at small sizes."""

import torch

from fex.benchmark.speed.instances import _overhead, _Timed, attention_memory, dax_memory
from fex.black_box import CallableBlackBox
from fex.images import Preprocess


def test_attention_never_holds_the_matrix():
    small, large = attention_memory(24, 8), attention_memory(64, 8)
    assert large.value < large.parts["the_matrix_mb"]  # 67 MB
    assert large.value < 20 * small.value
    assert large.ok


def test_samples_are_kept_compactly():
    few, many = dax_memory(300), dax_memory(1200)
    assert 0 < many.value - few.value < 100  # as pixels 900 samples are 542 MB
    assert many.ok


class Asks:
    """Ten queries of a hundredth of a second each."""

    def __init__(self, box):
        self.box = box

    def attribute(self, inputs, target):
        for _ in range(10):
            self.box(inputs)


def test_overhead_is_what_the_black_box_does_not_take():
    def slow(x):
        torch.linspace(0, 1, 3_000_000).sort()
        return torch.full((len(x), 2), 0.5)

    box = _Timed(CallableBlackBox(slow, num_classes=2, preprocess=Preprocess(224, 224)))
    figure = _overhead("x", Asks(box), box, 0.25)
    assert figure.parts["queries"] == 10
    assert 0 <= figure.value < 0.9
    assert 0 < figure.parts["seconds_of_queries"] < figure.parts["seconds"]
