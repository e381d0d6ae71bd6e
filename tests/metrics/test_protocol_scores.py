import pytest
import torch

from fex.metrics import ProtocolScores


def curves(rows):
    return {"positive_curve": rows, "negative_curve": 1 - rows}


def test_ranks_merge_into_the_same_instances():
    rows, index = torch.rand(7, 10), torch.tensor([5, 0, 3, 1, 6, 2, 4])
    whole, left, right = ProtocolScores("fex"), ProtocolScores("fex"), ProtocolScores("fex")
    whole.update(curves(rows), index)
    left.update(curves(rows[:4]), index[:4])
    # Padding is marked on one row, and comes unmarked a second time on another: it counts once either way.
    right.update(curves(rows[[4, 5, 6, 0]]), index[[4, 5, 6, 0]], torch.tensor([True, True, True, False]))
    right.update(curves(rows[[1]]), index[[1]])
    left.merge_state(right)
    assert left.instances()[0].tolist() == list(range(7))
    torch.testing.assert_close(left.instances()[1]["positive_curve"], rows[index.argsort()])
    for name, value in whole.compute().items():
        torch.testing.assert_close(left.compute()[name], value)
    torch.testing.assert_close(whole.compute()["positive_auc"], rows.mean())


def test_rows_that_are_not_valid_do_not_count():
    scores = ProtocolScores("fex")
    rows = torch.tensor([[0.0] * 10, [1.0] * 10])
    scores.update(curves(rows), torch.tensor([0, 1]), torch.tensor([False, True]))  # the first could not be read
    assert scores.instances()[0].tolist() == [1]
    assert scores.compute()["positive_auc"] == 1


def test_intervals_leave_out_instances_without_a_value():
    scores = ProtocolScores("seg")
    values = torch.tensor([0.2, torch.nan, 0.4])
    counts = torch.tensor([[1.0, 1, 1, 1]]).repeat(3, 1)
    names = ("average_precision", "two_class_average_precision", "pointing_game")
    scores.update({"confusion": counts, **dict.fromkeys(names, values)}, torch.arange(3))
    (value, low, high), count = scores.intervals()["average_precision"]
    assert (value, count) == (pytest.approx(0.3), 2)
    assert (low, high) == (pytest.approx(0.2), pytest.approx(0.4))
    assert scores.intervals()["mean_iou"][1] == 3
    scores.reset()
    scores.update({"confusion": counts[:1], **dict.fromkeys(names, values[1:2])}, torch.arange(1))
    assert scores.compute()["pointing_game"].isnan()
    assert scores.intervals()["pointing_game"][1] == 0


def test_errors():
    scores = ProtocolScores("fex")
    with pytest.raises(ValueError, match="'fex' has seen no instances"):
        scores.instances()
    with pytest.raises(ValueError, match=r"Got components \['x'\], expected \['negative_curve', 'positive_curve'\]"):
        scores.update({"x": torch.rand(2)}, torch.arange(2))
    with pytest.raises(ValueError, match="Got 3 indices for components"):
        scores.update(curves(torch.rand(2, 10)), torch.arange(3))
    with pytest.raises(ValueError, match="Got protocol 'fax'"):
        ProtocolScores("fax")
