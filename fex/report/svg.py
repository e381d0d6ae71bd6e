"""Line charts as SVG text; no plotting library, so that a page stays small and needs nothing from elsewhere."""

from collections.abc import Mapping, Sequence

from fex.report.page import render

__all__ = ["line_chart", "pen"]

# Of Okabe and Ito (2008), told apart by the colour-blind too; used again with other dashes.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
_DASHES = ("", "6 3", "2 2", "10 3 2 3", "1 4")
LEFT, RIGHT, TOP, BOTTOM = 44, 450, 26, 246  # where the lines are


def pen(index: int) -> tuple[str, str]:
    """Colour and dashes of a line by its place among all."""
    return _PALETTE[index % len(_PALETTE)], _DASHES[index // len(_PALETTE) % len(_DASHES)]


def line_chart(
    series: Mapping[str, Sequence[float | None]], x: Sequence[float], *, title: str, x_label: str, y_label: str
) -> str:
    """One line for each series over x: y from 0 to 1, x from 0 to 1 or, where it goes beyond, to its largest number.

    Args:
        series: values by name, as many as x; None leaves a gap.
        x: positions, at least 0.
        title: over the chart.
        x_label: under it.
        y_label: beside it.

    Returns:
        An <svg> element. Each line carries its name, which browsers show under the pointer.

    Raises:
        ValueError: a series of another length than x.
    """
    for name, values in series.items():
        if len(values) != len(x):
            raise ValueError(f"Series {name!r} has {len(values)} values for {len(x)} positions, expected one each.")
    most = max(1.0, *x)

    def place(position: float, value: float) -> tuple[float, float]:
        return LEFT + (RIGHT - LEFT) * position / most, BOTTOM - (BOTTOM - TOP) * min(1.0, max(0.0, value))

    ticks = [
        (*place(tick * most, tick), f"{tick:.1f}", f"{tick:.1f}" if most == 1 else f"{tick * most:g}")
        for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    lines = []
    for index, (name, values) in enumerate(series.items()):
        points = [place(position, value) for position, value in zip(x, values, strict=True) if value is not None]
        lines.append((name, " ".join(f"{across:.1f},{down:.1f}" for across, down in points), *pen(index)))
    return render(
        "report/templates/chart.svg", left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM, title=title, x_label=x_label,
        y_label=y_label, ticks=ticks, lines=lines,
    )  # fmt: skip
