"""DAX's losses: closed forms, gradients against finite differences."""

import pytest
import torch

from fex.dax.fit import Networks, explained
from fex.dax.losses import distillation, histogram_kl, soft_histogram
from fex.dax.nets import apply_masks
from fex.dax.objectives import Counterfactual, NoRegulariser, Sparsity
from fex.dax.settings import FitSettings


def test_distillation_is_the_weighted_mean_square():
    scores, predicted = torch.tensor([[1.0, 0.5], [0.0, 0.5]]), torch.tensor([[0.5, 0.5], [0.5, 0.0]])
    weights = torch.tensor([[1.5, 1.0], [0.5, 1.0]])
    assert torch.allclose(distillation(scores, predicted, weights), torch.tensor([0.25, 0.125]))


def test_histogram_kl_is_zero_for_equal_scores_in_any_order_and_positive_else():
    scores = torch.rand(40, 3)
    assert torch.allclose(histogram_kl(scores, scores[torch.randperm(40)]), torch.zeros(3), atol=1e-6)
    assert (histogram_kl(scores, scores**3) > 1e-3).all()


def test_histogram_against_kernels_by_hand():
    values = torch.tensor([0.05, 0.97]).double()
    centres = torch.arange(10).double() / 10 + 0.05
    kernels = torch.exp(-(((values[:, None] - centres) / 0.05) ** 2) / 2)
    expected = (kernels / kernels.sum(1, keepdim=True)).mean(0)
    assert torch.allclose(soft_histogram(values[:, None])[:, 0], expected)
    assert torch.allclose(soft_histogram(torch.rand(9, 2)).sum(0), torch.ones(2))
    with pytest.raises(ValueError, match="Got 1 bins"):
        soft_histogram(values[:, None], bins=1)


def test_prices_in_closed_form():
    masks = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])  # three quarters of the area
    complement, blank = torch.tensor([[0.3], [0.5]]), torch.tensor([0.1])
    bound = torch.tensor([0.2])
    told = (0.2**2 + 0.4**2) / 2
    found = Counterfactual(weight=2.0, area=0.5).price(masks, complement, blank, bound)
    assert found.item() == pytest.approx(2 * told + 0.5 * 0.2 * 0.75)
    assert Sparsity(l1=0.5).price(masks, None, None, bound).item() == pytest.approx(0.5 * 0.2 * 0.75)
    # A complement that tells what a blank input tells is free, whatever that is.
    assert Counterfactual(area=0.0).price(masks, blank.expand(2, 1), blank, bound).item() == 0


def test_share_explained():
    scores = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    predicted = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    assert torch.allclose(explained(scores, predicted, torch.tensor([0.25, 0.25])), torch.tensor([0.5, 0.0]))


@pytest.mark.parametrize(("masked", "stride", "places"), [(4, 1, False), (2, 1, False), (4, 2, False), (4, 2, True)])
@pytest.mark.parametrize("regulariser", [Sparsity(), Counterfactual(), NoRegulariser()])
@pytest.mark.parametrize("architecture", ["cnn2_fc1", "fc2", "cnn2_fc2"])
def test_gradients_match_finite_differences(regulariser, architecture, masked, stride, places):
    settings = FitSettings(
        regulariser=regulariser, architecture=architecture, student_width=2, hidden=3, mask_width=2, mask_kernel=3,
        mask_stride=stride, mask_places=places,
    )  # fmt: skip
    nets = Networks((6, 5), settings, seeds=[0, 1]).double()
    x, scores = torch.rand(4, 6, 6, 5).double(), torch.rand(4, 2).double()
    weights, bound = torch.rand(4, 2).double(), torch.full((2,), 9.0).double()

    def losses(part):
        fit, price, known = nets.losses(nets.prepare(x), scores, weights, bound, masked=masked)
        # The student learns nothing from the price, nor the mask from what the student knows.
        return (fit if part == "student" else fit + known * price)[0]  # of the first instance

    names = [name for name, _ in nets.named_parameters()]
    fit, price, known = nets.losses(nets.prepare(x), scores, weights, bound, masked=masked)
    gradients = torch.autograd.grad((fit + known * price)[0], list(nets.parameters()))
    for name, parameter, gradient in zip(names, nets.parameters(), gradients, strict=True):
        assert not gradient[1].any(), name  # instances do not touch each other
        flat, own, part = parameter.data[0].view(-1), gradient[0].flatten(), name.split(".")[0]
        for index in {int(own.abs().argmax()), *torch.randint(len(own), (4,)).tolist()}:
            before = float(flat[index])
            flat[index] = before + 1e-6
            above = losses(part).item()
            flat[index] = before - 1e-6
            below = losses(part).item()
            flat[index] = before
            assert float(own[index]) == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-8), name
    used = {name.split(".")[0] for name, g in zip(names, gradients, strict=True) if g.any()}
    assert used == ({"student"} if isinstance(regulariser, NoRegulariser) else {"student", "mask"})


