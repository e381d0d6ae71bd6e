"""Every family of timm: as an encoder, and under the methods that look inside.

Tiny random networks: what is tested is what lies where. A change of the upper right quadrant, which no transposition or
flip leaves in its place, must change the tokens there most. That can be asked only of a network that has places:
`place_by_place` makes one of it.
"""

import pytest
import timm
import torch
from packaging.version import Version
from torch import nn

from fex.baselines import AttLRP, GradCAM, IntegratedGradients
from fex.black_box import TorchBlackBox
from fex.images import PatchGrid, Preprocess
from fex.nets import ExplainerNet, PyramidEncoder, ViTEncoder

SMALL = {"img_size": 64, "embed_dim": 32, "depth": 3, "num_heads": 2}
SWIN = {"img_size": 64, "embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
VITS = {
    "vit_tiny_patch16_224": SMALL,
    "vit_little_patch16_reg4_gap_256": SMALL,
    "vit_base_patch16_siglip_224": SMALL,
    "deit_tiny_patch16_224": SMALL,
    "deit_tiny_distilled_patch16_224": SMALL,
    "deit3_small_patch16_224": SMALL,
    "cait_xxs24_224": SMALL,
    "xcit_nano_12_p16_224": SMALL,
    "beit_base_patch16_224": SMALL,
    "eva02_tiny_patch14_224": {**SMALL, "img_size": 56},
    "vit_base_patch16_rope_reg1_gap_256": SMALL,
    "vit_small_patch16_dinov3": SMALL,
}
OTHERS = {
    "swin_tiny_patch4_window7_224": {**SWIN, "window_size": 4},
    "swinv2_tiny_window8_256": {**SWIN, "window_size": 4},
    "swinv2_cr_tiny_224": {**SWIN, "window_size": 2},
    "coat_lite_tiny": {"img_size": 64, "embed_dims": (8, 16, 16, 16), "serial_depths": (1, 1, 1, 1)},
    "pvt_v2_b0": {"depths": (1, 1, 1, 1)},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)},
    "resnet10t": {},
    "resnetv2_50": {"layers": (1, 1, 1, 1), "channels": (16, 16, 32, 32)},
    "tf_efficientnet_lite0": {},
    "mobilenetv2_035": {},
    "mobilenetv3_small_050": {},
    "regnetx_002": {},
    "densenet121": {"growth_rate": 8, "block_config": (1, 1, 1, 1)},
    "gmlp_ti16_224": {"img_size": 64},
    "mobilevit_xxs": {},
    "lcnet_035": {},
    "efficientvit_b0": {},
    "edgenext_xx_small": {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 16)},
    "tiny_vit_5m_224": {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 16, 32), "num_heads": (1, 2, 2, 4)},
    "poolformer_s12": {},
}
SLOW = {  # large, or of one size alone
    "vgg11": {},
    "inception_v3": {},
    "levit_128s": {},
    "convmixer_768_32": {},
    "maxvit_pico_rw_256": {"img_size": 64},
    "mixer_s32_224": {"img_size": 64},
    "resmlp_12_224": {"img_size": 64},
    "resnext50_32x4d": {"layers": (1, 1, 1, 1)},
    "repvgg_a0": {},
    "ghostnet_050": {},
}
NO_CLASS_HEAD = {"deit_tiny_distilled_patch16_224", "resnetv2_50", "coat_lite_tiny", "levit_128s"}
NO_LAYER = {"levit_128s"}  # blocks without a norm: GradCAM asks for a layer
SIZES = {"eva02_tiny_patch14_224": 56, "inception_v3": 128, "mobilenetv3_small_050": 128, "levit_128s": 224}
READABLE = {
    "vit_tiny_patch16_224",
    "vit_little_patch16_reg4_gap_256",
    "deit_tiny_patch16_224",
    "deit3_small_patch16_224",
}
# What these keep of their places, timm tells since 1.0.31; before, they are refused in a sentence.
SINCE = {"cait_xxs24_224", "xcit_nano_12_p16_224", "coat_lite_tiny", "densenet121"}
OLD = Version(timm.__version__) < Version("1.0.31")
ALL = VITS | OTHERS | SLOW


def families(names):
    old = pytest.mark.xfail(OLD, reason="timm < 1.0.31", raises=(ValueError, AssertionError), strict=False)
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW) + [old] * (name in SINCE)) for name in names]


