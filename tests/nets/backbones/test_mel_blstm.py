"""The BLSTM over windows of a spectrogram as a black box."""

import pytest
import torch

from fex.black_box import load_black_box
from fex.images import Preprocess
from fex.nets.backbones import build_timm
from fex.storage.weights import save_black_box

ARGUMENTS = {"num_classes": 3, "mels": 8, "segment": 10, "hop": 5, "hidden": 4, "layers": 1}


def test_the_clip_is_the_mean_of_its_windows():
    torch.manual_seed(0)
    net = build_timm("mel_blstm", ARGUMENTS).eval()
    x = torch.rand(2, 1, 8, 20).expand(-1, 3, -1, -1)
    windows = [net(x[..., start : start + 10]) for start in (0, 5, 10)]
    torch.testing.assert_close(net(x), torch.stack(windows).mean(0))
    short = x[..., :4]
    continued = torch.cat([short, short[..., -1:].expand(-1, -1, -1, 6)], -1)
    torch.testing.assert_close(net(short), net(continued))
    with pytest.raises(ValueError, match="got 9 bands, expected 8"):
        net(torch.zeros(1, 3, 9, 20))
    with pytest.raises(ValueError, match="at least 1"):
        build_timm("mel_blstm", {"hop": 0})


def test_saved_weights_are_a_black_box(tmp_path):
    torch.manual_seed(0)
    net = build_timm("mel_blstm", ARGUMENTS)
    meta = {
        "model": "mel_blstm", "model_args": ARGUMENTS, "class_names": ["a", "b", "c"],
        "preprocess": Preprocess(8, 20).to_dict(), "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    save_black_box(tmp_path / "x.safetensors", net, meta)
    box = load_black_box(str(tmp_path / "x.safetensors"))
    x = torch.rand(2, 3, 8, 20)
    torch.testing.assert_close(box(x), net.eval()((x - 0.5) / 0.5).softmax(1), atol=0.01, rtol=0.05)
