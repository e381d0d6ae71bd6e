"""Sound files whose head promises more than is good."""

import resource
import struct
import time

import numpy as np
import pytest
import torch

from fex.sounds import UnreadableAudioError, files, read_audio, write_wav


@pytest.fixture(autouse=True)
def _bounded():
    """Each test takes less than 2 s of the processor, and less than 200 MB more than before."""
    import scipy.signal
    import soundfile

    assert scipy.signal
    assert soundfile
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def wav(path, rate=16_000, channels=1, size=None, samples=800):
    """A wav of 16 bit with that head; `size` is what it says its data has, in bytes."""
    data = np.arange(samples * channels, dtype="<i2").tobytes()
    size = len(data) if size is None else size
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + head + b"data"
        + struct.pack("<I", size) + data
    )  # fmt: skip
    return path


@pytest.mark.parametrize("rate", [1, 999, 192_001, 80_000_001, 2**31 - 1])
def test_a_rate_that_is_none_is_refused_by_name(tmp_path, rate):
    with pytest.raises(UnreadableAudioError, match=f"a rate of {rate:,} Hz, expected 1,000 to 192,000"):
        read_audio(wav(tmp_path / "a.wav", rate), 16_000)


@pytest.mark.parametrize("rate", [1_000, 44_056, 191_999, 192_000])
def test_odd_rates_are_resampled(tmp_path, rate):
    assert len(read_audio(wav(tmp_path / "a.wav", rate), 16_000)) == -(-800 * 16_000 // rate)


def test_a_size_that_is_wrong_costs_nothing(tmp_path):
    assert len(read_audio(wav(tmp_path / "a.wav", size=2**31), 16_000)) == 800


def test_what_is_too_long_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_SAMPLES", 1000)
    assert len(read_audio(wav(tmp_path / "a.wav", samples=1000), 16_000)) == 1000
    with pytest.raises(UnreadableAudioError, match="longer than 1,000 samples: cut it into clips"):
        read_audio(wav(tmp_path / "b.wav", samples=1001), 16_000)
    with pytest.raises(UnreadableAudioError, match="at 16,000 Hz it is longer than 1,000 samples"):
        read_audio(wav(tmp_path / "c.wav", 1000, samples=70), 16_000)


def test_pieces_are_joined(tmp_path, monkeypatch):
    sound = torch.linspace(-0.5, 0.5, 1000)
    write_wav(tmp_path / "a.wav", sound, 16_000)
    monkeypatch.setattr(files, "PIECE", 7)
    assert torch.allclose(read_audio(tmp_path / "a.wav", 16_000), sound, atol=1e-4)
    stereo = read_audio(wav(tmp_path / "b.wav", channels=2, samples=50), 16_000)
    assert torch.allclose(stereo * 32768, torch.arange(0.5, 100, 2))


def test_a_folder_is_no_sound(tmp_path):
    with pytest.raises(UnreadableAudioError, match="no regular file"):
        read_audio(tmp_path, 16_000)
