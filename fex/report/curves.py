"""Figures of what has steps: protocols' curves, one line a method, and scores of maps by iteration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fex.storage.atomic import replacing

if TYPE_CHECKING:
    from fex.metrics.curve import Curve
    from fex.metrics.protocol_scores import ProtocolScores

__all__ = ["curve_file", "curve_picture", "draw_course", "draw_curves"]

_STYLES = ("-", "--", ":", "-.")


def curve_file(protocol: str, curve: str) -> str:
    """Name of the picture of a curve."""
    return f"{protocol}_{curve}.png".replace("/", "-")


def draw_curves(scores: "Mapping[str, Mapping[str, ProtocolScores]]", folder: str | Path) -> list[Path]:
    """Draws every curve of every protocol as ``PROTOCOL_CURVE.png`` in `folder`.

    Args:
        scores: by method, then by protocol.
        folder: made if missing.

    Returns:
        The files.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found: dict[tuple[str, str], dict[str, Curve]] = {}
    for method, protocols in scores.items():
        for protocol, score in protocols.items():
            for name, curve in score.curves().items():
                found.setdefault((protocol, name), {})[method] = curve
    written = []
    for (protocol, name), curves in found.items():
        figure = _curve_figure(curves, f"{protocol}: {name.replace('_', ' ')}")
        path = Path(folder) / curve_file(protocol, name)
        with replacing(path) as part:
            FigureCanvasAgg(figure).print_png(part)
        written.append(path)
    return written


def _curve_figure(curves: "Mapping[str, Curve]", title: str) -> Any:
    """One line a method."""
    from matplotlib.figure import Figure

    # As high as the names of the methods beside it need.
    figure = Figure(figsize=(8, max(4, 0.5 + 0.22 * len(curves))), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for number, (method, curve) in enumerate(curves.items()):
        # Ten colours; and no names as formulas, or hidden by an underscore.
        style, label = _STYLES[number // 10 % len(_STYLES)], f" {method}".replace("$", r"\$")
        axes.plot(curve.x, curve.y, style, marker=".", label=label)
        axes.set_xlabel(curve.x_name)
        axes.set_ylabel(curve.y_name)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")  # beside the lines, not over them
    return figure


def curve_picture(curves: "Mapping[str, Curve]", title: str) -> np.ndarray:
    """Curves by method as a picture (H, W, 3), uint8, RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(_curve_figure(curves, title))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_course(course: Sequence[Sequence[Mapping[str, Any]]], path: str | Path) -> None:
    """Draws every metric by iteration, with its interval, each in a panel of its own (IASSA, Figures 6 and 7).

    Args:
        course: rows (protocol, metric, value, ci95) after each iteration, the same metrics in each.
        path: the PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(course[0]))
    lines = -(-len(course[0]) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * lines), dpi=150, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for number, panel in enumerate(panels):
        if number >= len(course[0]):
            panel.set_axis_off()
            continue
        rows = [step[number] for step in course]
        low, high = zip(*(row["ci95"] for row in rows), strict=True)
        panel.fill_between(range(len(rows)), low, high, alpha=0.2)
        panel.plot([row["value"] for row in rows], marker=".")
        panel.set_title(f"{rows[0]['protocol']}: {rows[0]['metric'].replace('_', ' ')} (n = {rows[0]['n']:,})", size=9)
        panel.set_xlabel("iteration")
        panel.grid(alpha=0.3)
    with replacing(Path(path)) as part:
        FigureCanvasAgg(figure).print_png(part)
