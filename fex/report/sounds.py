"""Pictures of explained sound: spectrogram, map over it, and the map as a curve in time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from fex.report.heatmap import colorize, normalise, overlay

__all__ = ["sound_panel", "time_curve"]

WIDTH, HEIGHT, CURVE, GAP = 720, 160, 90, 8
_INK, _FAINT, _PAPER, _TRUTH, _LINE = (28, 28, 30), (110, 110, 116), (255, 255, 255), (214, 236, 214), (176, 34, 46)


def time_curve(attribution: ArrayLike) -> np.ndarray:
    """Mean over frequency of a map (mels, frames): (frames,), float32.

    Raises:
        ValueError: another shape.
    """
    values = np.asarray(attribution, dtype=np.float32)
    if values.ndim != 2:
        raise ValueError(f"Got a map of shape {values.shape}, expected (mels, frames).")
    return values.mean(0)


def sound_panel(
    spectrogram: ArrayLike,
    attribution: ArrayLike,
    *,
    seconds: float,
    title: str,
    intervals: Sequence[tuple[float, float]] = (),
) -> Image.Image:
    """Spectrogram, map over it and time curve, one below the other on one time axis.

    Args:
        spectrogram: (mels, frames) in [0, 1], row 0 the highest band.
        attribution: (mels, frames), any range.
        seconds: length of the axis.
        title: first line.
        intervals: (start, end) of the event in seconds, shaded behind the curve.

    Raises:
        ValueError: shapes that differ, or no length.
    """
    grey, values = np.asarray(spectrogram, dtype=np.float32), np.asarray(attribution, dtype=np.float32)
    if grey.ndim != 2 or grey.shape != values.shape or seconds <= 0:
        raise ValueError(
            f"Got a spectrogram {grey.shape}, a map {values.shape} and {seconds} seconds, expected (mels, frames) "
            "twice and a positive length."
        )
    size = (WIDTH, HEIGHT)
    picture = Image.fromarray((grey.clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB").resize(size)
    shown = np.asarray(Image.fromarray(normalise(values), "F").resize(size, Image.Resampling.BILINEAR))
    rows = [Image.fromarray(colorize(grey, "magma")).resize(size), overlay(picture, shown)]
    canvas = Image.new("RGB", (WIDTH + 2 * GAP, 26 + 2 * (HEIGHT + GAP) + CURVE + 22), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, 6), title, _INK)
    for number, row in enumerate(rows):
        canvas.paste(row, (GAP, 26 + number * (HEIGHT + GAP)))
    top = 26 + 2 * (HEIGHT + GAP)

    def across(second: float) -> float:
        return GAP + WIDTH * second / seconds

    for start, end in intervals:
        draw.rectangle((across(start), top, across(min(end, seconds)), top + CURVE), fill=_TRUTH)
    curve = normalise(time_curve(values))
    places = GAP + (np.arange(len(curve)) + 0.5) * WIDTH / len(curve)
    points = [(float(x), float(top + CURVE - 2 - (CURVE - 4) * y)) for x, y in zip(places, curve, strict=True)]
    draw.line(points, fill=_LINE, width=2)
    draw.line((GAP, top + CURVE, GAP + WIDTH, top + CURVE), fill=_FAINT)
    step = max(1, round(seconds / 10))
    for second in range(0, int(seconds) + 1, step):
        draw.text((across(second), top + CURVE + 4), f"{second} s", _FAINT)
    return canvas
