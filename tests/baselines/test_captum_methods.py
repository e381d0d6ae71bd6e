import numpy as np
import pytest
import torch

from fex.baselines import GradSHAP, InputXGradient, IntegratedGradients, Saliency, SmoothGrad
from fex.images import Black, Blur, PatchGrid
from tests.baselines.nets import box, cnn, pictures, vit
from tests.toys import PatchBox


@pytest.mark.parametrize("net", [cnn, vit])
@pytest.mark.parametrize("removal", [None, Black(), Blur(2.0)])
def test_integrated_gradients_are_complete(net, removal):
    black_box, inputs = box(net()), pictures()
    method = IntegratedGradients(black_box, removal, steps=50)
    target = torch.tensor([0, 3, 1])
    blank = method._baseline(method.removal, inputs)
    expected = (black_box(inputs) - black_box(blank)).gather(1, target[:, None]).squeeze(1)
    torch.testing.assert_close(method.attribute(inputs, target).sum((1, 2)), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("internal_batch_size", [1, 7, 45, 1000])
def test_the_internal_batch_size_bounds_a_pass_and_changes_nothing(internal_batch_size):
    black_box, inputs = box(cnn()), pictures(5)
    whole = IntegratedGradients(black_box, steps=20).attribute(inputs, 2)
    passes = []
    handle = black_box.module.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    small = IntegratedGradients(black_box, steps=20, internal_batch_size=internal_batch_size).attribute(inputs, 2)
    handle.remove()
    torch.testing.assert_close(small, whole)
    assert max(passes) <= internal_batch_size


def test_the_steps_are_used():
    black_box, inputs = box(vit()), pictures()
    one, many = (IntegratedGradients(black_box, steps=s).attribute(inputs, 0) for s in (1, 30))
    assert not torch.allclose(one, many)


def gradient(black_box, inputs, target):
    leaf = inputs.clone().requires_grad_()
    black_box.differentiable(leaf).softmax(1)[:, target].sum().backward()
    return leaf.grad


def test_saliency_and_input_x_gradient_are_autograds():
    black_box, inputs = box(cnn()), pictures()
    slope = gradient(black_box, inputs, 1)
    torch.testing.assert_close(Saliency(black_box).attribute(inputs, 1), slope.abs().sum(1))
    torch.testing.assert_close(Saliency(black_box, colours="max").attribute(inputs, 1), slope.abs().amax(1))
    torch.testing.assert_close(InputXGradient(black_box).attribute(inputs, 1), (slope * inputs).sum(1))


def test_grad_shap_tends_to_integrated_gradients_without_noise():
    black_box, inputs = box(vit()), pictures(1)
    expected = IntegratedGradients(black_box, steps=50).attribute(inputs, 1)
    few, many = (GradSHAP(black_box, samples=s, noise=0.0).attribute(inputs, 1) for s in (2, 1000))
    assert (many - expected).norm() < 0.1 * expected.norm()
    assert (few - expected).norm() > (many - expected).norm()


def test_grad_shap_uses_its_knobs_and_leaves_the_global_generators():
    black_box, inputs = box(cnn()), pictures()
    first = GradSHAP(black_box, samples=4).attribute(inputs, 1)
    for options in ({"samples": 5}, {"samples": 4, "noise": 0.2}, {"samples": 4, "seed": 1}):
        assert not torch.equal(GradSHAP(black_box, **options).attribute(inputs, 1), first)
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    GradSHAP(black_box, samples=4).attribute(inputs, 1)
    assert (torch.rand(1), np.random.rand()) == expected


def test_smoothgrad_without_noise_is_the_saliency():
    black_box, inputs = box(vit()), pictures()
    expected = Saliency(black_box).attribute(inputs, 1)
    torch.testing.assert_close(SmoothGrad(black_box, samples=3, noise=0.0).attribute(inputs, 1), expected)


def test_smoothgrad_is_the_mean_gradient_of_its_copies():
    black_box, inputs = box(cnn()), pictures()
    draws = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(4)) * 0.2
    expected = torch.stack([gradient(black_box, inputs + draw, 1) for draw in draws]).mean(0).abs().sum(1)
    for size in (1000, 6, 4):  # all at once, an instance at a time, fewer than its copies
        method = SmoothGrad(black_box, samples=6, noise=0.2, seed=4, internal_batch_size=size)
        torch.testing.assert_close(method.attribute(inputs, 1), expected)
    for options in ({"samples": 5}, {"noise": 0.3}, {"seed": 5}):
        changed = SmoothGrad(black_box, **{"samples": 6, "noise": 0.2, "seed": 4, **options})
        assert not torch.allclose(changed.attribute(inputs, 1), expected)


def test_multi_label_boxes_are_explained_by_sigmoid():
    net, inputs = cnn(), pictures()
    black_box = box(net, multi_label=True)
    method = IntegratedGradients(black_box, steps=50)
    blank = method._baseline(method.removal, inputs)
    expected = (black_box(inputs) - black_box(blank))[:, 2]
    torch.testing.assert_close(method.attribute(inputs, 2).sum((1, 2)), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: IntegratedGradients(PatchBox(PatchGrid(2, 2), 0)), TypeError, "can only be queried"),
        (lambda: IntegratedGradients(box(cnn()), steps=0), ValueError, "at least 1 step, got 0"),
        (lambda: Saliency(box(cnn()), internal_batch_size=0), ValueError, "internal_batch_size must be at least 1"),
        (lambda: Saliency(box(cnn()), colours="mean"), ValueError, "Got colours='mean', expected 'sum' or 'max'"),
        (lambda: SmoothGrad(box(cnn()), samples=0), ValueError, "SmoothGrad needs samples >= 1 and noise >= 0, got 0"),
        (lambda: GradSHAP(box(cnn()), noise=-1), ValueError, "noise >= 0, got 20 and -1"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("internal_batch_size", [1, 7])
def test_gradshap_bounds_a_pass(internal_batch_size):
    black_box, inputs = box(cnn()), pictures(2)
    passes = []
    handle = black_box.module.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    small = GradSHAP(black_box, samples=40, internal_batch_size=internal_batch_size).attribute(inputs, 2)
    handle.remove()
    assert max(passes) == internal_batch_size
    assert sum(passes) == 2 * 40
    # Other draws of the same mean: without noise and with many of them, both are close to the integral.
    many = {"samples": 600, "noise": 0.0}
    parts = GradSHAP(black_box, internal_batch_size=internal_batch_size * 20, **many).attribute(inputs, 2)
    whole = GradSHAP(black_box, internal_batch_size=600, **many).attribute(inputs, 2)
    torch.testing.assert_close(parts, whole, atol=0.1 * float(whole.abs().max()), rtol=0)
    assert small.shape == (2, 16, 16)


@pytest.mark.parametrize("method", [GradSHAP, InputXGradient, IntegratedGradients, Saliency, SmoothGrad])
def test_inputs_of_other_precision_are_taken_as_by_the_box(method):
    black_box, inputs = box(cnn()), pictures()
    expected = method(black_box).attribute(inputs, 1)
    torch.testing.assert_close(method(black_box).attribute(inputs.double(), 1), expected)
