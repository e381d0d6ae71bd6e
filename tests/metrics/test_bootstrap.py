import pytest
import torch

from fex.metrics.functional import bootstrap_interval, paired_difference


def test_the_interval_of_a_mean_is_the_normal_one():
    values = torch.rand(2000)
    error = values.double().std(correction=0) / 2000**0.5
    value, low, high = bootstrap_interval(values)
    assert value == pytest.approx(float(values.double().mean()))
    # The bounds are quantiles of 10,000 draws: their own error is 0.03 standard errors.
    assert low == pytest.approx(value - 1.96 * float(error), abs=0.12 * float(error))
    assert high == pytest.approx(value + 1.96 * float(error), abs=0.12 * float(error))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    trials, hits = 400, 0
    for trial in range(trials):
        sample = (torch.rand(60, generator=torch.Generator().manual_seed(trial)) < 0.7).float()
        _, low, high = bootstrap_interval(sample, resamples=500, level=0.9, seed=trial)
        hits += low <= 0.7 <= high
    assert abs(hits / trials - 0.9) < 4 * (0.9 * 0.1 / trials) ** 0.5


def test_a_ratio_of_sums_is_a_function_of_means():
    counts = torch.tensor([[1.0, 10.0], [9.0, 10.0], [50.0, 100.0]])
    value, low, high = bootstrap_interval(counts, statistic=lambda means: means[..., 0] / means[..., 1])
    assert value == pytest.approx(60 / 120)  # not the mean of 0.1, 0.9, 0.5 weighted alike
    assert low == pytest.approx(0.1, abs=0.2)
    assert high == pytest.approx(0.9, abs=0.2)


def test_pairing_takes_out_what_the_instances_share():
    shared = 5 * torch.randn(300)
    a, b = shared + 0.1 + 0.05 * torch.randn(300), shared + 0.05 * torch.randn(300)
    value, low, high = paired_difference(a, b)
    assert value == pytest.approx(float((a - b).double().mean()), abs=1e-6)
    assert 0.08 < low < value < high < 0.12
    # It is the interval of the differences, bounds and all.
    assert (low, high) == pytest.approx(bootstrap_interval(a - b)[1:], abs=1e-6)


def test_paired_statistics_of_several_columns():
    a, b = torch.rand(50, 3), torch.rand(50, 3)
    statistic = lambda means: means[..., 0] / means[..., 2]  # noqa: E731
    value, low, high = paired_difference(a, b, statistic=statistic, resamples=200)
    assert value == pytest.approx(float(statistic(a.double().mean(0)) - statistic(b.double().mean(0))))
    assert low < value < high
    assert paired_difference(a, a, statistic=statistic, resamples=50) == (0, 0, 0)


def test_chunks_are_invisible(monkeypatch):
    values = torch.rand(40)
    whole = bootstrap_interval(values, resamples=100)
    monkeypatch.setattr("fex.metrics.functional.bootstrap.KEPT", 0)
    assert bootstrap_interval(values, resamples=100) == whole  # draws that are kept are the same draws
    monkeypatch.setattr("fex.metrics.functional.bootstrap.CHUNK", 40 * 8)
    assert bootstrap_interval(values, resamples=100) == pytest.approx(whole, abs=0.03)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(torch.empty(0)), r"shape \(0,\), expected"),
        (lambda: bootstrap_interval(torch.tensor([1.0, torch.nan])), "Got NaN values"),
        (lambda: bootstrap_interval(torch.ones(3), level=95), "level=95"),
        (lambda: paired_difference(torch.ones(3), torch.ones(4)), "needs the same instances"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
