"""Maps lie where the network looks: at the upper right quadrant of a picture, at one word of a text.

Tiny random networks of every family, that can see, or attend to, nothing else; how GradCAM's activations lie is tested
in `tests/nets/test_families.py`.
"""

import pytest
import timm
import torch

from fex.baselines import AttentionRollout, AttLRP, GradSHAP, IntegratedGradients, Saliency
from fex.baselines.attention_maps import read_transformer
from fex.black_box import TextBlackBox, TorchBlackBox, TransformersBlackBox
from fex.images import PatchGrid, Preprocess
from tests.families import TRANSFORMERS, save_transformers
from tests.nets.test_families import ALL, READABLE, SIZES, families
from tests.texts.architectures import architecture_folder
from tests.texts.test_architectures import READ

READABLE_HERE = ("vit", "vit msn")  # of transformers' image networks


def timm_box(name):
    torch.manual_seed(0)
    size = SIZES.get(name, 64)
    net = timm.create_model(name, num_classes=3, **ALL[name])
    heads = net.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        for parameter in head.parameters():  # some begin at 0
            torch.nn.init.normal_(parameter)
    return TorchBlackBox(net, num_classes=3, preprocess=Preprocess(size, size))


def sees_one_quadrant(_module, args, kwargs):
    """Hook: the rest of the picture is there, but no gradient goes to it."""
    pixels = args[0] if args else kwargs["pixel_values"]
    height, width = pixels.shape[-2] // 2, pixels.shape[-1] // 2
    seen = torch.zeros_like(pixels)
    seen[..., :height, width:] = 1
    pixels = seen * pixels + ((1 - seen) * pixels).detach()
    return ((pixels, *args[1:]), kwargs) if args else (args, {**kwargs, "pixel_values": pixels})


def check_gradients(box):
    box.module.register_forward_pre_hook(sees_one_quadrant, with_kwargs=True)
    height, width = box.preprocess.size
    inputs = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    for method in (IntegratedGradients(box, steps=1), GradSHAP(box, samples=1), Saliency(box)):
        found = method.attribute(inputs, 1)[0].abs()
        assert found[: height // 2, width // 2 :].max() > 0
        assert found[height // 2 :].max() == found[:, : width // 2].max() == 0


@pytest.mark.parametrize("name", families(ALL))
def test_gradients_of_networks_of_timm(name):
    check_gradients(timm_box(name))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_gradients_of_networks_of_transformers(name, tmp_path):
    check_gradients(TransformersBlackBox(save_transformers(TRANSFORMERS[name], tmp_path)))


@torch.no_grad()
def attends_to_the_first_dimension(net):
    """Every token attends to those whose first number is large, in all layers: nothing else changes that number."""
    for name, parameter in net.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(1.0)  # layers that begin at almost nothing
    for layer in read_transformer(net).layers:
        for linear in (layer.query, layer.key):
            linear.weight.fill_(0.0)
            linear.bias.fill_(0.0)
        layer.query.bias.fill_(2.0)
        layer.key.weight[:, 0] = 2.0
        for linear in (layer.out, layer.down):
            linear.weight[0] = 0.0
            linear.bias[0] = 0.0


@torch.no_grad()
def plants(positions):
    """Position embeddings (1, L, D), the last 16 of which are of 4 x 4 patches: the upper right ones are to be seen."""
    positions[..., 0] = 0.0
    positions[0, -16:, 0] += torch.tensor([[0.0, 0, 10, 10]] * 2 + [[0.0] * 4] * 2).flatten()


def check_attention(box, method):
    inputs = torch.rand(1, 3, *box.preprocess.size, generator=torch.Generator().manual_seed(0))
    found = sum(method(box, PatchGrid(4, 4)).attribute_features(inputs, target) for target in range(3))
    parts = torch.nn.functional.avg_pool2d(found.view(1, 4, 4), 2).flatten()  # scores are of the map, which is bilinear
    parts = parts - parts.min()  # of pooled tokens, each also stands for itself
    assert parts[1] > 2 * parts[[0, 2, 3]].max()


@pytest.mark.parametrize("method", [AttLRP, AttentionRollout])
@pytest.mark.parametrize("name", sorted(READABLE))
def test_attention_of_networks_of_timm(name, method):
    box = timm_box(name)
    plants(box.module.pos_embed.data)
    attends_to_the_first_dimension(box.module)
    check_attention(box, method)


@pytest.mark.parametrize("method", [AttLRP, AttentionRollout])
@pytest.mark.parametrize("name", READABLE_HERE)
def test_attention_of_networks_of_transformers(name, method, tmp_path):
    box = TransformersBlackBox(save_transformers(TRANSFORMERS[name], tmp_path))
    plants(box.module.base_model.embeddings.position_embeddings.data)
    attends_to_the_first_dimension(box.module)
    check_attention(box, method)


@pytest.mark.parametrize("method", [AttLRP, AttentionRollout])
@pytest.mark.parametrize("kind", READ)
def test_attention_of_networks_of_texts(kind, method, tmp_path):
    box = TextBlackBox(architecture_folder(tmp_path, kind))
    inputs = box.tokenize(["the film is a gem and a mess"])
    for name, part in box.module.named_modules():
        if name.endswith("embedding_hidden_mapping_in"):  # RemBERT's embeddings are of another width
            torch.nn.init.eye_(part.weight)
        if isinstance(part, torch.nn.Embedding):
            part.weight.data[:, 0] = 0.0
    box.module.get_input_embeddings().weight.data[inputs[0, 5], 0] = 30.0  # "gem"; the first token is of the text
    attends_to_the_first_dimension(box.module)
    found = sum(method(box, box.features).attribute(inputs, target)[0] for target in range(3))
    assert int(found.argmax()) == 5
    assert found[5] > 2 * found[1:5].max()
