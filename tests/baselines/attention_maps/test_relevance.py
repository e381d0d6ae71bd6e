import copy
import math

import pytest
import timm
import torch
from torch import nn

from fex.baselines import AttLRP
from fex.baselines.attention_maps import (
    Head,
    Layer,
    Transformer,
    attention_rollout,
    first_input,
    head_relevance,
    layer_relevance,
    read_transformer,
    relevance_rollout,
    rules,
    run_head,
    run_layer,
)
from fex.baselines.attention_maps.layers import Affine
from fex.images import PatchGrid
from tests.baselines.nets import box, cnn, pictures, vit

EYE = torch.eye(2)


class TwoTokens(nn.Module):
    """One layer over the tokens (1, 0) and (0, 1): attention (3/4, 1/4), identity values, no perceptron."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Identity()

    def forward(self):
        attention = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
        return (self.entry(EYE[None])[0] + attention)[:1]


def two_tokens(net):
    own, query = Affine(EYE, None), Affine(EYE * math.log(3) * 2**0.5, None)
    nothing = Affine(torch.zeros(2, 2), None)
    layer = Layer(
        query, own, own, own, nothing, nothing, heads=1, norm1=nn.Identity(), norm2=nn.Identity(),
        activation=nn.Identity(), norm_first=True,
    )  # fmt: skip
    return Transformer(net.entry, (layer,), Head(nn.Identity(), "first", 0, (own,)))


def test_two_tokens_by_hand():
    """The first token's output is (7/4, 1/4).

    Class 0 reads 7/4, of which 3/4 came by attention to itself: 3/7 of the relevance, half of it to the attention, so
    3/14; the gradient there is 1 (the value), so 1 + 3/14 for the token itself and 0 for the other. Class 1 reads 1/4,
    all of it by attention to the second token: 1/2 goes to the attention, the gradient is 1: (1, 1/2).
    """
    net = TwoTokens()
    expected = {0: [17 / 14, 0.0], 1: [1.0, 0.5]}
    for target, values in expected.items():
        found = relevance_rollout(two_tokens(net), net, torch.tensor([target]))
        torch.testing.assert_close(found, torch.tensor([values]))


def test_two_tokens_rolled_out_by_hand():
    net = TwoTokens()
    torch.testing.assert_close(attention_rollout(two_tokens(net), net), torch.tensor([[0.875, 0.125]]))


def hub_vit():
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=4,
        num_labels=4,
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


def bert(kind):
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=20, num_labels=4,
    )  # fmt: skip
    return getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()


def pixels():
    return torch.rand(3, 3, 16, 16)


def timm_case(**options):
    net, inputs = vit(**options).eval(), pixels()
    return net, (lambda: net(inputs)), None, {}


def plain_timm_case():
    """Biases, layer scale, normed queries, registers, mean pooling with its own norm."""
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=4,
        init_values=0.5, qk_norm=True, reg_tokens=2, global_pool="avg",
    ).eval()  # fmt: skip
    inputs = pixels()
    return net, (lambda: net(inputs)), None, {}


def hub_case():
    net, inputs = hub_vit(), pixels()
    return net, (lambda: net(pixel_values=inputs).logits), None, {"pixel_values": inputs}


def bert_case(kind):
    net = bert(kind)
    tokens = torch.randint(3, 30, (3, 7))
    mask = torch.ones(3, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    bias = torch.zeros(3, 1, 1, 7).masked_fill(mask[:, None, None] == 0, torch.finfo(torch.float32).min)
    arguments = {"input_ids": tokens, "attention_mask": mask}
    return net, (lambda: net(**arguments).logits), bias, arguments


CASES = {
    "conv_vit_tiny": timm_case,
    "conv_vit_tiny, mean": lambda: timm_case(global_pool="avg", class_token=False),
    "timm vit": plain_timm_case,
    "hub vit": hub_case,
    "bert": lambda: bert_case("Bert"),
    "roberta": lambda: bert_case("Roberta"),
}


@pytest.fixture(params=CASES)
def case(request):
    net, run, bias, arguments = CASES[request.param]()
    for parameter in net.parameters():  # away from the small start, where every token looks alike
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5)
    return net, run, bias, arguments


def test_relevance_is_conserved_layer_by_layer(case):
    net, run, bias, _ = case
    found = read_transformer(net)
    tokens, logits = first_input(found.entry, run)
    tapes = []
    with torch.no_grad():
        for layer in found.layers:
            tapes.append(run_layer(layer, tapes[-1].outputs if tapes else tokens, bias))
        own, stages = run_head(found.head, tapes[-1].outputs)
        torch.testing.assert_close(own, logits, atol=1e-4, rtol=1e-3)
        relevance = head_relevance(found.head, tapes[-1].outputs, stages, torch.eye(4)[[0, 3, 1]])
        # But for what is absorbed where terms cancel.
        torch.testing.assert_close(relevance.sum((1, 2)), torch.ones(3), atol=1e-2, rtol=0)
        for layer, tape in reversed(list(zip(found.layers, tapes, strict=True))):
            relevance, attention = layer_relevance(layer, tape, relevance)
            torch.testing.assert_close(relevance.sum((1, 2)), torch.ones(3), atol=1e-2, rtol=0)
            assert attention.shape == tape.attention.shape
            assert attention.abs().sum() > 0


def test_tokens_that_cannot_be_seen_have_none(case):
    net, run, bias, _ = case
    target = torch.tensor([0, 3, 1])
    found = read_transformer(net)
    relevance = relevance_rollout(found, run, target, bias)
    assert relevance.min() >= 0
    assert not relevance.requires_grad
    assert not torch.allclose(relevance, relevance_rollout(found, run, torch.tensor([1, 2, 0]), bias))
    rolled = attention_rollout(found, run, bias)
    torch.testing.assert_close(rolled.sum(1), torch.ones(3))
    if bias is not None:
        for values in (relevance, rolled):
            assert values[1, 5:].abs().max() == 0
            assert values[0, 5:].min() > 0 or values is relevance


def test_rollout_is_the_product_of_the_networks_own_attention(case):
    net, run, bias, arguments = case
    seen = []
    if hasattr(net, "blocks"):
        for block in net.blocks:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
        run()
        pool = slice(0, 1) if net.global_pool == "token" else slice(net.num_prefix_tokens, None)
    else:
        net.set_attn_implementation("eager")
        with torch.no_grad():
            seen = net(**arguments, output_attentions=True).attentions
        pool = slice(0, 1)
    expected = torch.eye(seen[0].shape[-1]).expand(3, -1, -1)
    for maps in seen:
        expected = (0.5 * maps.mean(1) + 0.5 * torch.eye(maps.shape[-1])) @ expected
    found = attention_rollout(read_transformer(net), run, bias)
    torch.testing.assert_close(found, expected[:, pool].mean(1), atol=1e-5, rtol=1e-4)


def test_networks_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match="Sequential is no transformer that can be read: AttLRP and attention rollout"):
        read_transformer(cnn())
    swin = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=16, depth=1, num_heads=2, global_pool="max")
    with pytest.raises(ValueError, match="it pools by 'max'"):
        read_transformer(swin)


def test_a_layer_that_computes_something_else_is_found_out():
    net, run, _, _ = timm_case()
    net.blocks[1].register_forward_hook(lambda module, args, output: 2 * output)
    net.norm = nn.Identity()
    with pytest.raises(ValueError, match="it has parts that are not known"):
        relevance_rollout(read_transformer(net), run, torch.tensor([0, 1, 2]))


def test_weights_that_are_replaced_are_read_anew():
    """As moving the network to another device does."""
    net = vit()
    black_box, inputs = box(net), pictures()
    method = AttLRP(black_box, PatchGrid(4, 4))
    before = method.attribute(inputs, 1)
    for parameter in net.parameters():
        parameter.data = parameter.data * 1.5
    after = method.attribute(inputs, 1)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, AttLRP(black_box, PatchGrid(4, 4)).attribute(inputs, 1))


def deep_vit():
    torch.manual_seed(0)
    net = vit(depth=4, embed_dim=32)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return net


def test_a_change_of_the_last_digit_is_none_of_the_map(monkeypatch):
    """Though sums of signed terms, some of which nearly cancel, are divided by."""
    assert rules.STABILISER == 1e-3
    method, inputs, moved = AttLRP(box(deep_vit()), PatchGrid(4, 4)), pictures(64), {}
    nearly = inputs + 1e-7 * torch.randn(inputs.shape).sign()
    for stabiliser in (1e-3, 1e-9):
        monkeypatch.setattr(rules, "STABILISER", stabiliser)
        maps, other = (method._maps(each, 1).flatten(1) for each in (inputs, nearly))
        moved[stabiliser] = float(((maps - other).abs().amax(1) / maps.amax(1)).max())
    assert moved[1e-9] > 1e-2 > 5e-3 > moved[1e-3]


def test_a_float32_box_has_the_relevance_of_float64():
    """Sums that nearly cancel are divided by: float32 is worse at them."""
    net, inputs = deep_vit(), pictures(32)
    before = {name: (value.data_ptr(), value.clone()) for name, value in net.state_dict().items()}
    black_box, grid = box(net), PatchGrid(4, 4)
    found = AttLRP(black_box, grid)._maps(inputs, 1).flatten(1)
    for name, value in net.state_dict().items():  # the very tensors that were there
        assert value.data_ptr() == before[name][0]
        assert torch.equal(value, before[name][1])

    double = copy.deepcopy(net).double()
    mean, std = (torch.tensor(each).double().view(1, 3, 1, 1) for each in (black_box.mean, black_box.std))
    run = lambda: double((inputs.double() - mean) / std)  # noqa: E731
    expected = relevance_rollout(read_transformer(double), run, torch.ones(32, dtype=torch.int64))[:, 1:]
    assert torch.equal(found.argsort(1), expected.argsort(1))
    run = lambda: black_box.differentiable(inputs)  # noqa: E731
    rough = relevance_rollout(read_transformer(net), run, torch.ones(32, dtype=torch.int64))[:, 1:]
    worst = [float((each.double() - expected).abs().amax()) for each in (found, rough)]
    assert worst[0] < 0.3 * worst[1]
