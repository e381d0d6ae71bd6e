"""Sound files: reading whatever they hold at one rate, writing wav."""

import os
import wave
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fex.storage.atomic import replacing

__all__ = ["AUDIO_SUFFIXES", "UnreadableAudioError", "read_audio", "write_wav"]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")


LOWEST_RATE, HIGHEST_RATE = 1_000, 192_000  # Hz; resampling from other ones takes a filter of gigabytes
MOST_SAMPLES = 2**26  # of one channel: 25 minutes at 44.1 kHz, 268 MB
PIECE = 2**20  # values read at once


class UnreadableAudioError(ValueError):
    """The file is corrupt, cut off, empty, too long, or no sound."""


def read_audio(path: str | os.PathLike[str], sample_rate: int) -> Tensor:
    """The mean of a file's channels at `sample_rate`: (T,), float32, in [-1, 1].

    Raises:
        UnreadableAudioError: with the reason, such as a rate or a length beyond the limits above.
        ImportError: the extra `audio` is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError('Reading sound needs soundfile: pip install "fex-explain[audio]".') from error
    if Path(path).exists() and not Path(path).is_file():  # a pipe has no end
        raise UnreadableAudioError("it is no regular file")
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            mono, rate = _mono(file), file.samplerate
    except UnreadableAudioError:
        raise
    # Besides its own errors, of damaged heads: TypeError, ValueError, MemoryError.
    except (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise UnreadableAudioError((str(error) or type(error).__name__).splitlines()[0]) from error
    if not len(mono):
        raise UnreadableAudioError("it holds no samples")
    if not np.isfinite(mono).all():
        raise UnreadableAudioError("it holds samples that are not finite")
    if rate != sample_rate:
        from scipy.signal import resample_poly

        divisor = gcd(rate, sample_rate)
        if len(mono) / rate * sample_rate > MOST_SAMPLES:
            raise UnreadableAudioError(f"at {sample_rate:,} Hz it is longer than {MOST_SAMPLES:,} samples")
        mono = resample_poly(mono, sample_rate // divisor, rate // divisor).astype(np.float32)
    return torch.from_numpy(mono)


def _mono(file: Any) -> np.ndarray:
    """The mean of the channels (T,), float32, read piece by piece: a damaged head may tell of any number of samples."""
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise UnreadableAudioError(
            f"it has a rate of {file.samplerate:,} Hz, expected {LOWEST_RATE:,} to {HIGHEST_RATE:,}"
        )
    pieces, total, size = [np.zeros(0, np.float32)], 0, max(1, PIECE // file.channels)
    while len(piece := file.read(size, dtype="float32", always_2d=True)):
        total += len(piece)
        if total > MOST_SAMPLES:
            raise UnreadableAudioError(f"it is longer than {MOST_SAMPLES:,} samples: cut it into clips")
        pieces.append(piece.mean(1))
    return np.concatenate(pieces)


def write_wav(path: str | os.PathLike[str], waveform: Tensor, sample_rate: int) -> None:
    """Writes (T,), float, as 16-bit wav; values beyond [-1, 1] are clipped. The file appears whole or not at all."""
    samples = (waveform.detach().cpu().float().clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    with replacing(Path(path)) as part, wave.open(str(part), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
