"""The chart of a run as SVG: for every case how fsstore compares with each contender, on a logarithmic scale.

Text and rectangles only, readable on a light and on a dark page.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log2

from bench.peers import TITLES
from bench.rounds import Outcome

_COLOURS = {
    "floor": "#8a8f98",
    "sqlite": "#2f6fdf",
    "lmdb": "#1f9d68",
    "rocksdb": "#d98b1f",
    "eventsourcing": "#a04bd0",
    "eventsourcing-app": "#d0507f",
    "umadb": "#3aa6b9",
}
_WIDTH, _LEFT, _RIGHT = 960, 400, 60
_BAR, _GAP, _TITLE = 13, 14, 20
_NOT_DRAWN = ("fairness", "p50", "max", "processor")
_LEAST, _MOST = -2, 5
"""A quarter, and 32 times."""


def chart(outcomes: Sequence[Outcome], measured: str) -> str:
    """One group of bars for each figure that has peers; a bar to the right: fsstore is better."""
    parts: list[str] = []
    y = 90
    for outcome in outcomes:
        figures = [figure for figure in outcome.units if figure not in _NOT_DRAWN]
        for figure in figures:
            ratios = {name: ratio for name in _COLOURS if (ratio := outcome.ratio(figure, "fsstore", name)) is not None}
            if not ratios:
                continue
            title = outcome.title if len(figures) == 1 else f"{outcome.title}, {figure}"
            parts.append(f'<text x="16" y="{y + 12}" class="title">{escape(title)}</text>')
            y += _TITLE
            for name, ratio in ratios.items():
                parts.append(_bar(y, name, ratio))
                y += _BAR + 3
            y += _GAP
    height = y + 10
    lines = [_line(power, height) for power in range(_LEAST, _MOST + 1)]
    style = (
        "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}.head{font-size:16px;font-weight:600}"
        "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}}"
    )
    head = "fsstore compared with each peer in the same rounds"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{head}">\n'
        f"<style>{style}</style>\n"
        f'<text x="16" y="28" class="head">{head}</text>\n'
        f'<text x="16" y="48">Median ratio, logarithmic; right of 1: fsstore is better. {measured}.</text>\n'
        + "\n".join([*lines, *parts])
        + "\n</svg>\n"
    )


def _x(power: float) -> float:
    return _LEFT + (power - _LEAST) / (_MOST - _LEAST) * (_WIDTH - _LEFT - _RIGHT)


def _line(power: int, height: int) -> str:
    label = str(2**power) if power >= 0 else f"1/{2**-power}"
    width = 1.5 if power == 0 else 0.5
    x = _x(power)
    return (
        f'<line x1="{x:.1f}" y1="74" x2="{x:.1f}" y2="{height - 8}" stroke="#8a8f98" stroke-width="{width}"/>'
        f'<text x="{x:.1f}" y="68" text-anchor="middle">{label}</text>'
    )


def _bar(y: int, name: str, ratio: float) -> str:
    one, end = _x(0), _x(min(max(log2(ratio), _LEAST), _MOST))
    left, width = min(one, end), max(abs(end - one), 1)
    return (
        f'<text x="{_LEFT - 24}" y="{y + 11}" text-anchor="end">{escape(TITLES[name])}</text>'
        f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[name]}"/>'
        f'<text x="{max(one, end) + 5:.1f}" y="{y + 11}">{ratio:.2f}</text>'
    )
