import pytest
import timm
import torch

from fex.images import PatchGrid
from fex.nets import ExplainerNet, ViTEncoder, rebuild
from fex.nets.direct import SCALE, direct_forward

SMALL = {"img_size": 32, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 5}
NETS = {
    "plain": {},
    "layer scale": {"init_values": 0.5},
    "registers": {"reg_tokens": 2},
    "query and key norms": {"qk_norm": True},
}


def network(**options):
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", **SMALL, **options).eval()
    for name, parameter in net.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and "weight" in name else 0.0, 0.3)
    return net


def shares_by_hand(net, inputs, layers, target):
    """(N,) of one input: what each patch adds to the target's logit, head by head, with the last scale held."""
    x = net._pos_embed(net.patch_embed(inputs))
    found = torch.zeros(x.shape[1])
    before = []
    for block in net.blocks:
        before.append(x)
        x = block(x)
    deviation = (x[0, 0].var(unbiased=False) + net.norm.eps).sqrt()
    reader = net.head.weight[target] * net.norm.weight / deviation
    for block, state in list(zip(net.blocks, before, strict=True))[-layers:]:
        attn, size = block.attn, 16 // 2
        rows = attn.qkv(block.norm1(state))[0]
        scale = block.ls1.gamma if hasattr(block.ls1, "gamma") else torch.ones(16)
        for head in range(2):
            query, key, value = (rows[:, 16 * part + size * head :][:, :size] for part in range(3))
            query, key = attn.q_norm(query), attn.k_norm(key)
            weight = (query[0] @ key.T / size**0.5).softmax(0)
            for token, share in enumerate(weight):
                given = scale * (attn.proj.weight[:, size * head :][:, :size] @ (share * value[token]))
                found[token] += reader @ (given - given.mean())
    return found[net.num_prefix_tokens :]


@pytest.mark.parametrize("options", NETS.values(), ids=NETS)
@pytest.mark.parametrize("layers", [1, 3])
def test_the_shares_are_those_of_each_head_and_token(options, layers):
    net, inputs = network(**options), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        features, local = direct_forward(net, inputs, layers)
        assert torch.allclose(features, net.forward_features(inputs), atol=1e-5)
        for target in range(5):
            expected = SCALE * shares_by_hand(net, inputs, layers, target)
            assert torch.allclose(local[0] @ net.head.weight[target], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("vit_tiny_patch16_224", {"global_pool": "avg"}, "classifies by its class token"),
        ("eva02_tiny_patch14_224", {"img_size": 28}, "classifies by its class token"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        ViTEncoder(model, model_args={"depth": 2, **options}, class_head=True, direct_layers=1)


def test_settings_that_do_not_fit_are_refused():
    small = {"model_args": SMALL}
    with pytest.raises(ValueError, match="set class_head: true"):
        ViTEncoder("vit_tiny_patch16_224", **small, direct_layers=1)
    with pytest.raises(ValueError, match="between 0 and the 3 blocks"):
        ViTEncoder("vit_tiny_patch16_224", **small, class_head=True, direct_layers=4)


@pytest.mark.parametrize("grid", [(2, 2), (4, 4)])
def test_an_explainer_starts_from_them_and_is_rebuilt_with_them(grid):
    encoder = ViTEncoder("vit_tiny_patch16_224", model_args=SMALL, class_head=True, direct_layers=2)
    net = ExplainerNet(encoder, hidden=8).build(5, PatchGrid(*grid)).eval()
    inputs = torch.rand(2, 3, 32, 32)
    encoded = net.encode(inputs)
    local = direct_forward(encoder.net, (inputs - encoder.mean) / encoder.std, 2)[1]
    evidence = local @ encoder.class_weight.T  # (B, N, C), and against the other classes:
    p = (encoder.net((inputs - encoder.mean) / encoder.std) / 2).softmax(1)
    against = (evidence[..., 3] - torch.einsum("bnc,bc->bn", evidence, p)) / (1 - p.amax(1, keepdim=True))
    expected = ExplainerNet.gate_start * (against - against.mean(1, keepdim=True))
    found = net.target_scores(encoded, torch.tensor([3, 3]))
    if grid == (2, 2):  # its own patches
        assert torch.allclose(found - found.mean(1, keepdim=True), expected, atol=1e-5)
    again = rebuild(net.init_args, 5, net.features).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.explain(inputs)[0], net.explain(inputs)[0])
