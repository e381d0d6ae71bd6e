"""What every explainer must keep to, whatever it computes."""

import warnings

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from torch import nn

from fex.baselines import (
    LIME,
    RISE,
    AttentionRollout,
    AttLRP,
    CentreGaussian,
    GradCAM,
    GradCAMPlusPlus,
    GradSHAP,
    GuidedGradCAM,
    InputXGradient,
    IntegratedGradients,
    KernelSHAP,
    Occlusion,
    Random,
    Saliency,
    SlidingWindow,
    SmoothGrad,
    SmoothRISE,
)
from fex.black_box import TorchBlackBox
from fex.dax import DAX, FitSettings, Grid, StudentLIME, StudentRISE
from fex.iassa import IASSA, WindowSchedule
from fex.images import PatchGrid
from fex.types import Explainer
from tests.baselines.nets import SIZE, box, cnn, pictures, vit

GRID = PatchGrid(4, 4)
FEW = {
    "segmenter": Grid(4, 4),
    "num_samples": 20,
    "resolution": 8,
    # Several steps: the first one of Adam is the sign of the gradient, the same for many a class.
    "fit": FitSettings(mask_width=2, mask_kernel=3, student_width=2, hidden=4, max_epochs=3, batch_size=4),
}
SMALL_WINDOWS = WindowSchedule(window=6, stride=3, min_window=2)
MAKE = {
    "random": lambda b: Random(GRID),
    "centre": lambda b: CentreGaussian(GRID),
    "rise": lambda b: RISE(b, GRID, num_masks=20),
    "smooth_rise": lambda b: SmoothRISE(b, num_masks=20, cells=3),
    "lime": lambda b: LIME(b, GRID, num_masks=60),
    "kernel_shap": lambda b: KernelSHAP(b, GRID, num_masks=80),
    "occlusion": lambda b: Occlusion(b, GRID),
    "sliding_window": lambda b: SlidingWindow(b, window=6, stride=5),
    "gradcam": lambda b: GradCAM(b, GRID),
    "gradcam_plus_plus": lambda b: GradCAMPlusPlus(b, GRID),
    "guided_gradcam": GuidedGradCAM,
    "attlrp": lambda b: AttLRP(b, GRID),
    "attention_rollout": lambda b: AttentionRollout(b, GRID),
    "integrated_gradients": lambda b: IntegratedGradients(b, steps=5),
    "grad_shap": lambda b: GradSHAP(b, samples=5),
    "saliency": Saliency,
    "smoothgrad": lambda b: SmoothGrad(b, samples=5),
    "input_x_gradient": InputXGradient,
    "dax": lambda b: DAX(b, **FEW),
    "student_rise": lambda b: StudentRISE(b, **FEW, num_masks=20, cells=3),
    "student_lime": lambda b: StudentLIME(b, **FEW, num_draws=20),
    # Of one kind of window: scaled to [0, 1], two nearly constant maps of a random net are rounding alone.
    "iassa": lambda b: IASSA(b, None, window="keep", schedule=SMALL_WINDOWS, iterations=0),
}
LOOKS_AT_NOTHING = {"random", "centre"}
BLIND = {*LOOKS_AT_NOTHING, "attention_rollout"}  # to the class
INSIDE = {"attlrp", "attention_rollout"}  # transformers only
BILINEAR = {"gradcam", "gradcam_plus_plus", *INSIDE}  # on the pixels, by custom
# Maps that may be flat: of a dead unit's gradient, or of a student that has not yet learnt anything.
PIXELS = {"saliency", "smoothgrad", "input_x_gradient", "guided_gradcam", "student_lime"}
# Queries an instance, the class being named.
QUERIES = {
    "rise": 20, "smooth_rise": 20, "lime": 60, "kernel_shap": 80, "occlusion": 17, "sliding_window": 10,
    "dax": 20, "student_rise": 20, "student_lime": 20, "iassa": 36,
}  # fmt: skip
NETS = {"cnn": cnn, "vit": vit}


CASES = [(method, net) for method in MAKE for net in NETS if net == "vit" or method not in INSIDE]


def case_of(method, net):
    trains = net == "vit" and method.startswith(("dax", "student"))  # a network an instance; slower than any other
    return pytest.param((method, net), id=f"{method}-{net}", marks=pytest.mark.slow if trains else ())


@pytest.fixture(params=[case_of(*case) for case in CASES])
def case(request):
    return request.param


@pytest.fixture
def method(case):
    return case[0]


@pytest.fixture
def black_box(case):
    torch.manual_seed(0)
    return box(NETS[case[1]]())


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
    return (a.shape, a.dtype) == (b.shape, b.dtype) and torch.allclose(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 3])
