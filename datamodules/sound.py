"""Sound clips with known events, as spectrograms: what the sound datamodules share."""

import logging
import os
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from datamodules.images import ImageDataModule
from datamodules.skips import Skips, check_readable
from fex.sounds import LogMel, UnreadableAudioError, interval_mask, pad_with_noise, read_audio, to_length

log = logging.getLogger("datamodules")

KEPT = 2**29  # bytes of decoded clips that a process keeps

__all__ = ["Clip", "NoisePadding", "SoundDataModule", "SoundTable"]


@dataclass(frozen=True)
class Clip:
    """A file, its class, and where in it the event is.

    Attributes:
        name: path relative to the root.
        label: class; None where the clips have none.
        intervals: (start, end) in seconds; None stands for the whole clip.
    """

    name: str
    label: int | None
    intervals: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class NoisePadding:
    """Noise on both sides of each clip, see `fex.sounds.pad_with_noise`; drawn by the clip's name and `seed` alone.

    Args:
        shortest: seconds.
        longest: seconds.
        snr_db: clip over noise, in decibels.
        seed: another seed, other stretches.
    """

    shortest: float = 1.0
    longest: float = 5.0
    snr_db: float = 10.0
    seed: int = 0


class SoundTable:
    """Clips as a data set: spectrogram, label, interval as a mask, waveform; an unreadable one is silence, not valid.

    Args:
        root: folder of the clips.
        clips: the clips.
        seconds: every clip is cut, or continued by silence, to this length.
        log_mel: makes the spectrograms.
        padding: noise around each clip; None leaves it as it is.
        waveforms: whether rows have their sound too.
    """

    def __init__(
        self,
        root: str | Path,
        clips: list[Clip],
        *,
        seconds: float,
        log_mel: LogMel,
        padding: NoisePadding | None,
        waveforms: bool,
    ) -> None:
        self.root, self.clips, self.log_mel, self.padding = Path(root), clips, log_mel, padding
        self.waveforms, self.samples = waveforms, round(seconds * log_mel.sample_rate)
        self.skips = Skips(len(clips), "a clip")
        self._kept: dict[int, dict[str, Any]] = {}
        self._room = KEPT

    @property
    def total(self) -> int:
        """Samples of a row, padding included."""
        if self.padding is None:
            return self.samples
        return self.samples + round((self.padding.shortest + self.padding.longest) * self.log_mel.sample_rate)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # Decoding costs more than the memory, as far as there is some: a spectrogram is 90 kB.
        item = self._kept.get(index)
        if item is None:
            item = self._read(index)
            self._room -= sum(each.nbytes for each in item.values() if isinstance(each, torch.Tensor))
            if self._room >= 0:
                self._kept[index] = item
        return {**item, "inputs": item["inputs"].expand(3, -1, -1)}

    def _read(self, index: int) -> dict[str, Any]:
        clip, rate = self.clips[index], self.log_mel.sample_rate
        valid, intervals = True, clip.intervals
        try:
            waveform = to_length(read_audio(self.root / clip.name, rate), self.samples)
        except UnreadableAudioError as error:
            self.skips.row(index, clip.name, error)
            waveform, valid = torch.zeros(self.samples), False
        length = self.samples / rate
        if intervals is None:
            intervals = ((0.0, length),)
        elif intervals and all(start >= length for start, _ in intervals):
            log.warning(
                "%s has its events after %g s, where clips are cut: none is left of it. Give larger `seconds`.",
                clip.name,
                length,
            )
        intervals = tuple((min(a, length), min(b, length)) for a, b in intervals)
        if self.padding is not None:
            seed = zlib.crc32(os.fsencode(clip.name)) + 1_000_003 * self.padding.seed
            waveform, (start, _) = pad_with_noise(
                waveform,
                torch.Generator().manual_seed(seed),
                sample_rate=rate,
                seconds=(self.padding.shortest, self.padding.longest),
                snr_db=self.padding.snr_db,
            )
            intervals = tuple((start + a, start + b) for a, b in intervals)
        waveform = to_length(waveform, self.total)
        inputs = self.log_mel(waveform)[:1].clone()
        item = {
            "inputs": inputs,
            **({} if clip.label is None else {"labels": clip.label}),
            "masks": interval_mask(intervals, self.log_mel, inputs.shape[-1]),
            "valid": valid,
            "names": clip.name,
        }
        return {**item, "waveforms": waveform} if self.waveforms else item


class SoundDataModule(ImageDataModule):
    """Base of the sound datamodules: spectrograms as grey pictures of mels x frames.

    Args:
        root: folder of the clips.
        seconds: every clip is cut, or continued by silence, to this length.
        log_mel: makes the spectrograms.
        padding: noise around each clip, or None.
        waveforms: batches carry the sound too, for masked audio.
        **options: see `ImageDataModule`.

    Raises:
        ValueError: a length of 0.
    """

    noun = "clips"

    def __init__(
        self,
        root: str,
        seconds: float,
        log_mel: LogMel | None = None,
        padding: NoisePadding | None = None,
        *,
        waveforms: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if seconds <= 0:
            raise ValueError(f"Clips must have a length, got seconds={seconds}.")
        self.root, self.seconds, self.log_mel = root, seconds, log_mel or LogMel()
        self.padding, self.waveforms = padding, waveforms

    def _table(self, clips: list[Clip]) -> SoundTable:
        """A data set of the clips, checked against the black box's input size.

        Raises:
            ValueError: the black box wants pictures of another size, or none of the clips can be read.
        """
        table = SoundTable(
            self.root,
            clips,
            seconds=self.seconds,
            log_mel=self.log_mel,
            padding=self.padding,
            waveforms=self.waveforms,
        )
        size, wanted = (self.log_mel.mels, self.log_mel.frames(table.total)), self.known_preprocess
        if wanted is not None and wanted.size != size:
            raise ValueError(
                f"The spectrograms have {size[0]} bands and {size[1]} frames, the black box takes {wanted.size}: set "
                "`seconds`, `padding` and `log_mel` as in its training."
            )
        check_readable(
            Path(self.root),
            [clip.name for clip in clips],
            partial(read_audio, sample_rate=self.log_mel.sample_rate),
            "clips",
        )
        return table
