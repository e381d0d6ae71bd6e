"""Sound files: reading whatever they hold at one rate, writing wav."""

import os
import wave
from math import gcd
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fex.atomic import replacing

__all__ = ["AUDIO_SUFFIXES", "UnreadableAudioError", "read_audio", "write_wav"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")


class UnreadableAudioError(ValueError):
    """The file is corrupt, cut off, empty, or no sound."""


def read_audio(path: str | os.PathLike[str], sample_rate: int) -> Tensor:
    """The mean of a file's channels at `sample_rate`: (T,), float32, in [-1, 1].

    Raises:
        UnreadableAudioError: with the reason.
        ImportError: the extra `audio` is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError('Reading sound needs soundfile: pip install "fex-explain[audio]".') from error
    try:
        samples, rate = soundfile.read(os.fspath(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UnreadableAudioError(str(error).splitlines()[0]) from error
    if not len(samples):
        raise UnreadableAudioError("it holds no samples")
    if not np.isfinite(samples).all():
        raise UnreadableAudioError("it holds samples that are not finite")
    mono = samples.mean(1)
    if rate != sample_rate:
        from scipy.signal import resample_poly

        divisor = gcd(rate, sample_rate)
        mono = resample_poly(mono, sample_rate // divisor, rate // divisor).astype(np.float32)
    return torch.from_numpy(mono)


def write_wav(path: str | os.PathLike[str], waveform: Tensor, sample_rate: int) -> None:
    """Writes (T,), float, as 16-bit wav; values beyond [-1, 1] are clipped. The file appears whole or not at all."""
    samples = (waveform.detach().cpu().float().clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    with replacing(Path(path)) as part, wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
