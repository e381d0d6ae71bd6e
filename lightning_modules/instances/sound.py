"""What is kept of an explained sound beside its map."""

from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from fex.explanations import Explanation
from fex.report.folder import MASKED_SOUND, SOUND_PICTURE, inside, result_path
from fex.report.heatmap import normalise
from fex.report.sounds import sound_panel
from fex.sounds import LogMel, masked_audio, write_wav
from fex.storage.atomic import replacing

__all__ = ["keep_sound"]


def keep_sound(
    folder: Path, explanation: Explanation, log_mel: LogMel, waveform: Tensor | None, mask: Tensor | None = None
) -> None:
    """Picture of spectrogram, map and time curve, and the masked sound as a wav file.

    Args:
        folder: of the run.
        explanation: of a spectrogram, with `image`; its source names the files.
        log_mel: how the spectrogram was made.
        waveform: (T,); None leaves out the masked sound.
        mask: where the event is, bool (mels, frames), to be shaded behind the curve; None where that is not known.
    """
    assert explanation.image is not None
    stem = folder / result_path(inside(explanation.source), 1, 1)
    frame = log_mel.hop / log_mel.sample_rate
    panel = sound_panel(
        explanation.image[0].cpu(),
        explanation.grid,
        seconds=explanation.size[1] * frame,
        title=f"{explanation.target_name}, p = {explanation.probability:.3f}: {explanation.source}"
        + (" (nearly flat)" if explanation.flat else ""),
        intervals=[] if mask is None else [(start * frame, end * frame) for start, end in _runs(mask.any(-2).tolist())],
    )
    with replacing(stem.with_name(f"{stem.name}.{SOUND_PICTURE}")) as part:
        panel.save(part, "PNG")
    if waveform is not None:
        found = torch.from_numpy(normalise(explanation.grid))
        masked = masked_audio(waveform.cpu(), found, log_mel)
        write_wav(stem.with_name(f"{stem.name}.{MASKED_SOUND}"), masked, log_mel.sample_rate)


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    """First and one past the last place of each run of True."""
    groups = [[place for place, _ in group] for flag, group in groupby(enumerate(flags), lambda each: each[1]) if flag]
    return [(group[0], group[-1] + 1) for group in groups]
