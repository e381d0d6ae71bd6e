import pytest
import timm
import torch
from torch import nn

from fex.baselines import GradCAM, GradCAMPlusPlus, GuidedGradCAM
from fex.baselines.layer import to_map, token_grid
from fex.benchmark.attribute import attributions
from fex.black_box import TorchBlackBox
from fex.images import PatchGrid, Preprocess
from tests.baselines.nets import box, cnn, pictures, vit
from tests.toys import PatchBox

GRID = PatchGrid(4, 4)


def scaled(cam):
    """ReLU and each map's own range."""
    cam = cam.clamp_min(0).flatten(1)
    low, high = cam.amin(1, keepdim=True), cam.amax(1, keepdim=True)
    return (cam - low) / (high - low).clamp_min(1e-12)


def normalised(black_box, inputs):
    mean, std = torch.tensor(black_box.mean), torch.tensor(black_box.std)
    return (inputs - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def test_a_cnn_with_one_linear_layer_has_the_known_map():
    # logit_y = sum_d W_yd mean(A_d), so the weights are W_y up to a constant.
    net = cnn().eval()
    black_box, inputs, target = box(net), pictures(), torch.tensor([0, 3, 2])
    cam = GradCAM(black_box, GRID)
    assert cam.target_layer == "5"
    activations = net[:6](normalised(black_box, inputs))
    expected = scaled(torch.einsum("bd,bdhw->bhw", net[8].weight[target], activations))
    torch.testing.assert_close(cam._maps(inputs, target).flatten(1), expected.detach(), atol=1e-4, rtol=1e-4)


def test_plus_plus_weighs_each_location_by_its_own_factor():
    # Here every location has the gradient W_yd / 16, so that eq. 19's factor is the same at all: g^2 / (2 g^2 + S g^3).
    net = cnn().eval()
    black_box, inputs, target = box(net), pictures(), torch.tensor([0, 3, 2])
    activations = net[:6](normalised(black_box, inputs)).detach()
    slope = (net[8].weight[target] / 16).detach()
    factor = slope**2 / (2 * slope**2 + activations.sum((2, 3)) * slope**3)
    weights = 16 * factor * slope.clamp_min(0)
    expected = scaled(torch.einsum("bd,bdhw->bhw", weights, activations))
    found = GradCAMPlusPlus(black_box, GRID)._maps(inputs, target).flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(found, GradCAM(black_box, GRID)._maps(inputs, target).flatten(1), atol=1e-3)


def test_plus_plus_is_that_of_eq_19_however_small_the_gradients():
    """Where S g is small its factors are all 1/2, and the map is GradCAM's of the positive weights."""
    net = cnn().eval()
    net[8].weight.data.mul_(1e-3)
    black_box, inputs, target = box(net), pictures(), torch.tensor([0, 3, 2])
    activations = net[:6](normalised(black_box, inputs)).detach()
    expected = scaled(torch.einsum("bd,bdhw->bhw", net[8].weight[target].detach().clamp_min(0), activations))
    found = GradCAMPlusPlus(black_box, GRID)._maps(inputs, target).flatten(1)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


def test_protocols_get_the_networks_own_map_whatever_grid_they_remove():
    black_box, inputs, target = box(cnn().eval()), pictures(), torch.tensor([0, 3, 2])
    native = GradCAM(black_box, GRID).attribute(inputs, target)
    for features in (GRID, PatchGrid(8, 8), PatchGrid(2, 2)):
        scores, maps = attributions(GradCAM(black_box, features), inputs, target, features)
        torch.testing.assert_close(maps, native)
        torch.testing.assert_close(scores, features.pool(native))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layer", [nn.ReLU, nn.ReLU6])  # nothing here exceeds 6
def test_guided_gradcam_is_the_guided_gradient_on_the_map(layer, inplace):
    net = cnn().eval()
    net[2], net[5] = layer(inplace=inplace), layer(inplace=inplace)
    black_box, inputs = box(net), pictures()
    # By hand: forward, then back through convolutions and batch norm, cutting negative gradients at both ReLUs.
    leaf = inputs.clone().requires_grad_()
    first = net[1](net[0](normalised(black_box, leaf)))
    second = net[4](first.detach().relu().requires_grad_())
    slope = (net[8].weight[2] / 16)[None, :, None, None].expand_as(second).clamp_min(0) * (second > 0)
    back = torch.nn.functional.conv_transpose2d(slope, net[4].weight, stride=2, padding=1, output_padding=1)
    (guided,) = torch.autograd.grad(first, leaf, back.clamp_min(0) * (first > 0))
    expected = guided.sum(1) * GradCAM(black_box, GRID).attribute(inputs, 2)
    found = GuidedGradCAM(black_box).attribute(inputs, 2)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=1e-3)
    assert not any(part._forward_pre_hooks for part in net.modules())


