"""Line charts as SVG text; no plotting library, so that a page stays small and needs nothing from elsewhere."""

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["PALETTE", "line_chart"]

# Of Okabe and Ito (2008), told apart by the colour-blind too; used again with other dashes.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
DASHES = ("", "6 3", "2 2", "10 3 2 3", "1 4")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 460, 280, 44, 34, 26, 10


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
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(position: float, value: float) -> tuple[float, float]:
        return LEFT + inner_width * position / most, TOP + inner_height * (1 - min(1.0, max(0.0, value)))

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="16" class="t">{escape(title)}</text>',
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        across, down = place(0, tick)
        right, _ = place(most, tick)
        parts.append(f'<path d="M{across:.1f} {down:.1f}H{right:.1f}" class="g"/>')
        parts.append(f'<text x="{across - 6:.1f}" y="{down + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
        across, down = place(tick * most, 0)
        label = f"{tick:.1f}" if most == 1 else f"{tick * most:g}"
        parts.append(f'<text x="{across:.1f}" y="{down + 14:.1f}" text-anchor="middle">{label}</text>')
    parts.append(
        f'<text x="{LEFT + inner_width / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    middle = TOP + inner_height / 2
    parts.append(
        f'<text x="11" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 11 {middle:.0f})">'
        f"{escape(y_label)}</text>"
    )
    for index, (name, values) in enumerate(series.items()):
        points = [(position, value) for position, value in zip(x, values, strict=True) if value is not None]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(*point) for point in points))
        dash = DASHES[index // len(PALETTE) % len(DASHES)]
        style = f'stroke="{PALETTE[index % len(PALETTE)]}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        parts.append(f'<polyline points="{path}" class="l" {style}><title>{escape(name)}</title></polyline>')
    return "".join(parts) + "</svg>"
