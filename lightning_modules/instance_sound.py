"""What is kept of an explained sound beside its map."""

from pathlib import Path, PurePath

import torch
from torch import Tensor

from fex.atomic import replacing
from fex.audio import LogMel, masked_audio, write_wav
from fex.explanation import Explanation
from fex.report.audio import sound_panel
from fex.report.folder import result_path
from fex.report.heatmap import normalise

__all__ = ["keep_sound"]


def keep_sound(folder: Path, explanation: Explanation, log_mel: LogMel, waveform: Tensor | None) -> None:
    """Picture of spectrogram, map and time curve, and the masked sound as a wav file.

    Args:
        folder: of the run.
        explanation: of a spectrogram, with `image`; its source names the files.
        log_mel: how the spectrogram was made.
        waveform: (T,); None leaves out the masked sound.
    """
    assert explanation.image is not None
    stem = folder / result_path(PurePath(explanation.source), 1, 1)
    panel = sound_panel(
        explanation.image[0].cpu(),
        explanation.grid,
        seconds=explanation.size[1] * log_mel.hop / log_mel.sample_rate,
        title=f"{explanation.target_name}, p = {explanation.probability:.3f}: {explanation.source}",
    )
    with replacing(stem.with_name(f"{stem.name}.sound.png")) as part:
        panel.save(part, "PNG")
    if waveform is not None:
        mask = torch.from_numpy(normalise(explanation.grid))
        masked = masked_audio(waveform.cpu(), mask, log_mel)
        write_wav(stem.with_name(f"{stem.name}.masked.wav"), masked, log_mel.sample_rate)
