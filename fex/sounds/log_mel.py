"""Log-mel spectrograms as grey pictures, so that whatever explains pictures explains sound; and back to sound."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LogMel", "masked_audio"]


@cache
def _filters(sample_rate: int, n_fft: int, mels: int, low_hz: float) -> Tensor:
    """Slaney's mel filters, (F, mels), float32."""
    from transformers.audio_utils import mel_filter_bank  # takes a second, which pictures need not wait for

    filters = mel_filter_bank(
        num_frequency_bins=n_fft // 2 + 1,
        num_mel_filters=mels,
        min_frequency=low_hz,
        max_frequency=sample_rate / 2,
        sampling_rate=sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters).float()


@dataclass(frozen=True)
class LogMel:
    """Sound -> picture: power in mel bands, in decibels below the clip's own maximum, scaled to [0, 1].

    1 is the loudest cell, 0 is `range_db` or more below it: silence. So removing to black is removing to silence, and
    a spectrogram is an input like any other, (3, mels, frames) with three equal channels; the highest band is row 0.

    Args:
        sample_rate: in Hz.
        n_fft: samples of a window.
        hop: samples between windows.
        mels: bands.
        range_db: decibels between 0 and 1.
        low_hz: lower edge of the lowest band.

    Example:
        >>> import torch
        >>> LogMel()(torch.randn(16000)).shape
        torch.Size([3, 64, 32])
    """

    sample_rate: int = 16_000
    n_fft: int = 1024
    hop: int = 512
    mels: int = 64
    range_db: float = 80.0
    low_hz: float = 40.0

    def __post_init__(self) -> None:
        if min(self.sample_rate, self.n_fft, self.hop, self.mels) < 1 or self.range_db <= 0:
            raise ValueError(f"{self}: expected positive numbers.")
        if 2 * self.hop > self.n_fft:
            raise ValueError(
                f"{self}: expected a hop of at most half of n_fft, or sound between the windows is lost and cannot be "
                "made again from the spectrum."
            )
        if not 0 <= self.low_hz < self.sample_rate / 2:
            raise ValueError(f"{self}: expected low_hz below half of the sample rate.")

    def frames(self, samples: int) -> int:
        """Width of the picture of so many samples."""
        return 1 + samples // self.hop

    def spectrum(self, waveform: Tensor) -> Tensor:
        """Complex short-time spectrum (F, frames) of (T,), centred windows, zeros beyond the ends."""
        window = torch.hann_window(self.n_fft, device=waveform.device, dtype=waveform.dtype)
        return torch.stft(
            waveform, self.n_fft, self.hop, window=window, center=True, pad_mode="constant", return_complex=True
        )

    def __call__(self, waveform: Tensor) -> Tensor:
        """Waveform (T,), float -> (3, mels, frames), float32 in [0, 1].

        A clip shorter than a window has the zeros beyond its ends in it; a silent one is 0 everywhere.

        Raises:
            ValueError: another shape, no samples, or samples that are not finite.
        """
        if waveform.ndim != 1 or not len(waveform) or not waveform.is_floating_point():
            raise ValueError(
                f"Got a waveform {tuple(waveform.shape)} of {waveform.dtype}, expected (T,), float, T >= 1."
            )
        if not bool(waveform.isfinite().all()):
            raise ValueError("Got a waveform with NaN or infinite samples.")
        # In double precision, so that the float32 that comes out is the same on every machine and number of threads:
        # whatever is drawn for an instance is drawn by its pixels.
        power = self.spectrum(waveform.double()).abs().square()
        filters = _filters(self.sample_rate, self.n_fft, self.mels, self.low_hz).to(power)
        bands = filters.T @ power
        loudest = bands.max()
        if float(loudest) <= 1e-12:  # silence has no loudest cell to measure against
            return waveform.new_zeros(3, *bands.shape, dtype=torch.float32)
        level = 10 * (bands / loudest).clamp(min=1e-12).log10()
        return (1 + level / self.range_db).clamp(0, 1).float().flip(0).expand(3, -1, -1).contiguous()


def masked_audio(waveform: Tensor, mask: Tensor, log_mel: LogMel) -> Tensor:
    """The sound under a time-frequency mask: each bin of the spectrum times the mask of the bands it lies in.

    Args:
        waveform: (T,), float.
        mask: (mels, frames) in [0, 1], laid as the picture of `log_mel`: row 0 is the highest band.
        log_mel: how the picture was made.

    Returns:
        (T,), float32; the waveform itself (but for what lies outside all bands) where the mask is 1.

    Raises:
        ValueError: a mask of another shape.
    """
    frames = log_mel.frames(len(waveform))
    if mask.shape != (log_mel.mels, frames):
        raise ValueError(
            f"Got a mask {tuple(mask.shape)}, expected ({log_mel.mels}, {frames}), one value a cell of the spectrogram."
        )
    # One frame more: the last samples may lie where the last window is next to nothing, and cannot be made from it.
    spectrum = log_mel.spectrum(F.pad(waveform.float(), (0, log_mel.hop)))
    mask = torch.cat([mask, mask[:, -1:]], dim=1)
    filters = _filters(log_mel.sample_rate, log_mel.n_fft, log_mel.mels, log_mel.low_hz).to(spectrum.device)
    share = filters / filters.sum(1, keepdim=True).clamp(min=torch.finfo(filters.dtype).tiny)
    gain = share @ mask.flip(0).to(share)
    window = torch.hann_window(log_mel.n_fft, device=spectrum.device)
    return torch.istft(spectrum * gain, log_mel.n_fft, log_mel.hop, window=window, center=True, length=len(waveform))
