import math

import pytest
import torch

from fex.policy import BlankCorrectedRatio, LogRatio, PaperRatio, Retained

SCORES = torch.tensor([[0.6, 0.3]])
MASKS = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])


def test_paper_ratio_is_score_per_kept_feature_and_defined_for_the_empty_mask():
    rewards = PaperRatio()(SCORES, MASKS, torch.zeros(1))
    assert rewards[0].tolist() == pytest.approx([4 * 0.6 / 3, 4 * 0.3 / 1])


def test_log_ratio_is_its_logarithm_also_where_nothing_is_left():
    rewards = LogRatio()(torch.tensor([[0.6, 0.0]]), MASKS, torch.zeros(1))
    assert rewards[0].tolist() == pytest.approx([math.log(4 * 0.6 / 3), math.log(1e-6)], abs=1e-5)


def test_blank_corrected_ratio_gives_the_empty_mask_nothing():
    rewards = BlankCorrectedRatio()(SCORES, MASKS, torch.tensor([0.3]))
    assert rewards[0].tolist() == pytest.approx([4 * 0.3 / 3, 0.0])


def test_retained_is_the_score():
    assert torch.equal(Retained()(SCORES, MASKS, torch.zeros(1)), SCORES)


def test_only_the_corrected_reward_asks_for_a_blank_query():
    assert [r.uses_blank for r in (PaperRatio, LogRatio, BlankCorrectedRatio, Retained)] == [False, False, True, False]
