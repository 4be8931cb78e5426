"""Curves as SVG text, without matplotlib: lines take the colour of the page's text."""

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 320, 170, 52, 10, 24, 24


def draw_curve(name: str, iterations: Sequence[int], values: Sequence[float]) -> str:
    """Returns an SVG element with one curve, its range on the axes and its last value in the title.

    Args:
        name: of the quantity.
        iterations: of each value, ascending.
        values: finite, as many.

    Raises:
        ValueError: no value, or not as many as iterations.
    """
    if not values or len(values) != len(iterations):
        raise ValueError(f"curve {name!r}: {len(values)} values at {len(iterations)} iterations")
    low, high = min(values), max(values)
    first, last = iterations[0], iterations[-1]
    points = [
        (_scaled(i, first, last, _LEFT, _WIDTH - _RIGHT),
         _scaled(v, low, high, _HEIGHT - _BOTTOM, _TOP))
        for i, v in zip(iterations, values, strict=True)
    ]  # fmt: skip
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    bottom, right, title = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, escape(name)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
        f'<text x="4" y="15" class="name">{title}</text>'
        f'<text x="{right}" y="15" text-anchor="end">{_number(values[-1])}</text>'
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" class="axis"/>'
        f'<text x="{_LEFT - 4}" y="{_TOP + 8}" text-anchor="end">{_number(high)}</text>'
        f'<text x="{_LEFT - 4}" y="{bottom}" text-anchor="end">{_number(low)}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{first}</text>'
        f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">iteration {last}</text>'
        f'<polyline points="{path}" class="line"/>'
        f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2.5" class="dot"/></svg>'
    )


def _scaled(value: float, low: float, high: float, start: float, end: float) -> float:
    """Maps low..high to start..end; a range of one value to the middle."""
    share = (value - low) / (high - low) if high > low else 0.5
    return start + share * (end - start)


def _number(value: float) -> str:
    return f"{value:.4g}"
