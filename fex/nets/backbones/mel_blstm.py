"""A bidirectional LSTM over windows of a spectrogram, as the DiCOVA challenge's baseline; registered with timm."""

from typing import Any

import torch
from timm.models import register_model
from torch import Tensor, nn

__all__ = ["MelBLSTM", "mel_blstm"]


class MelBLSTM(nn.Module):
    """Mean of the logits of overlapping windows, each read by a bidirectional LSTM.

    Args:
        num_classes: C.
        mels: height of the spectrograms.
        segment: frames of a window; a shorter clip is continued by its last frame.
        hop: frames between windows.
        hidden: units of each direction.
        layers: of the LSTM.
    """

    def __init__(
        self,
        num_classes: int = 2,
        mels: int = 64,
        segment: int = 50,
        hop: int = 10,
        hidden: int = 128,
        layers: int = 2,
        **_: Any,
    ) -> None:
        super().__init__()
        if min(num_classes, mels, segment, hop, hidden, layers) < 1:
            raise ValueError("mel_blstm needs sizes of at least 1.")
        self.num_classes, self.mels, self.segment, self.hop = num_classes, mels, segment, hop
        self.lstm = nn.LSTM(mels, hidden, layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised spectrograms (B, 3, mels, frames) -> logits (B, C)."""
        if x.shape[2] != self.mels:
            raise ValueError(f"mel_blstm got {x.shape[2]} bands, expected {self.mels}: set `mels`.")
        frames = x.mean(1).transpose(1, 2)  # (B, frames, mels)
        short = self.segment - frames.shape[1]
        if short > 0:
            frames = torch.cat([frames, frames[:, -1:].expand(-1, short, -1)], 1)
        windows = frames.unfold(1, self.segment, self.hop).transpose(2, 3)  # (B, n, segment, mels)
        # Processors without bf16 instructions have no LSTM in it.
        with torch.autocast(x.device.type, enabled=False):
            found, _ = self.lstm(windows.flatten(0, 1).to(self.lstm.weight_ih_l0.dtype).contiguous())
        return self.head(found.mean(1)).unflatten(0, windows.shape[:2]).mean(1)

    def get_classifier(self) -> nn.Module:
        """The head, under timm's name for it."""
        return self.head


@register_model
def mel_blstm(pretrained: bool = False, **options: Any) -> MelBLSTM:  # noqa: FBT001, FBT002 timm's signature
    """See `MelBLSTM`; there are no pretrained weights."""
    if pretrained:
        raise RuntimeError("mel_blstm has no pretrained weights: train it by fex-train and set `weights`.")
    for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        options.pop(key, None)
    return MelBLSTM(**options)
