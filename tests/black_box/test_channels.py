"""Images of one channel and of four, from the box to the explanation."""

import pytest
import timm
import torch
from torch import nn

import fex
from fex.baselines import LIME, RISE
from fex.black_box import CallableBlackBox, HttpBlackBox, TimmBlackBox, TorchBlackBox
from fex.explainers.encoder_choice import choose_encoder
from fex.images import Mean, PatchGrid, Preprocess
from fex.nets import PyramidEncoder, ViTEncoder

SIZE = 32


class LastBand(nn.Module):
    """One logit: how bright the upper left quarter of the last channel is."""

    def forward(self, x):
        return 8 * x[:, -1:, : SIZE // 2, : SIZE // 2].mean((2, 3)) - 4


def box_of(channels, **options):
    plain = {"mean": [0.0] * channels, "std": [1.0] * channels} if channels != 1 else {"mean": 0.0, "std": 1.0}
    return TorchBlackBox(
        LastBand(), channels=channels, num_classes=1, preprocess=Preprocess(SIZE, SIZE), **plain, **options
    )


def images(count, channels=3):
    return torch.rand(count, max(channels, 3), SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_trained_explainer_and_the_methods_that_ask(channels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    box = box_of(channels)
    inputs = images(8) if channels == 1 else images(8, channels)[:, :channels]
    assert box(inputs).shape == (8, 2)
    explainer = fex.train(box, inputs, name="bands", grid=4, max_steps=2, accelerator="cpu", batch_size=4)
    [found] = fex.load_explainer("runs/bands").explain(inputs[:1], target=1)
    assert found.grid.shape == (4, 4)
    assert torch.equal(found.attribution, explainer.explain(inputs[:1], target=1)[0].attribution)
    found.save("found.png")
    for method in (RISE(box, PatchGrid(2, 2), num_masks=200), LIME(box, PatchGrid(2, 2), num_masks=60)):
        scores = method.attribute(torch.ones_like(inputs[:1]), 1)[0]
        assert scores[0, 0] > scores[-1, -1] + 0.05
        assert scores[0, 0] > scores[0, -1] + 0.05


def test_other_channels_are_refused():
    box = box_of(4)
    with pytest.raises(ValueError, match=r"got inputs of shape \(2, 3, 32, 32\).*expected \(B, 4, H, W\)"):
        box(images(2))
    with pytest.raises(ValueError, match=r"mean needs 4 values"):
        TorchBlackBox(LastBand(), channels=4, num_classes=1)
    with pytest.raises(ValueError, match=r"std needs 4 values"):
        TorchBlackBox(LastBand(), channels=4, num_classes=1, mean=[0.5] * 4)
    assert CallableBlackBox(LastBand(), num_classes=1, outputs="logits", mean=[0.5] * 4)(images(2, 4)).shape == (2, 2)
    with pytest.raises(ValueError, match="PNG has three colours, got 4"):
        HttpBlackBox("http://127.0.0.1:1/", num_classes=2, mean=[0.5] * 4)


@pytest.mark.parametrize("kind", [ViTEncoder, PyramidEncoder])
def test_an_encoder_does_not_spread_one_channel_over_its_own(kind):
    model = "conv_vit_tiny" if kind is ViTEncoder else "test_resnet"
    encoder = kind(model, mean=[0.1] * 4, std=[1.0] * 4, model_args={"in_chans": 4})
    assert encoder(images(1, 4), (2, 2)).tokens.shape[1] == 4
    for count in (1, 3):
        with pytest.raises(ValueError, match=r"expected \(B, 4, H, W\)"):
            encoder(images(1)[:, :count], (2, 2))
    with pytest.raises(ValueError, match="takes 4 channels, got mean"):
        kind(model, model_args={"in_chans": 4}, mean=[0.1] * 3, std=[1.0] * 3)


def test_a_timm_network_of_four_channels(tmp_path):
    torch.save(timm.create_model("test_resnet", in_chans=4, num_classes=2).state_dict(), tmp_path / "net.pth")
    options = {"weights": str(tmp_path / "net.pth"), "mean": [0.5] * 4, "std": [0.2] * 4}
    box = TimmBlackBox("test_resnet", model_args={"in_chans": 4}, **options)
    assert box(images(2, 4)).shape == (2, 2)
    choice = choose_encoder(box, None, 100)
    assert choice.init_args["model_args"] == {"in_chans": 4}
    assert Mean()(images(1, 4), torch.tensor(box.mean)).shape == (1, 4, 1, 1)


def test_grey_tensors_are_told_what_to_be():
    box = TorchBlackBox(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), channels=1, mean=0.5, std=0.5, num_classes=2)
    grey = torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"three equal channels: inputs.expand\(-1, 3, -1, -1\)"):
        box(grey)
    assert box(grey.expand(-1, 3, -1, -1)).shape == (2, 2)
