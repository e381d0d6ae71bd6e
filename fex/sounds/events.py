"""Where the event is: clips between stretches of noise, intervals as masks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fex.sounds.log_mel import LogMel

__all__ = ["interval_mask", "pad_with_noise", "to_length"]


def pad_with_noise(
    clip: Tensor,
    generator: torch.Generator,
    *,
    sample_rate: int,
    seconds: tuple[float, float] = (1.0, 5.0),
    snr_db: float = 10.0,
) -> tuple[Tensor, tuple[float, float]]:
    """White noise on both sides (DAX's ESC-10 protocol): how much in front is drawn, and the rest of it comes behind.

    Both sides together are ``seconds[0] + seconds[1]``, so each of them lies between the two and all clips of one
    length stay of one length. A silent clip gets silence: it has no power that noise could be measured against.

    Args:
        clip: (T,), float.
        generator: CPU generator.
        sample_rate: in Hz.
        seconds: shortest and longest stretch.
        snr_db: power of the clip over that of the noise, in decibels.

    Returns:
        Padded clip, and start and end of the clip in it in seconds.

    Raises:
        ValueError: stretches out of order, or an empty clip.
    """
    shortest, longest = seconds
    if not 0 <= shortest <= longest or not len(clip):
        raise ValueError(f"Got {len(clip)} samples and seconds={seconds}, expected some and 0 <= shortest <= longest.")
    before = shortest + (longest - shortest) * float(torch.rand((), generator=generator))
    first = round(before * sample_rate)
    total = round((shortest + longest) * sample_rate)
    scale = (clip.float().square().mean() / 10 ** (snr_db / 10)).sqrt()
    noise = torch.randn(total, generator=generator) * scale
    padded = torch.cat([noise[:first], clip.float(), noise[first:]])
    return padded, (first / sample_rate, (first + len(clip)) / sample_rate)


def to_length(waveform: Tensor, samples: int) -> Tensor:
    """Cut at the end, or continued by silence: (T,) -> (samples,)."""
    return torch.nn.functional.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def interval_mask(intervals: Sequence[tuple[float, float]], log_mel: LogMel, frames: int) -> Tensor:
    """Frames whose centre lies in one of the intervals (seconds), over all bands: bool (mels, frames).

    Raises:
        ValueError: an interval that ends before it starts.
    """
    moments = torch.arange(frames) * log_mel.hop / log_mel.sample_rate
    inside = torch.zeros(frames, dtype=torch.bool)
    for start, end in intervals:
        if end < start:
            raise ValueError(f"Got an interval from {start} to {end} seconds: it ends before it starts.")
        inside |= (moments >= start) & (moments < end)
    return inside.expand(log_mel.mels, -1).clone()
