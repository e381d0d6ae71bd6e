"""Figures of protocols that have steps: one line a method, such as Figure 3 of the paper."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fex.atomic import replacing

if TYPE_CHECKING:
    from fex.metrics.protocol_scores import ProtocolScores

__all__ = ["draw_curves"]


def draw_curves(scores: "Mapping[str, Mapping[str, ProtocolScores]]", folder: str | Path) -> list[Path]:
    """Draws every curve of every protocol as ``PROTOCOL_CURVE.png`` in `folder`.

    Args:
        scores: by method, then by protocol.
        folder: made if missing.

    Returns:
        The files.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found: dict[tuple[str, str], dict[str, object]] = {}
    for method, protocols in scores.items():
        for protocol, score in protocols.items():
            for name, curve in score.curves().items():
                found.setdefault((protocol, name), {})[method] = curve
    written = []
    for (protocol, name), curves in found.items():
        figure = Figure(figsize=(8, 4), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        for method, curve in curves.items():
            axes.plot(curve.x, curve.y, marker=".", label=method)  # type: ignore[attr-defined]
        axes.set_xlabel(curve.x_name)  # type: ignore[attr-defined]
        axes.set_ylabel(curve.y_name)  # type: ignore[attr-defined]
        axes.set_title(f"{protocol}: {name.replace('_', ' ')}")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper")  # beside the lines, not over them
        path = Path(folder) / f"{protocol}_{name}.png"
        with replacing(path) as part:
            FigureCanvasAgg(figure).print_png(part)
        written.append(path)
    return written
