"""Quantus: its metrics on explainers of fex, and as protocols."""

import numpy as np
import pytest
import torch

from fex.interop import QuantusProtocol, box_network, quantus_explain
from fex.metrics import Attributed
from tests.explainers.tiny import tiny_box, tiny_explainer

quantus = pytest.importorskip("quantus")
pytestmark = pytest.mark.filterwarnings("ignore")


class Sparseness(QuantusProtocol):
    metric = "Sparseness"


class Correlation(QuantusProtocol):
    metric = "FaithfulnessCorrelation"
    options = {"nr_runs": 5, "subset_size": 64, "perturb_baseline": "black", "return_aggregate": False}


class Curves(QuantusProtocol):
    metric = "NoSuchMetric"


def attributed(maps=None):
    explainer, box = tiny_explainer(), tiny_box()
    inputs = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    clean = box(inputs)
    own = explainer.attribute(inputs, clean.argmax(1))
    maps = own if maps is None else maps
    return Attributed(
        inputs, explainer.features.pool(maps), maps, explainer.features, clean,
        explain=lambda x, y: (explainer.attribute_features(x, y), explainer.attribute(x, y)),
    )  # fmt: skip


def test_the_network_gives_the_probabilities_of_the_box():
    inputs, box = torch.rand(4, 3, 16, 16), tiny_box()
    torch.testing.assert_close(box_network(box)(inputs).softmax(1), box(inputs))
    assert bool(box_network(box)(inputs + 9).isfinite().all())


def test_its_metrics_take_an_explainer():
    explainer, box, inputs = tiny_explainer(), tiny_box(), torch.rand(2, 3, 16, 16)
    found = quantus_explain(explainer)(None, inputs.numpy(), np.array([1, 2]))
    np.testing.assert_array_equal(found[:, 0], explainer.attribute(inputs, [1, 2]).numpy())
    metric = quantus.Sparseness(disable_warnings=True)
    scores = metric(
        model=box_network(box), x_batch=inputs.numpy(), y_batch=np.array([1, 2]), a_batch=None,
        explain_func=quantus_explain(explainer), device="cpu",
    )  # fmt: skip
    assert len(scores) == 2


def test_a_metric_is_a_protocol():
    one = torch.zeros(3, 16, 16)
    one[:, 0, 0] = 1
    flat = torch.ones(3, 16, 16) + torch.rand(3, 16, 16) / 1000
    sparse, spread = (
        Sparseness("sparse").evaluate(tiny_box(), attributed(maps))["value"].mean() for maps in (one, flat)
    )
    assert sparse > 0.9 > 0.1 > spread
    box = tiny_box()
    values = Correlation("own").evaluate(box, attributed(), seed=3)["value"]
    assert values.shape == (3,)
    assert box.queries > 15
    torch.testing.assert_close(Correlation("own").evaluate(box, attributed(), seed=3)["value"], values)
    assert list(Correlation("own").summaries) == ["FaithfulnessCorrelation"]


def test_a_metric_that_is_none_is_told():
    with pytest.raises(ValueError, match=r"no metric 'NoSuchMetric'"):
        Curves("x").evaluate(tiny_box(), attributed())


@pytest.mark.parametrize(
    "targets",
    [np.eye(5, dtype=np.int64)[:2], np.array([3.9, 1.7]), np.array([True, False]), [True, 0], np.array([1, 7])],
)
def test_targets_that_are_no_indices_of_classes_are_refused(targets):
    inputs = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
    with pytest.raises(ValueError, match=r"Got target|outside the 5 classes"):
        quantus_explain(tiny_explainer())(None, inputs, targets)