def test_guided_gradcam_needs_relu_layers():
    net = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=4, depth=1, num_classes=4)
    with pytest.raises(ValueError, match="VisionTransformer has none: use GradCAM"):
        GuidedGradCAM(box(net))


@pytest.mark.parametrize("options", [{}, {"global_pool": "avg", "class_token": False}, {"reg_tokens": 3}])
def test_a_vit_is_read_at_the_last_norm_without_its_prefix_tokens(options):
    net = vit(**options).eval()
    black_box, inputs = box(net), pictures()
    cam = GradCAM(black_box, GRID)
    assert cam.target_layer == "blocks.1.norm1"

    # The same by hand: up to the norm, from there on, and back by autograd.
    tokens = net.blocks[0](net.norm_pre(net._pos_embed(net.patch_embed(normalised(black_box, inputs)))))
    block = net.blocks[1]
    seen = block.norm1(tokens).detach().requires_grad_()
    after = tokens.detach() + block.attn(seen)
    logits = net.forward_head(net.norm(after + block.mlp(block.norm2(after))))
    (slope,) = torch.autograd.grad(logits[:, 2].sum(), seen)
    prefix = seen.shape[1] - 16
    weights = slope[:, prefix:].mean(1, keepdim=True)
    expected = scaled((weights * seen[:, prefix:]).sum(2).detach())
    torch.testing.assert_close(cam._maps(inputs, 2).flatten(1), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("model", "size", "layer", "grid"),
    [
        ("tf_efficientnet_lite0", (64, 64), "bn2", (2, 2)),
        ("resnet18", (64, 96), "layer4", (2, 3)),
        ("convnext_atto", (64, 64), "norm_pre", (2, 2)),
        ("deit_tiny_distilled_patch16_224", (64, 96), "blocks.11.norm1", (4, 6)),
        ("coatnet_nano_rw_224", (224, 224), "norm", (7, 7)),
    ],
)
def test_layer_and_grid_are_found(model, size, layer, grid):
    options = {"img_size": size} if "deit" in model else {}
    net = timm.create_model(model, num_classes=3, **options).eval()
    black_box = TorchBlackBox(net, num_classes=3, preprocess=Preprocess(*size))
    cam = GradCAM(black_box, PatchGrid(2, 2))
    assert cam.target_layer == layer
    maps = cam._maps(torch.rand(1, 3, *size), 1)
    assert maps.shape == (1, *grid)
    assert maps.isfinite().all()


def test_channels_last_feature_maps_are_turned():
    net = timm.create_model(
        "swin_tiny_patch4_window7_224", depths=(1, 1), embed_dim=12, num_heads=(1, 2), num_classes=3
    )
    black_box = TorchBlackBox(net.eval(), num_classes=3)
    cam = GradCAM(black_box, PatchGrid(28, 28))
    assert cam.target_layer == "norm"
    inputs = torch.rand(1, 3, 224, 224)
    features = net.forward_features(normalised(black_box, inputs))  # (B, h, w, D), meaned and mapped by one layer
    expected = scaled(torch.einsum("d,bhwd->bhw", net.head.fc.weight[1], features))
    torch.testing.assert_close(cam._maps(inputs, 1).flatten(1), expected.detach(), atol=1e-3, rtol=1e-3)


def test_a_coarser_map_is_bilinear_and_pooled():
    black_box, inputs = box(cnn()), pictures()
    native = GradCAM(black_box, GRID)._maps(inputs, 1).flatten(1)
    cam = GradCAM(black_box, PatchGrid(8, 8))
    expected = GRID.smooth(native, (16, 16))
    torch.testing.assert_close(cam.attribute(inputs, 1), expected)
    torch.testing.assert_close(cam.attribute_features(inputs, 1), PatchGrid(8, 8).pool(expected))


