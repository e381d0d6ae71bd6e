"""What every explainer must keep to, whatever it computes."""

import numpy as np
import pytest
import torch
from torch import nn

from fex.baselines import (
    RISE,
    CentreGaussian,
    GradCAM,
    GradSHAP,
    InputXGradient,
    IntegratedGradients,
    Random,
    Saliency,
    SmoothRISE,
)
from fex.black_box import TorchBlackBox
from fex.dax import DAX, FitSettings, Grid, StudentLIME, StudentRISE
from fex.features import PatchGrid
from fex.iassa import IASSA, WindowSchedule
from fex.types import Explainer
from tests.baselines.nets import SIZE, box, cnn, pictures, vit

GRID = PatchGrid(4, 4)
FEW = {
    "segmenter": Grid(4, 4),
    "num_samples": 20,
    "resolution": 8,
    # Several steps: the first one of Adam is the sign of the gradient, the same for many a class.
    "fit": FitSettings(mask_width=2, mask_kernel=3, student_width=2, hidden=4, max_epochs=2, batch_size=4),
}
MAKE = {
    "random": lambda b: Random(GRID),
    "centre": lambda b: CentreGaussian(GRID),
    "rise": lambda b: RISE(b, GRID, num_masks=20),
    "smooth_rise": lambda b: SmoothRISE(b, num_masks=20, cells=3),
    "gradcam": lambda b: GradCAM(b, GRID),
    "integrated_gradients": lambda b: IntegratedGradients(b, steps=5),
    "grad_shap": lambda b: GradSHAP(b, samples=5),
    "saliency": Saliency,
    "input_x_gradient": InputXGradient,
    "dax": lambda b: DAX(b, **FEW),
    "student_rise": lambda b: StudentRISE(b, **FEW, num_masks=20, cells=3),
    "student_lime": lambda b: StudentLIME(b, **FEW, num_draws=20),
    "iassa": lambda b: IASSA(b, None, schedule=WindowSchedule(window=6, stride=3, min_window=2), iterations=0),
}
BLIND = {"random", "centre"}  # to the class
NETS = {"cnn": cnn, "vit": vit}


@pytest.fixture(params=MAKE)
def method(request):
    return request.param


@pytest.fixture(params=NETS)
def black_box(request):
    torch.manual_seed(0)
    return box(NETS[request.param]())


def state(module: nn.Module):
    """Everything of a network that an explainer could leave changed."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        {name: part.training for name, part in module.named_modules()},
        {name: [len(getattr(part, hook)) for hook in hooks] for name, part in module.named_modules()},
        {
            name: (p.requires_grad, p.grad is None, len(p._backward_hooks or ()))
            for name, p in module.named_parameters()
        },
        {name: value.clone() for name, value in module.state_dict().items()},
    )


def assert_same_state(before, after):
    assert after[:3] == before[:3]
    assert all(torch.equal(value, after[3][name]) for name, value in before[3].items())


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 3])
def test_a_map_for_each_image(method, black_box, count):
    explainer, inputs = MAKE[method](black_box), pictures(count)
    assert isinstance(explainer, Explainer)
    maps = explainer.attribute(inputs)
    assert (maps.shape, maps.dtype, maps.device) == ((count, SIZE, SIZE), torch.float32, inputs.device)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    assert not inputs.requires_grad
    assert method in {"saliency", "input_x_gradient"} or maps.flatten(1).std(1).min() > 0
    if hasattr(explainer, "attribute_features"):
        scores = explainer.attribute_features(inputs)
        assert (scores.shape, scores.dtype) == ((count, 16), torch.float32)
        if method != "gradcam":  # bilinear on the pixels, by custom
            assert torch.equal(maps, GRID.expand(scores, (SIZE, SIZE)))


def test_the_same_call_gives_the_same_map(method, black_box):
    inputs = pictures()
    explainer = MAKE[method](black_box)
    first = explainer.attribute(inputs, 1)
    assert torch.equal(explainer.attribute(inputs, 1), first)
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(MAKE[method](black_box).attribute(inputs, 1), first)


def test_the_batch_is_a_loop(method, black_box):
    inputs, target = pictures(4), torch.tensor([0, 1, 2, 3])
    explainer = MAKE[method](black_box)
    alone = torch.cat([explainer.attribute(x[None], int(t)) for x, t in zip(inputs, target, strict=True)])
    close(explainer.attribute(inputs, target), alone)


def test_the_target_is_the_class(method, black_box):
    inputs = pictures()
    explainer = MAKE[method](black_box)
    predicted = black_box(inputs).argmax(1)
    close(explainer.attribute(inputs), explainer.attribute(inputs, predicted))
    close(explainer.attribute(inputs, 2), explainer.attribute(inputs, torch.tensor([2, 2, 2])))
    differ = not torch.allclose(explainer.attribute(inputs, 0), explainer.attribute(inputs, 1), atol=1e-6)
    assert differ == (method not in BLIND)
    if method not in BLIND:
        with pytest.raises(ValueError, match="outside the 4 classes"):
            explainer.attribute(inputs, 4)
        with pytest.raises(ValueError, match="Got 2 targets for 3 inputs"):
            explainer.attribute(inputs, torch.tensor([0, 1]))


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(method, black_box, training):
    black_box.module.train(training)
    list(black_box.module.parameters())[0].requires_grad_(False)
    before = state(black_box.module)
    MAKE[method](black_box).attribute(pictures())
    assert_same_state(before, state(black_box.module))


class Fuse(nn.Module):
    """A network that fails once it is told to, after its layers have run."""

    def __init__(self, net):
        super().__init__()
        self.net, self.blown = net, False

    def forward(self, x):
        logits = self.net(x)
        if self.blown:
            raise IndexError("blown")
        return logits


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("asking", sorted(MAKE.keys() - BLIND))
def test_the_network_is_left_as_it_was_by_an_error(asking, net):
    fuse = Fuse(NETS[net]())
    explainer = MAKE[asking](box(fuse))
    fuse.train()
    before = state(fuse)
    fuse.blown = True
    with pytest.raises(IndexError, match="blown") as caught:  # held, and with it every frame of the traceback
        explainer.attribute(pictures(), 1)
    assert_same_state(before, state(fuse))
    del caught


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_within_a_validation_loop(method, black_box, mode):
    expected = MAKE[method](black_box).attribute(pictures())
    with mode(), torch.autocast("cpu", torch.bfloat16):
        close(MAKE[method](black_box).attribute(pictures().clone()), expected)


def test_takes_a_bf16_box(method, black_box):
    half = TorchBlackBox(
        black_box.module,
        num_classes=4,
        preprocess=black_box.preprocess,
        mean=black_box.mean,
        precision="bf16",
        channels_last=True,
    )
    maps = MAKE[method](half).attribute(pictures(), 1)
    assert maps.dtype is torch.float32
    full = MAKE[method](black_box).attribute(pictures(), 1)
    torch.testing.assert_close(maps, full, atol=0.02, rtol=0.02)


def test_inputs_are_not_changed(method, black_box):
    inputs = pictures()
    MAKE[method](black_box).attribute(inputs)
    assert torch.equal(inputs, pictures())
