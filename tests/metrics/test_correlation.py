import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from fex.metrics.functional import class_correlation


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_is_scipys(kind):
    a, b = (torch.rand(5, 12) * 4).round(), torch.rand(5, 12) + torch.linspace(0, 1, 12)
    reference = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}[kind]
    expected = torch.tensor([reference(x, y).statistic for x, y in zip(a, b, strict=True)]).float()
    torch.testing.assert_close(class_correlation(a, b, kind=kind), expected)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=12, unique=True))
def test_rising_functions_keep_the_rank_correlation_at_one(values):
    a = torch.tensor([values], dtype=torch.float32)
    assert float(class_correlation(a, (a / 500).exp())) == pytest.approx(1)
    assert float(class_correlation(a, -(a**3))) == pytest.approx(-1)


def test_constant_maps_have_none():
    a = torch.tensor([[0.3, 0.3, 0.3], [1.0, 2.0, 3.0]])
    assert class_correlation(a, torch.rand(2, 3)).isnan().tolist() == [True, False]


def test_errors():
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(1, 4\)"):
        class_correlation(torch.rand(1, 3), torch.rand(1, 4))
    with pytest.raises(ValueError, match="kind 'kendall', expected"):
        class_correlation(torch.rand(1, 3), torch.rand(1, 3), kind="kendall")
