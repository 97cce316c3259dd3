"""Draws cold starts: a dot for each, and a line at the median."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

_LEFT: Final = 80
_WIDTH: Final = 620
_ROW: Final = 36
_TOP: Final = 30
_MARKS: Final = 8


def svg(starts: Mapping[str, Sequence[float]]) -> str:
    """Return a drawing of the milliseconds of each variant's cold starts, readable on light and on dark ground."""
    most = max(max(values) for values in starts.values())
    step = next(step for step in (50, 100, 250, 500, 1000, 2500, 5000, most) if most / step <= _MARKS)
    scale = _WIDTH / most
    height = _TOP + _ROW * len(starts) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 40} {height}">',
        '<g font-family="sans-serif" font-size="13" fill="#777" stroke="#777">',
        f'<text x="{_LEFT}" y="16" stroke="none">Cold start to the end of one registration, ms</text>',
    ]
    for mark in range(0, int(most) + 1, int(step)):
        x = _LEFT + mark * scale
        parts += [
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - 30}" stroke-opacity="0.3"/>',
            f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle" stroke="none">{mark}</text>',
        ]
    for number, (name, values) in enumerate(starts.items()):
        y, middle = _TOP + _ROW * (number + 0.5), _LEFT + median(values) * scale
        parts += [
            f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end" stroke="none">{name}</text>',
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 12:.1f}" y2="{y + 12:.1f}" stroke="#d33"/>',
            '<g fill="#27c" fill-opacity="0.5" stroke="none">',
            *(f'<circle cx="{_LEFT + value * scale:.1f}" cy="{y:.1f}" r="3.5"/>' for value in values),
            "</g>",
        ]
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"