def test_a_map_for_each_image(method, black_box, count):
    explainer, inputs = MAKE[method](black_box), pictures(count)
    assert isinstance(explainer, Explainer)
    maps = explainer.attribute(inputs)
    assert (maps.shape, maps.dtype, maps.device) == ((count, SIZE, SIZE), torch.float32, inputs.device)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    assert not inputs.requires_grad
    assert method in PIXELS or maps.flatten(1).std(1).min() > 0
    if hasattr(explainer, "attribute_features"):
        scores = explainer.attribute_features(inputs)
        assert (scores.shape, scores.dtype) == ((count, 16), torch.float32)
        # Both calls are one explanation: protocols rank by the one, pictures show the other.
        torch.testing.assert_close(GRID.pool(maps), scores)
        if method not in BILINEAR:
            assert torch.equal(maps, GRID.expand(scores, (SIZE, SIZE)))


@pytest.mark.parametrize("target", [None, 1, torch.zeros(0, dtype=torch.int64)], ids=["predicted", "one", "each"])
def test_no_images_give_no_maps(method, black_box, target):
    explainer, queries = MAKE[method](black_box), black_box.queries
    maps = explainer.attribute(pictures(0), target)
    assert (maps.shape, maps.dtype) == ((0, SIZE, SIZE), torch.float32)
    if hasattr(explainer, "attribute_features"):
        assert explainer.attribute_features(pictures(0), target).shape == (0, 16)
    assert black_box.queries == queries


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
    assert close(explainer.attribute(inputs, target), alone)


def test_the_target_is_the_class(method, black_box):
    inputs = pictures()
    explainer = MAKE[method](black_box)
    predicted = black_box(inputs).argmax(1)
    assert close(explainer.attribute(inputs), explainer.attribute(inputs, predicted))
    assert close(explainer.attribute(inputs, 2), explainer.attribute(inputs, torch.tensor([2, 2, 2])))
    differ = not torch.allclose(explainer.attribute(inputs, 0), explainer.attribute(inputs, 1), atol=1e-6)
    assert differ == (method not in BLIND)
    if method not in LOOKS_AT_NOTHING:
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


def fused(net):
    """The network, and a function after which it fails once its layers have run."""

    def blow():
        forward = net.forward

        def failing(x):
            forward(x)
            raise IndexError("blown")

        net.forward = failing

    return net, blow


@pytest.mark.parametrize(("asking", "net"), [case for case in CASES if case[0] not in LOOKS_AT_NOTHING])
def test_the_network_is_left_as_it_was_by_an_error(asking, net):
    fuse, blow = fused(NETS[net]())
    explainer = MAKE[asking](box(fuse))
    fuse.train()
    before = state(fuse)
    blow()
    with pytest.raises(IndexError, match="blown") as caught:  # held, and with it every frame of the traceback
        explainer.attribute(pictures(), 1)
    assert_same_state(before, state(fuse))
    del caught


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_within_a_validation_loop(method, black_box, mode):
    expected = MAKE[method](black_box).attribute(pictures())
    with mode(), torch.autocast("cpu", torch.bfloat16):
        assert close(MAKE[method](black_box).attribute(pictures().clone()), expected)


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
    if method == "dax" and isinstance(black_box.module, VisionTransformer):
        # Its maps have a scale of their own, and this untrained network's rounding (0.002) is as large as what the
        # perturbations change (standard deviation 0.002 to 0.003; of the CNN 0.0001 and 0.0014): no two are alike.
        assert maps.isfinite().all()
        return
    torch.testing.assert_close(maps, full, atol=0.02, rtol=0.02)


class Constant(nn.Module):
    """Always the same logits, in a network that the methods can look into."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 0 * self.net(x) + torch.tensor([0.3, 1.7, -0.4, 0.1])


@pytest.mark.parametrize("method", sorted(set(MAKE) - LOOKS_AT_NOTHING - INSIDE))
def test_of_a_box_that_always_answers_the_same_nothing_is_shown(method):
    """Not the rounding of sums, which every picture would show as if it were something."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some say so, too
        maps = MAKE[method](box(Constant(cnn()))).attribute(pictures(), 1).flatten(1)
    assert (maps == maps[:, :1]).all()


def test_inputs_are_not_changed(method, black_box):
    inputs = pictures()
    MAKE[method](black_box).attribute(inputs)
    assert torch.equal(inputs, pictures())


def test_queries_are_what_is_promised(method, black_box):
    explainer, inputs = MAKE[method](black_box), pictures()
    for target, more in ((1, 0), (None, 0 if method in LOOKS_AT_NOTHING else 1)):
        before = black_box.queries
        explainer.attribute(inputs, target)
        assert black_box.queries - before == len(inputs) * (QUERIES.get(method, 0) + more)


def test_an_empty_batch_gives_no_maps(method, black_box):
    explainer = MAKE[method](black_box)
    for target in (None, 1, torch.empty(0, dtype=torch.int64)):
        maps = explainer.attribute(pictures()[:0], target)
        assert (maps.shape, maps.dtype) == ((0, SIZE, SIZE), torch.float32)
    if hasattr(explainer, "attribute_features"):
        assert explainer.attribute_features(pictures()[:0], 1).shape == (0, 16)