def pictures(name):
    """A picture, and the same with another upper right quadrant."""
    size = SIZES.get(name, 64)
    inputs = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    inputs[1] = inputs[0]
    inputs[1, :, : size // 2, size // 2 :] = 1 - inputs[1, :, : size // 2, size // 2 :]
    return inputs


def quadrant(values):
    """Which of the four quadrants (0, 1 above; 2, 3 below) of maps (2, D, h, w) differs most between the two."""
    change = (values[1] - values[0]).square().sum(0).sqrt()
    return int(torch.nn.functional.adaptive_avg_pool2d(change[None], 2).argmax())


@torch.no_grad()
def place_by_place(net, run):
    """Each place of a convolution reads its own centre alone, and `run` sets the statistics of the batch norms.

    Else a small picture is all in the receptive field of each place, and what the norms of random weights leave of the
    picture is rounding.
    """
    for part in net.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size[0] % 2 and part.kernel_size[0] > part.stride[0]:
            row, column = (side // 2 for side in part.kernel_size)
            centre = part.weight[..., row, column].clone()
            part.weight.zero_()[..., row, column] = centre
        if type(part).__name__ == "LiteMLA":  # EfficientViT's attention: alike at all places, as large as the rest
            part.proj.norm.weight.mul_(0.1)
    norms = [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train().momentum = 1.0
    run()
    for norm in norms:
        norm.eval()


def check(kind, name, class_head):
    torch.manual_seed(0)
    encoder = kind(name, model_args={**ALL[name], "num_classes": 3}, class_head=class_head)
    place_by_place(encoder, lambda: encoder(pictures(name), (4, 4)))
    net = ExplainerNet(encoder, hidden=8, value_degree=1).build(3, PatchGrid(4, 4))
    for parameter in (net.weight, net.level.weight, net.shared.weight, net.value_out.weight):
        torch.nn.init.normal_(parameter, std=0.3)
    inputs, target = pictures(name), torch.tensor([0, 1])
    found = encoder(inputs, (4, 4))
    assert (found.tokens.shape, found.pooled.shape) == ((2, 16, encoder.dim), (2, encoder.dim))
    assert quadrant(found.tokens.transpose(1, 2).unflatten(2, (4, 4)).detach()) == 1
    if class_head:
        assert quadrant(found.local.transpose(1, 2).unflatten(2, (4, 4)).detach()) == 1
        logits = encoder.net((inputs - encoder.mean) / encoder.std)
        torch.testing.assert_close(found.classes, logits, atol=1e-4, rtol=1e-3)
        assert (found.local @ encoder.class_weight.T).shape == (2, 16, 3)
    encoded = net.encode(inputs)
    value = net.value(encoded.trunk, target, torch.rand(2, 4)).sum()
    (net.target_logits(encoded, target).square().mean() + value + net.class_log_rates(encoded).sum()).backward()
    unused = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []  # DDP refuses them


@pytest.mark.parametrize("class_head", [False, True])
@pytest.mark.parametrize("name", families(VITS))
def test_as_vit_encoder(name, class_head):
    if class_head and name in NO_CLASS_HEAD:
        with pytest.raises(ValueError, match="set class_head: false"):
            check(ViTEncoder, name, class_head)
        return
    check(ViTEncoder, name, class_head)


@pytest.mark.parametrize("class_head", [False, True])
@pytest.mark.parametrize("name", families(ALL))
def test_as_pyramid_encoder(name, class_head):
    if class_head and name in NO_CLASS_HEAD:
        with pytest.raises(ValueError, match="set class_head: false"):
            check(PyramidEncoder, name, class_head)
        return
    check(PyramidEncoder, name, class_head)


@pytest.mark.parametrize("name", families({**OTHERS, **SLOW}))
def test_networks_without_patch_tokens_are_refused_by_vit_encoder(name):
    with pytest.raises(ValueError, match="fex.nets.PyramidEncoder"):
        ViTEncoder(name, model_args=ALL[name])


@pytest.mark.parametrize("name", families(ALL))
def test_inside_methods_see_places_where_they_are(name):
    torch.manual_seed(0)
    inputs, grid = pictures(name), PatchGrid(4, 4)
    net = timm.create_model(name, num_classes=3, **ALL[name]).eval()
    place_by_place(net, lambda: net(inputs))
    black_box = TorchBlackBox(net, num_classes=3, preprocess=Preprocess(inputs.shape[-2], inputs.shape[-1]))
    if name in NO_LAYER:
        with pytest.raises(ValueError, match="set `target_layer`"):
            GradCAM(black_box, grid)
        return
    cam = GradCAM(black_box, grid)
    activations, gradient = cam._seen(inputs, torch.tensor([1, 1]))
    assert activations.shape == gradient.shape
    assert min(activations.shape[2:]) > 1
    assert quadrant(activations) == 1
    assert cam.attribute(inputs, 1).shape == (2, *inputs.shape[-2:])
    assert IntegratedGradients(black_box, steps=2).attribute(inputs, 1).isfinite().all()
    if name in READABLE:
        assert AttLRP(black_box, grid).attribute(inputs, 1).isfinite().all()
    else:
        with pytest.raises(ValueError, match="Use GradCAM"):
            AttLRP(black_box, grid).attribute(inputs, 1)
