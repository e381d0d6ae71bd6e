"""Pictures of explained sound."""

import numpy as np
import pytest

from fex.report.sounds import CURVE, GAP, HEIGHT, WIDTH, sound_panel, time_curve


def test_the_curve_is_the_mean_over_frequency():
    values = np.random.default_rng(0).random((4, 6))
    np.testing.assert_allclose(time_curve(values), values.mean(0), rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected \(mels, frames\)"):
        time_curve(values[0])


def test_the_event_is_shaded_where_it_is_and_the_map_bright_where_it_is():
    spectrogram, attribution = np.zeros((8, 20)), np.zeros((8, 20))
    attribution[:, 10:15] = 1.0
    panel = np.asarray(sound_panel(spectrogram, attribution, seconds=2.0, title="dog", intervals=[(0.5, 1.0)]))
    curve_row = panel[26 + 2 * (HEIGHT + GAP) + CURVE // 2]
    shaded = np.flatnonzero((curve_row == (214, 236, 214)).all(1))
    assert abs(shaded[0] - (GAP + WIDTH // 4)) <= 1
    assert abs(shaded[-1] - (GAP + WIDTH // 2)) <= 8  # the curve's own rise may lie over its end
    overlay_row = panel[26 + HEIGHT + GAP + HEIGHT // 2].astype(int).sum(1)
    assert overlay_row[GAP + round(0.62 * WIDTH)] > overlay_row[GAP + round(0.2 * WIDTH)]


def test_shapes_that_differ():
    with pytest.raises(ValueError, match="a positive length"):
        sound_panel(np.zeros((4, 5)), np.zeros((4, 6)), seconds=1.0, title="")
    with pytest.raises(ValueError, match="0.0 seconds"):
        sound_panel(np.zeros((4, 5)), np.zeros((4, 5)), seconds=0.0, title="")