def test_a_named_layer_is_used():
    black_box, inputs = box(cnn()), pictures()
    cam = GradCAM(black_box, GRID, target_layer="2")
    assert cam._maps(inputs, 1).shape == (3, 8, 8)


def test_the_users_gradients_survive():
    net = cnn()
    net[8].weight.grad = torch.full_like(net[8].weight, 7.0)
    GradCAM(box(net), GRID).attribute(pictures(), 1)
    assert (net[8].weight.grad == 7).all()
    assert net[0].weight.grad is None


def test_parts_change_nothing():
    black_box, inputs = box(vit()), pictures(5)
    whole = GradCAM(black_box, GRID).attribute(inputs, 1)
    torch.testing.assert_close(
        GradCAM(black_box, GRID, internal_batch_size=2).attribute(inputs, 1), whole, atol=1e-4, rtol=1e-4
    )


def test_a_vit_of_transformers_needs_nothing_named():
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=4
    )
    config.num_labels = 4
    cam = GradCAM(box(ViTForImageClassification(config)), GRID)
    assert cam.target_layer.endswith(".1.layernorm_before")
    assert cam._maps(pictures(), 1).shape == (3, 4, 4)


class Odd(nn.Module):
    """A transformer of a kind nobody knows: tokens, and no norm by a known name."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.mix(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


def test_an_unknown_transformer_is_refused_until_a_layer_is_named():
    with pytest.raises(ValueError, match="found no feature map in Odd: set `target_layer`"):
        GradCAM(box(Odd()), GRID)
    assert GradCAM(box(Odd()), GRID, target_layer="mix").attribute_features(pictures(), 1).shape == (3, 16)


class OneNorm(nn.Module):
    """Blocks of one norm each, with or without a class token that alone is read."""

    def __init__(self, prefix):
        super().__init__()
        self.embed, self.head, self.prefix = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 4), prefix
        self.blocks = nn.ModuleList(nn.ModuleDict({"norm": nn.LayerNorm(8)}) for _ in range(2))

    def forward(self, x):
        tokens = nn.functional.pad(self.embed(x).flatten(2).transpose(1, 2), (0, 0, self.prefix, 0))
        for block in self.blocks:
            tokens = tokens + block["norm"](tokens)
        return self.head(tokens[:, 0] if self.prefix else tokens.mean(1))


def test_blocks_of_one_norm_are_known_only_without_a_class_token():
    cam = GradCAM(box(OneNorm(0)), GRID)
    assert (cam.target_layer, cam.attribute_features(pictures(), 1).shape) == ("blocks.1.norm", (3, 16))
    with pytest.raises(ValueError, match="found no feature map in OneNorm: set `target_layer`"):
        GradCAM(box(OneNorm(1)), GRID)


@pytest.mark.parametrize(
    ("tokens", "size", "prefixes", "expected"),
    [
        (197, (224, 224), (1,), (1, 14, 14)),
        (201, (224, 224), (5, 1, 0), (5, 14, 14)),
        (24, (64, 96), (0,), (0, 4, 6)),
        (65, (32, 32), (0, 1), (1, 8, 8)),
        (1 + 15, (48, 80), (1,), (1, 3, 5)),
    ],
)
def test_token_grids(tokens, size, prefixes, expected):
    assert token_grid(tokens, size, prefixes) == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GradCAM(PatchBox(GRID, 0), GRID), TypeError, "can only be queried"),
        (
            lambda: GradCAM(box(cnn()), GRID, target_layer="nine"),
            ValueError,
            "has no layer 'nine'; its last ones are",
        ),
        (lambda: GradCAM(box(cnn()), GRID, internal_batch_size=0), ValueError, "must be at least 1, got 0"),
        (
            lambda: token_grid(7, (32, 32), (1, 0)),
            ValueError,
            r"7 tokens are no grid over 32 x 32 .* \[1, 0\]",
        ),
        (
            lambda: GradCAM(box(cnn()), GRID, target_layer="8").attribute(pictures(), 1),
            ValueError,
            r"layer returned shape \(3, 4\), expected a feature map",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_maps_keep_their_order_of_axes():
    values = torch.arange(2.0 * 5 * 3).view(2, 5, 3)
    got = to_map(values, (8, 8), nn.Identity())
    assert got.shape == (2, 3, 2, 2)
    torch.testing.assert_close(got[:, :, 1, 0], values[:, 3])


def test_inputs_of_other_precision_are_taken_as_by_the_box():
    black_box, inputs = box(cnn()), pictures()
    cam = GradCAM(black_box, GRID)
    torch.testing.assert_close(cam.attribute(inputs.double(), 1), cam.attribute(inputs, 1))


@pytest.mark.parametrize("inplace", [False, True])
def test_activations_are_those_of_the_layer_whatever_follows_in_place(inplace):
    torch.manual_seed(0)
    net = cnn()
    net[5] = nn.ReLU(inplace=inplace)
    black_box, inputs, target = box(net), pictures(), torch.tensor([0, 3, 2])
    net[4].bias.data -= 0.2  # so that some activations are negative
    activations = net[:5](normalised(black_box, inputs))
    gradient = (activations > 0) * net[8].weight[target][:, :, None, None] / 16
    expected = scaled((gradient.mean((2, 3), keepdim=True) * activations).sum(1))
    found = GradCAM(black_box, GRID, target_layer="4")._maps(inputs, target).flatten(1)
    assert (activations < 0).any()
    torch.testing.assert_close(found, expected.detach(), atol=1e-4, rtol=1e-4)


class Shared(nn.Module):
    """One ReLU and one pooling for the whole network, its classifier's included: maps of 32, 16, 8 cells, 6 logits."""

    def __init__(self, shared):
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 6, 3, 1, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.Linear(6, 5)
        self.last = nn.Linear(5, 4)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.relus = [self.relu] * 3 if shared else nn.ModuleList([self.relu, nn.ReLU(), nn.ReLU()])
        self.pools = [self.pool] * 2 if shared else nn.ModuleList([self.pool, nn.MaxPool2d(2)])

    def forward(self, x):
        for conv, relu, pool in zip((self.one, self.two), self.relus, self.pools, strict=False):
            x = pool(relu(conv(x)))
        return self.last(self.relus[2](self.three(x.mean((2, 3)))))


