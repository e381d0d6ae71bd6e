import math

import pytest
import torch

import fex.nets.explainer as explainer_file
from fex.images import PatchGrid
from fex.nets import ExplainerNet, PyramidEncoder, ShapleyNet, UNetEncoder, ViTEncoder, rebuild

ENCODERS = {
    "vit": (lambda: ViTEncoder("conv_vit_tiny", model_args={"img_size": 32, "depth": 2}), 32, (8, 8)),
    "vit, coarser grid": (lambda: ViTEncoder("conv_vit_tiny", model_args={"img_size": 32, "depth": 2}), 32, (4, 4)),
    "vit, finer grid": (
        lambda: ViTEncoder("vit_tiny_patch16_224", model_args={"img_size": 64, "depth": 2}), 64, (8, 8),
    ),
    "vit without class token": (
        lambda: ViTEncoder("vit_tiny_patch16_224", model_args={
            "img_size": 64, "depth": 2, "class_token": False, "global_pool": "avg"}), 64, (4, 4),
    ),
    "pyramid": (lambda: PyramidEncoder("resnet10t", levels=(1, 2, 3), dim=32), 64, (7, 7)),
    "pyramid with classes": (
        lambda: PyramidEncoder("resnet10t", levels=(2, 3), dim=32, class_head=True, model_args={"num_classes": 5}), 64,
        (4, 4),
    ),
    "unet": (lambda: UNetEncoder("resnet18", depth=3, channels=(32, 16, 16)), 64, (8, 8)),
}  # fmt: skip


@pytest.fixture(params=ENCODERS)
def case(request):
    build, size, grid = ENCODERS[request.param]
    return ExplainerNet(build(), hidden=16, keep_rate=0.8, value_degree=2).build(5, PatchGrid(*grid)), size


def randomise(net):
    for parameter in (net.weight, net.level.weight, net.shared.weight, net.value_out.weight):
        torch.nn.init.normal_(parameter, std=0.3)


def test_starts_exactly_at_the_keep_rate_with_value_zero(case):
    net, size = case
    inputs, target = torch.rand(2, 3, size, size), torch.tensor([0, 4])
    logits, rates = net(inputs, target)
    if not getattr(net.encoder, "class_head", False):  # there levels and maps start from the backbone's classes
        assert logits.std(1).max() == 0
        assert torch.allclose(logits.sigmoid(), torch.full_like(logits, 0.8))
        assert torch.allclose(rates, torch.full_like(rates, math.log(0.8)), atol=1e-6)
    encoded = net.encode(inputs)
    assert torch.equal(net.value(encoded.trunk, target, torch.rand(2, 3)), torch.zeros(2, 3))


def test_shapes_and_classes_agree_with_each_other(case):
    net, size = case
    randomise(net)
    inputs = torch.rand(3, 3, size, size)
    encoded = net.encode(inputs)
    each = torch.stack([net.target_logits(encoded, torch.full((3,), c)) for c in range(5)], 1)  # (B, C, N)
    assert each.shape == (3, 5, net.features.num_features)
    expected = torch.nn.functional.logsigmoid(each).mean(2)
    assert torch.allclose(net.class_log_rates(encoded), expected, atol=1e-5)


def test_chunked_classes_have_the_same_rates_and_gradients(case, monkeypatch):
    net, size = case
    randomise(net)
    inputs = torch.rand(2, 3, size, size)
    results = []
    for chunk in (explainer_file.CHUNK, 2 * 2 * net.features.num_features):
        monkeypatch.setattr(explainer_file, "CHUNK", chunk)
        net.zero_grad()
        encoded = net.encode(inputs)
        rates = net.class_log_rates(encoded)
        rates[:, 3].sum().backward()
        results.append((rates.detach(), net.weight.grad.clone(), net.token[1].weight.grad.clone()))
    for whole, parts in zip(*results, strict=True):
        assert torch.allclose(whole, parts, atol=1e-6)


