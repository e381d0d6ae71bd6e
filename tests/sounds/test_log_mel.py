"""Spectrograms, masked sound, events: on tones and clicks whose place is known."""

import math
import wave

import numpy as np
import pytest
import torch

from fex.sounds import (
    LogMel,
    UnreadableAudioError,
    interval_mask,
    masked_audio,
    pad_with_noise,
    read_audio,
    to_length,
    write_wav,
)

soundfile = pytest.importorskip("soundfile")
RATE = 8000
MEL = LogMel(sample_rate=RATE, n_fft=256, hop=128, mels=20)


def tone(hertz, seconds=1.0):
    return torch.sin(2 * math.pi * hertz * torch.arange(int(RATE * seconds)) / RATE)


def test_a_tone_is_a_line_and_higher_is_further_up():
    rows = [int(MEL(tone(hertz))[0, :, 30].argmax()) for hertz in (300, 1000, 3000)]
    assert rows[0] > rows[1] > rows[2]
    picture = MEL(tone(1000))
    assert picture.shape == (3, 20, MEL.frames(RATE))
    assert (float(picture.min()), float(picture.max())) == pytest.approx((0.0, 1.0), abs=0.2)
    assert torch.equal(picture[0], picture[2])


def test_decibels_below_the_loudest():
    quiet = torch.cat([tone(1000), 0.1 * tone(1000)])  # 20 dB less
    picture = MEL(quiet)[0]
    assert float(picture.max(0).values[20] - picture.max(0).values[90]) == pytest.approx(20 / 80, abs=0.005)
    assert torch.allclose(MEL(3 * quiet), MEL(quiet), atol=1e-4)


def test_silence_and_clips_shorter_than_a_window():
    assert not MEL(torch.zeros(500)).any()
    assert MEL(torch.randn(10)).isfinite().all()
    with pytest.raises(ValueError, match="expected \\(T,\\), float"):
        MEL(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="NaN or infinite samples"):
        MEL(torch.tensor([0.0, torch.nan]))
    with pytest.raises(ValueError, match="hop of at most half of n_fft"):
        LogMel(n_fft=100, hop=60)
    at_most = LogMel(n_fft=128, hop=64, mels=8)
    for samples in (1000, 64 * 20 + 63):  # the last sample as far from the last window's centre as it can be
        sound = torch.rand(samples)
        kept = masked_audio(sound, torch.ones(8, at_most.frames(samples)), at_most)
        assert kept.shape == sound.shape
        assert kept.isfinite().all()


def test_masked_sound_keeps_what_the_mask_keeps():
    low, high = tone(400), tone(2500)
    both = low + high
    frames = MEL.frames(RATE)
    assert torch.allclose(masked_audio(both, torch.ones(20, frames), MEL)[200:-200], both[200:-200], atol=1e-3)
    assert not masked_audio(both, torch.zeros(20, frames), MEL).any()
    mask = torch.zeros(20, frames)
    mask[12:] = 1  # the lower bands
    kept = masked_audio(both, mask, MEL)[500:-500]
    assert float((kept - low[500:-500]).square().mean()) < 0.01 * float(low.square().mean())
    with pytest.raises(ValueError, match="one value a cell"):
        masked_audio(both, torch.ones(20, 3), MEL)


def test_padding_has_its_length_ratio_and_interval():
    clip = torch.randn(RATE)
    starts = []
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        padded, (start, end) = pad_with_noise(clip, generator, sample_rate=RATE, seconds=(0.5, 2.0))
        assert len(padded) == RATE + int(2.5 * RATE)
        first = round(start * RATE)
        assert torch.equal(padded[first : first + RATE], clip)
        assert (0.5 <= start <= 2.0, end - start) == (True, pytest.approx(1.0))
        noise = torch.cat([padded[:first], padded[first + RATE :]])
        assert 10 * math.log10(float(clip.square().mean() / noise.square().mean())) == pytest.approx(10, abs=0.4)
        starts.append(start)
    assert len(set(starts)) == 5
    silent, _ = pad_with_noise(torch.zeros(100), torch.Generator().manual_seed(0), sample_rate=RATE)
    assert not silent.any()
    with pytest.raises(ValueError, match="0 <= shortest <= longest"):
        pad_with_noise(clip, torch.Generator(), sample_rate=RATE, seconds=(3.0, 1.0))


def test_intervals_as_masks():
    mask = interval_mask([(0.1, 0.2), (0.5, 0.6)], MEL, 63)
    seconds = torch.arange(63) * 128 / RATE
    expected = ((seconds >= 0.1) & (seconds < 0.2)) | ((seconds >= 0.5) & (seconds < 0.6))
    assert torch.equal(mask, expected.expand(20, -1))
    assert not interval_mask([], MEL, 5).any()
    with pytest.raises(ValueError, match="ends before it starts"):
        interval_mask([(1.0, 0.5)], MEL, 5)
    assert to_length(torch.ones(3), 5).tolist() == [1, 1, 1, 0, 0]
    assert to_length(torch.ones(3), 2).tolist() == [1, 1]


def test_files(tmp_path):
    stereo = np.stack([tone(500).numpy(), np.zeros(RATE, np.float32)], 1)
    soundfile.write(tmp_path / "a.flac", 0.5 * stereo, RATE)
    read = read_audio(tmp_path / "a.flac", RATE)
    assert torch.allclose(read, 0.25 * tone(500), atol=1e-3)
    faster = read_audio(tmp_path / "a.flac", 2 * RATE)
    assert len(faster) == 2 * RATE
    assert torch.allclose(faster[::2][200:-200], read[200:-200], atol=1e-2)
    write_wav(tmp_path / "b.wav", 2 * tone(500), RATE)
    assert torch.allclose(read_audio(tmp_path / "b.wav", RATE), (2 * tone(500)).clamp(-1, 1), atol=1e-3)
    (tmp_path / "bad.wav").write_bytes(b"RIFF no sound")
    with pytest.raises(UnreadableAudioError):
        read_audio(tmp_path / "bad.wav", RATE)
    with wave.open(str(tmp_path / "empty.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
    with pytest.raises(UnreadableAudioError, match="no samples"):
        read_audio(tmp_path / "empty.wav", RATE)
