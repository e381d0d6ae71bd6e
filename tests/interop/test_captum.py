"""captum's methods as explainers, explainers as captum's attributions, its metrics and pictures."""

import captum.attr
import matplotlib
import pytest
import torch
from torch import nn

from fex.black_box import CallableBlackBox, TorchBlackBox
from fex.images import PatchGrid, Preprocess
from fex.interop import CaptumAttribution, CaptumMethod, captum_picture, captum_records
from tests.explainers.tiny import tiny_box, tiny_explainer

matplotlib.use("Agg")


class Weighted(nn.Module):
    """Logit of class 1 is a weighted sum of the pixels: what each method must find is known."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 16, 2, bias=False)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.weight[1, :8] = 0.05  # the upper half of red

    def forward(self, x):
        return self.linear(x.flatten(1))


def box():
    return TorchBlackBox(Weighted(), class_names=["a", "b"], preprocess=Preprocess(4, 4), mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.parametrize(
    ("method", "options", "features"),
    [
        ("Saliency", {}, None),
        ("InputXGradient", {}, None),
        ("DeepLift", {}, None),
        ("IntegratedGradients", {"n_steps": 4}, None),
        ("FeatureAblation", {}, PatchGrid(2, 2)),
        ("ShapleyValueSampling", {"n_samples": 3}, PatchGrid(2, 2)),
        ("KernelShap", {"n_samples": 30}, PatchGrid(2, 2)),
        ("Occlusion", {"sliding_window_shapes": (3, 2, 2), "strides": (3, 2, 2)}, None),
    ],
)
def test_a_method_of_captum_is_an_explainer(method, options, features):
    found = CaptumMethod(box(), method, features, options=options).attribute(torch.rand(3, 3, 4, 4) + 0.0, "b")
    assert (found.shape, found.dtype) == ((3, 4, 4), torch.float32)
    above, below = found[:, :2].abs().mean((1, 2)), found[:, 2:].abs().mean((1, 2))
    assert bool((above > 4 * below).all())


def test_it_is_what_captum_itself_gives():
    inputs = torch.rand(2, 3, 4, 4)
    direct = captum.attr.IntegratedGradients(lambda x: Weighted()(x).softmax(1))
    expected = direct.attribute(inputs, target=1, n_steps=8).sum(1).float()
    found = CaptumMethod(box(), "IntegratedGradients", options={"n_steps": 8}).attribute(inputs, 1)
    torch.testing.assert_close(found, expected)


def test_what_captum_cannot_do_is_told():
    with pytest.raises(ValueError, match=r"captum has no method 'GradCam'"):
        CaptumMethod(box(), "GradCam")
    asked = CallableBlackBox(lambda x: torch.ones(len(x), 2) / 2, num_classes=2, preprocess=Preprocess(4, 4))
    with pytest.raises(TypeError, match=r"can only be queried"):
        CaptumMethod(asked, "Saliency")
    assert CaptumMethod(asked, "FeatureAblation", PatchGrid(2, 2)).attribute(torch.rand(1, 3, 4, 4)).abs().max() == 0


def test_an_explainer_is_an_attribution_of_captum():
    explainer, inputs = tiny_explainer(), torch.rand(2, 3, 16, 16)
    adapted = CaptumAttribution(explainer)
    assert isinstance(adapted, captum.attr.Attribution)
    found = adapted.attribute(inputs, target=2)
    assert found.shape == inputs.shape
    assert found[:, 1].equal(explainer.attribute(inputs, 2))
    noisy = captum.attr.NoiseTunnel(adapted).attribute(inputs, nt_samples=2, stdevs=0.0, target=2)
    torch.testing.assert_close(noisy, found)
    from captum.metrics import infidelity

    score = infidelity(
        CaptumAttribution(explainer, tiny_box()).forward_func,
        lambda x, _=None: (x * 0.1, x * 0.9),
        inputs,
        found,
        target=2,
    )
    assert bool(score.isfinite().all())
    with pytest.raises(ValueError, match="give `forward_func`"):
        CaptumAttribution(object())


def test_what_leads_out_of_the_range_of_pixels_is_cut():
    from captum.metrics import infidelity, sensitivity_max

    explainer, inputs = tiny_explainer(), torch.rand(2, 3, 16, 16)
    inputs[:, :, :8] = 0  # any noise leads out
    adapted = CaptumAttribution(explainer, tiny_box())
    noisy = captum.attr.NoiseTunnel(adapted).attribute(inputs, nt_samples=2, stdevs=0.1, target=torch.tensor([1, 2]))
    assert noisy.shape == inputs.shape
    assert bool(sensitivity_max(adapted.attribute, inputs, target=1, n_perturb_samples=2).isfinite().all())

    def perturbed(x, _=None):
        noise = torch.randn_like(x) * 0.1
        return noise, x - noise

    found = adapted.attribute((inputs,), target=1)
    assert isinstance(found, tuple)
    assert bool(infidelity(adapted.forward_func, perturbed, inputs, found, target=1).isfinite().all())
    with pytest.raises(ValueError, match="2 inputs, expected one"):
        adapted.attribute((inputs, inputs))
    with pytest.warns(UserWarning, match="normalised already"):
        assert adapted.attribute(inputs * 4 - 2, 1).equal(adapted.attribute((inputs * 4 - 2).clamp(0, 1), 1))


def test_its_pictures_show_explanations():
    found = tiny_explainer().explain(torch.rand(3, 16, 16))[0]
    figure = captum_picture(found)
    assert figure.axes[0].images[-1].get_array().shape[:2] == (16, 16)
    from fex.explanations import TextExplanation

    words = ["good", "film"]
    text = TextExplanation(
        words, torch.tensor([0.9, 0.3]), [(0, 4), (0, 4)], [0, 1], [0, 0], 0, 1, target=0, target_name="yes",
        probability=0.8, probability_of="explainer", method="FEX", removal="mask", black_box="toy",
    )  # fmt: skip
    [record] = captum_records([text])
    assert record.raw_input_ids == words
    assert record.word_attributions == pytest.approx([1.0, 1 / 3])
    assert (record.pred_prob, record.attr_class) == (0.8, "yes")