def test_only_the_first_copies_are_masked():
    torch.manual_seed(0)
    nets = Networks((6, 5), FitSettings(student_width=2, hidden=3, mask_width=2), seeds=[0])
    x, scores, weights = torch.rand(4, 3, 6, 5), torch.rand(4, 1), torch.rand(4, 1)
    bound = torch.ones(1)
    two = nets.losses(nets.prepare(x), scores, weights, bound, masked=2)
    student_alone, nothing, _ = nets.losses(nets.prepare(x), scores, weights, bound, masked=0)
    assert not nothing.any()
    fit, price, _ = nets.losses(nets.prepare(x[:2]), scores[:2], weights[:2], bound, masked=2)
    alone_of_two, _, _ = nets.losses(nets.prepare(x[:2]), scores[:2], weights[:2], bound, masked=0)
    torch.testing.assert_close(two[0] - student_alone, fit - alone_of_two)
    torch.testing.assert_close(two[1], price)


def test_weights_below_zero():
    with pytest.raises(ValueError, match="Got l1=-1"):
        Sparsity(l1=-1)
    with pytest.raises(ValueError, match="Got weight=-1"):
        Counterfactual(weight=-1)


def small(regulariser):
    """The same weights whatever the regulariser; a bound of the scores' own size."""
    torch.manual_seed(0)
    settings = FitSettings(regulariser=regulariser, student_width=2, hidden=3, mask_width=2, mask_kernel=3)
    return Networks((6, 5), settings, seeds=[0]), torch.rand(4, 3, 6, 5), torch.rand(4, 1)


def test_v1_adds_the_kl_of_the_histograms_under_the_mask():
    weights, bound, found = torch.ones(4, 1), torch.ones(1), []
    for kl in (0.0, 0.7):
        nets, x, scores = small(Sparsity(kl=kl))
        copies = nets.prepare(x)
        found.append(nets.losses(copies, scores, weights, bound, masked=4)[0])
    kept = apply_masks(copies.student, nets.student.prepare(nets.mask(copies.mask)))
    expected = 0.7 * histogram_kl(scores, nets.student(kept, weights=nets.student.weights(torch.float32)))
    assert expected > 1e-4
    torch.testing.assert_close(found[1] - found[0], expected)


@pytest.mark.parametrize("masked", [0, 4])
def test_only_copies_with_a_weight_are_fitted(masked):
    nets, x, scores = small(Counterfactual())
    weights, bound = torch.tensor([[0.0], [4.0], [0.0], [0.0]]), torch.ones(1)
    fit = nets.losses(nets.prepare(x), scores, weights, bound, masked=masked)[0]
    for row in range(4):
        other = scores.clone()
        other[row] += 0.3
        changed = nets.losses(nets.prepare(x), other, weights, bound, masked=masked)[0]
        assert bool(changed != fit) == (row == 1)
