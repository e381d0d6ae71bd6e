"""Numbers of a row depend on seed, step and row alone."""

import pytest
import torch

from fex.seeding import RowDraws


@pytest.mark.parametrize("shape", [(5, 4), (1,), (17,), (3, 2, 2), ()])
def test_a_process_draws_its_rows_of_the_whole_batch(shape):
    def calls(count, first=0):
        draws = RowDraws(7, 11, first)
        return [draws.rand(count, *shape) for _ in range(3)]

    whole, parts = calls(8), [calls(4), calls(4, 4)]
    for number, every in enumerate(whole):
        assert every.shape == (8, *shape)
        assert torch.equal(torch.cat([part[number] for part in parts]), every)
    assert not torch.equal(whole[0], whole[1])


def test_numbers_are_uniform_and_of_their_own_for_each_seed_step_row_and_stream():
    found = [RowDraws(*key).rand(100, 100) for key in ((0, 0), (1, 0), (0, 1), (0, 0, 100), (0, 0, 0, 1), (2**70, 0))]
    for draws in found[:-1]:
        assert draws.dtype == torch.float32
        assert 0 <= draws.min() < 1e-3 < 1 - 1e-3 < draws.max() < 1
        assert abs(draws.mean() - 0.5) < 4 * (1 / 12 / draws.numel()) ** 0.5
        assert abs(draws.var() - 1 / 12) < 4 * (1 / 180 / draws.numel()) ** 0.5
        assert abs(torch.corrcoef(torch.stack([draws[:, 0], draws[:, 1]]))[0, 1]) < 0.4
    flat = torch.stack([draws.flatten() for draws in found[:-1]])
    assert (torch.corrcoef(flat) - torch.eye(len(flat))).abs().max() < 0.04


def test_far_rows_and_steps_are_within_reach():
    assert torch.equal(RowDraws(0, 10**9, 10**12).rand(2, 3)[1], RowDraws(0, 10**9, 10**12 + 1).rand(1, 3)[0])
