"""Sounds: from a file to a spectrogram, which is explained as a picture, and back to what can be heard.

Files are read and resampled, turned into log-mel spectrograms, masked, and made audible; events are intervals of
time. Read `files`, `log_mel`, `removal`, `events`.
"""

from fex.sounds.events import interval_mask, pad_with_noise, to_length
from fex.sounds.files import AUDIO_SUFFIXES, UnreadableAudioError, read_audio, write_wav
from fex.sounds.log_mel import LogMel, masked_audio
from fex.sounds.removal import Silence

__all__ = [
    "AUDIO_SUFFIXES",
    "LogMel",
    "Silence",
    "UnreadableAudioError",
    "interval_mask",
    "masked_audio",
    "pad_with_noise",
    "read_audio",
    "to_length",
    "write_wav",
]