def test_gradients_reach_every_trainable_parameter(case):
    net, size = case
    randomise(net)
    encoded = net.encode(torch.rand(2, 3, size, size))
    target = torch.tensor([1, 2])
    loss = net.target_logits(encoded, target).square().mean() + net.value(encoded.trunk, target, torch.rand(2, 4)).sum()
    loss.backward()
    missing = [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []  # DDP refuses parameters without gradient


def test_rebuild_from_plain_data_gives_the_same_function(case):
    net, size = case
    randomise(net)
    other = rebuild(net.init_args, 5, net.features)
    other.load_state_dict(net.state_dict())
    inputs = torch.rand(2, 3, size, size)
    assert torch.equal(net(inputs)[0], other(inputs)[0])


def test_stays_in_evaluation_mode(case):
    net, size = case
    net.train()
    inputs, target = torch.rand(2, 3, size, size), torch.tensor([0, 1])
    assert torch.equal(net(inputs, target)[0], net(inputs, target)[0])
    assert not any(module.training for module in net.encoder.modules())


def test_value_is_a_polynomial_in_the_kept_share():
    net = ExplainerNet(ViTEncoder("conv_vit_tiny", model_args={"depth": 1}), hidden=8, value_degree=2)
    net.build(3, PatchGrid(8, 8))
    with torch.no_grad():
        net.value_out.bias.copy_(torch.tensor([0, 0, 0, 1.0, 2.0, 3.0, 0, 0, 0]))
    value = net.value(torch.zeros(1, 8), torch.tensor([1]), torch.tensor([[0.0, 0.5]]))
    assert value[0].tolist() == pytest.approx([1.0, 1 + 2 * 0.5 + 3 * 0.25])


def test_frozen_backbone_gets_no_gradient_and_the_heads_do():
    frozen = [
        ViTEncoder("conv_vit_tiny", model_args={"depth": 1}, frozen=True),
        PyramidEncoder("resnet10t", levels=(3, 4), dim=8, frozen=True),
    ]
    for encoder in frozen:
        assert not any(p.requires_grad for p in encoder.net.parameters())
        net = ExplainerNet(encoder, hidden=8).build(2, PatchGrid(4, 4))
        net(torch.rand(1, 3, 32, 32), torch.tensor([0]))[0].sum().backward()
        assert net.shared.weight.grad is not None


HEADS = {
    "vit": lambda **options: ViTEncoder("conv_vit_tiny", model_args={"depth": 1, "num_classes": 4}, **options),
    "pyramid": lambda **options: PyramidEncoder(
        "resnet10t", levels=(2, 3), dim=8, model_args={"num_classes": 4}, **options
    ),
}


@pytest.mark.parametrize("kind", HEADS)
def test_class_head_starts_the_levels_from_the_backbones_own_classes(kind):
    inputs = torch.rand(3, 3, 32, 32)
    encoder = HEADS[kind](class_head=True)
    torch.nn.init.normal_(encoder.net.get_classifier().weight, std=3.0)
    net = ExplainerNet(encoder, hidden=8).build(4, PatchGrid(4, 4))
    own = encoder.net((inputs - encoder.mean) / encoder.std).softmax(1)
    assert torch.equal(net(inputs)[1].argmax(1), own.argmax(1))
    plain = ExplainerNet(HEADS[kind](), hidden=8).build(4, PatchGrid(4, 4))
    assert torch.allclose(plain(inputs)[1].softmax(1), torch.full((3, 4), 0.25))
    assert not any(p.requires_grad for p in encoder.net.get_classifier().parameters())
    with pytest.raises(ValueError, match="classifies into 4 classes, the black box into 5"):
        ExplainerNet(HEADS[kind](class_head=True), hidden=8).build(5, PatchGrid(4, 4))


def test_maps_start_as_class_activation_maps():
    inputs = torch.rand(2, 3, 64, 64)
    encoder = HEADS["pyramid"](class_head=True)
    net = ExplainerNet(encoder, hidden=8, keep_rate=0.7).build(4, PatchGrid(2, 2))
    # Global average pooling and a linear layer: the logits are the mean of w_y . feature over the places, plus a bias.
    maps = encoder.net.forward_features((inputs - encoder.mean) / encoder.std)
    assert maps.shape[-2:] == (2, 2)
    activation = torch.einsum("bdhw,cd->bchw", maps, encoder.net.get_classifier().weight).flatten(2)
    expected = ExplainerNet.gate_start * (activation - activation.mean(2, keepdim=True))
    for target in range(4):
        logits = net(inputs, torch.full((2,), target))[0]
        assert torch.allclose(logits - logits.mean(1, keepdim=True), expected[:, target], atol=1e-5)


def test_maps_against_others_start_with_the_other_classes_evidence_taken_off():
    inputs, box = torch.rand(2, 3, 64, 64), HEADS["pyramid"]
    with pytest.raises(ValueError, match="set class_head: true"):
        box(against_others=True)
    encoder = box(class_head=True, against_others=True)
    torch.nn.init.normal_(encoder.net.get_classifier().weight, std=0.2)
    net = ExplainerNet(encoder, hidden=8).build(4, PatchGrid(2, 2)).eval()
    scaled = (inputs - encoder.mean) / encoder.std
    activation = encoder.net.forward_features(scaled).flatten(2).transpose(1, 2) @ encoder.class_weight.T  # (B, N, C)
    p = (encoder.net(scaled) / 2).softmax(1)
    for target in range(4):
        against = activation[..., target] - torch.einsum("bnc,bc->bn", activation, p)
        expected = ExplainerNet.gate_start * against / (1 - p.amax(1, keepdim=True)).clamp_min(0.1)
        found = net(inputs, torch.full((2,), target))[0]
        assert torch.allclose(
            found - found.mean(1, keepdim=True), expected - expected.mean(1, keepdim=True), rtol=1e-4, atol=1e-5
        )
    again = rebuild(net.init_args, 4, net.features).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(inputs)[0], net(inputs)[0])