@pytest.fixture
def twins():
    """Two networks of the same function: in one, modules run twice or three times."""
    torch.manual_seed(0)
    shared, apart = Shared(shared=True), Shared(shared=False)
    apart.load_state_dict(shared.state_dict())
    return [box(net, preprocess=Preprocess(32, 32)) for net in (shared, apart)]


@pytest.mark.parametrize("method", [GradCAM, GradCAMPlusPlus])
def test_a_module_that_runs_twice_is_read_where_its_last_map_is(twins, method):
    inputs = pictures(size=32)
    cams = [method(black_box, GRID) for black_box in twins]
    assert [(cam.target_layer, cam.call) for cam in cams] == [("pool", 1), ("pools.1", 0)]
    maps = [cam._maps(inputs, 1) for cam in cams]
    assert maps[0].shape == (3, 8, 8)
    torch.testing.assert_close(*maps)
    # The last run of the ReLU gives no map: the one before it does.
    relus = [
        method(black_box, GRID, target_layer=name) for black_box, name in zip(twins, ("relu", "relus.1"), strict=True)
    ]
    assert relus[0].call == 1
    torch.testing.assert_close(*(cam._maps(inputs, 1) for cam in relus))


def test_guided_backpropagation_guides_every_run_of_a_module(twins):
    shared, apart = (GuidedGradCAM(black_box).attribute(pictures(size=32), 1) for black_box in twins)
    assert apart.abs().max() > 0
    torch.testing.assert_close(shared, apart)


def test_a_layer_that_the_logits_do_not_depend_on_is_refused():
    net = Odd()
    net.add_module("aside", nn.Conv2d(3, 2, 1))
    net.register_forward_pre_hook(lambda module, args: (module.aside(args[0]), args)[1])
    with pytest.raises(ValueError, match="No gradient reaches layer 'aside' of Odd: set `target_layer`"):
        GradCAM(box(net), GRID, target_layer="aside").attribute(pictures(), 1)
