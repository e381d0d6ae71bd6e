"""Which label of a multi-label answer is explained."""

import torch

from fex.policy import draw_labels

# Two are there; one is not; one cannot be; none is there in the second row.
ANSWERS = torch.tensor([[0.9, 0.6, 0.3, 0.0], [0.3, 0.1, 0.0, 0.0]])


def shares(row, count=20_000):
    noise = torch.rand(count, generator=torch.Generator().manual_seed(0))
    return torch.bincount(draw_labels(ANSWERS[row].expand(count, -1), noise), minlength=4) / count


def test_labels_that_are_there_have_their_turn_and_now_and_then_any():
    expected = 0.75 * torch.tensor([0.5, 0.5, 0, 0]) + 0.25 * torch.tensor([0.5, 1 / 3, 1 / 6, 0])
    torch.testing.assert_close(shares(0), expected, atol=0.015, rtol=0)
    torch.testing.assert_close(shares(1), torch.tensor([0.75, 0.25, 0, 0]), atol=0.015, rtol=0)


def test_the_ends_of_the_noise_draw_labels_that_can_be():
    noise = torch.tensor([0.0, 1 - 2**-24])
    assert draw_labels(ANSWERS[:1].flip(1).expand(2, -1), noise).tolist() == [1, 3]
    assert draw_labels(ANSWERS[:1].expand(2, -1), noise).tolist() == [0, 2]


def test_answers_of_zero_are_drawn_too():
    found = draw_labels(torch.zeros(400, 2), torch.linspace(0, 0.999, 400))
    assert found.sum() == 200
