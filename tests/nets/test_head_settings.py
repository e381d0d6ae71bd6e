"""Settings of the head: its depth, and where the softmax over the classes is taken."""

import pytest
import torch
from torch import nn

from fex.images import PatchGrid
from fex.nets import ExplainerNet, ShapleyNet, ViTEncoder, rebuild
from fex.storage.description import building
from fex.texts import Tokens
from tests.texts.tiny import preprocess, small_encoder

GRID = PatchGrid(4, 4)
SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2}


def small(**options):
    torch.manual_seed(0)
    return ExplainerNet(ViTEncoder("conv_vit_tiny", model_args=SMALL), hidden=8, **options)


def randomised(net):
    for parameter in (net.weight, net.level.weight, net.level.bias, net.shared.weight):
        nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize("kind", [ExplainerNet, ShapleyNet])
def test_a_head_of_three_layers_is_one_hidden_layer_more_from_the_tokens(kind):
    torch.manual_seed(0)
    net = randomised(kind(ViTEncoder("conv_vit_tiny", model_args=SMALL), hidden=8, depth=3).build(3, GRID))
    inputs, target = torch.rand(2, 3, 32, 32), torch.tensor([0, 2])
    norm, first, _, second, _ = net.token
    hidden = nn.functional.gelu(second(nn.functional.gelu(first(norm(net.encoder(inputs, GRID.grid).tokens)))))
    expected = torch.einsum("bnd,bd->bn", hidden, net.weight[target]) + net.shared(hidden).squeeze(-1)
    assert torch.allclose(net.target_scores(net.encode(inputs), target), expected, atol=1e-5)
    again = rebuild(net.init_args, 3, GRID)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.explain(inputs)[0], net.explain(inputs)[0])


def test_the_usual_head_is_described_as_it_always_was():
    assert set(small().init_args) == {"encoder", "hidden", "keep_rate", "value_degree"}
    assert [type(part) for part in small().token] == [nn.LayerNorm, nn.Linear, nn.GELU]


def test_a_softmax_at_each_token_is_that_of_the_mean_logits():
    net = randomised(small(class_softmax="token").build(5, GRID))
    encoded = net.encode(torch.rand(3, 3, 32, 32))
    logits = torch.stack([net.target_logits(encoded, torch.full((3,), c)) for c in range(5)], 2)  # (B, N, C)
    expected = logits.log_softmax(2).mean(1).softmax(1)
    assert torch.allclose(net.probabilities(net.class_logits(encoded)), expected, atol=1e-6)
    usual = net.class_log_rates(encoded).softmax(1)
    assert not torch.allclose(usual, expected, atol=1e-2)
    again = rebuild(net.init_args, 5, GRID)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.class_logits(encoded), net.class_logits(encoded))


def test_of_a_text_the_mean_is_over_its_tokens():
    read = preprocess()
    features = Tokens(read.max_length, tuple(read.special), read.pad)
    net = randomised(ExplainerNet(small_encoder(), hidden=8, class_softmax="token").build(3, features))
    inputs = read.pad_batch([read(text).ids for text in ("the film is a gem", "a mess", "")])
    encoded = net.encode(inputs)
    logits = torch.stack([net.target_logits(encoded, torch.full((3,), c)) for c in range(3)], 2)
    for row in range(2):
        expected = logits[row, encoded.valid[row]].log_softmax(1).mean(0).softmax(0)
        assert torch.allclose(net.class_logits(encoded)[row].softmax(0), expected, atol=1e-6)
    assert torch.allclose(net.class_logits(encoded)[2], encoded.level[2])  # of a text without tokens the levels speak


WRONG = {
    "depth": ({"depth": 1}, "at least 2 linear layers, got a depth of 1"),
    "softmax": ({"class_softmax": "pixel"}, "class_softmax must be one of .*'instance', 'token'.*, got 'pixel'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_do_not_exist_are_refused_also_from_a_file(case):
    options, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        small(**options)
    with pytest.raises(ValueError, match=message), building({}, "x.safetensors"):
        rebuild({**small().init_args, **options}, 2, GRID)


@pytest.mark.parametrize("depth", [10**9, 2.5, "3"])
def test_a_file_asks_for_no_endless_head(depth):
    with pytest.raises(ValueError, match=r"x\.safetensors"), building({}, "x.safetensors"):
        rebuild({**small().init_args, "depth": depth}, 2, GRID)


def test_labels_that_are_not_exclusive_have_no_softmax():
    with pytest.raises(ValueError, match="those of the black box are not exclusive"):
        small(class_softmax="token").build(3, GRID, multi_label=True)
