"""Sound: spectrograms as pictures, events as intervals, masked audio to listen to."""

from fex.audio.events import interval_mask, pad_with_noise, to_length
from fex.audio.files import AUDIO_SUFFIXES, UnreadableAudioError, read_audio, write_wav
from fex.audio.log_mel import LogMel, masked_audio

__all__ = [
    "AUDIO_SUFFIXES",
    "LogMel",
    "UnreadableAudioError",
    "interval_mask",
    "masked_audio",
    "pad_with_noise",
    "read_audio",
    "to_length",
    "write_wav",
]