def test_the_classifiers_evidence_at_a_token_is_that_token_pooled_alone():
    encoder = HEADS["vit"](class_head=True)
    tokens = torch.randn(2, 64, encoder.dim)
    local = encoder._alone(tokens)
    one = encoder.net.forward_head(tokens[:, 5:6].expand(-1, encoder.prefix + 64, -1))
    read = local[:, 5] @ encoder.class_weight.T + encoder.net.get_classifier().bias
    assert torch.allclose(read, one, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_a_network_with_class_evidence_is_rebuilt(kind):
    net = ExplainerNet(HEADS[kind](class_head=True), hidden=8).build(4, PatchGrid(4, 4))
    torch.nn.init.normal_(net.gate.weight)
    again = rebuild(net.init_args, 4, PatchGrid(4, 4))
    again.load_state_dict(net.state_dict())
    inputs = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(inputs)[0], net(inputs)[0])


def test_class_head_needs_a_linear_classifier():
    encoder = HEADS["pyramid"](class_head=True)
    encoder.net.fc = torch.nn.Sequential(encoder.net.fc)
    with pytest.raises(ValueError, match="ends in one linear layer, got Sequential"):
        _ = encoder.class_weight


def test_lora_trains_few_weights():
    pytest.importorskip("peft")
    net = ExplainerNet(ViTEncoder("conv_vit_tiny", lora_rank=4), hidden=8).build(2, PatchGrid(8, 8))
    trained = sum(p.numel() for p in net.encoder.parameters() if p.requires_grad)
    assert 0 < trained < 0.12 * sum(p.numel() for p in net.encoder.parameters())
    again = rebuild(net.init_args, 2, PatchGrid(8, 8))
    again.load_state_dict(net.state_dict())


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "conv_vit_tiny"])
def test_lora_adapts_the_linear_layers_of_the_blocks_and_nothing_else(model):
    pytest.importorskip("peft")
    net = ViTEncoder(model, model_args={"img_size": 32, "depth": 2}, lora_rank=2).net
    adapted = {name for name, part in net.named_modules() if hasattr(part, "lora_A")}
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert adapted == {f"blocks.{block}.{layer}" for block in (0, 1) for layer in layers}
    assert all("lora_" in name for name, parameter in net.named_parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ViTEncoder("resnet10t"), "PyramidEncoder"),
        (lambda: ViTEncoder("no_such_model"), "timm knows no model"),
        (lambda: UNetEncoder(depth=3, channels=(8, 8)), "one decoder width a stage"),
        (lambda: ExplainerNet(None, keep_rate=1.0), "strictly between 0 and 1"),
        (lambda: ExplainerNet(None, value_degree=-1), "value_degree"),
        (
            lambda: rebuild({"encoder": {"class_path": "os.system", "init_args": {}}}, 2, PatchGrid(1, 1)),
            "not written by this version",
        ),
        (
            lambda: rebuild(
                {"encoder": {"class_path": "fex.nets.ViTEncoder", "init_args": {"model": "hf-hub:a/b"}}},
                2,
                PatchGrid(1, 1),
            ),
            "asks for files or downloads",
        ),
        (
            lambda: rebuild(
                {"encoder": {"class_path": "fex.nets.ViTEncoder", "init_args": {"model": "x", "weights": "y"}}},
                2,
                PatchGrid(1, 1),
            ),
            "asks for files or downloads",
        ),
    ],
)
def test_errors_say_what_to_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("kind", [ExplainerNet, ShapleyNet])
@pytest.mark.parametrize("multi_label", [False, True])
def test_several_classes_at_once_get_what_each_gets_alone(kind, multi_label):
    net = kind(ENCODERS["pyramid with classes"][0](), hidden=16).build(5, PatchGrid(4, 4), multi_label=multi_label)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3) if parameter.requires_grad else None
    target = torch.tensor([[0, 4, 2], [1, 1, 3]])
    with torch.no_grad():
        encoded = net.encode(torch.rand(2, 3, 64, 64))
        alone = torch.stack([net.attribution(encoded, each) for each in target.unbind(1)], 1)
        torch.testing.assert_close(net.attribution(encoded, target), alone)
        assert alone.shape == (2, 3, 16)
        _, classes, probabilities = net.explain_classes(torch.rand(2, 3, 64, 64), torch.tensor([[-1, -5, 2]] * 2))
    assert classes[:, 0].equal(probabilities.argmax(1))
    assert classes[:, 1].equal(probabilities.argmin(1))
    assert classes[:, 2].tolist() == [2, 2]
