"""The report's drawings as SVG: an interval against what is asked, curves over steps, bars. Colours come from page.css.

Each is 360 units wide: on a phone one unit is one pixel, so that the words in it stay readable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.markup import Markup, signed, tag

WIDTH = 360


def interval(found: Mapping[str, Any], threshold: float, *, above: bool, name: str) -> Markup:
    """Estimate and bounds on a scale with zero; the side of the threshold where the bound should lie is tinted."""
    known = [found[key] for key in ("lower", "estimate", "upper") if found[key] is not None]
    low, high = _padded([*known, threshold, 0.0], 0.12)
    left, right, line, height = 14, WIDTH - 14, 46, 104

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    edge = x(threshold)
    good = (edge, right - edge) if above else (left, edge - left)
    parts = [
        tag("rect", x=_at(good[0]), y=22, width=_at(max(0.0, good[1])), height=48, class_="good"),
        tag("line", x1=_at(x(0)), x2=_at(x(0)), y1=22, y2=76, class_="zero"),
        tag("line", x1=_at(edge), x2=_at(edge), y1=16, y2=76, class_="threshold"),
        _text(edge, 12, f"{'asked' if above else 'allowed'} {signed(threshold, 3)}", "note", _anchor(edge)),
    ]
    if found["lower"] is not None and found["upper"] is not None:
        start, end = x(found["lower"]), x(found["upper"])
        parts += [
            tag("rect", x=_at(start), y=line - 5, width=_at(max(2.0, end - start)), height=10, rx=5, class_="range"),
            *[tag("line", x1=_at(at), x2=_at(at), y1=line - 10, y2=line + 10, class_="end") for at in (start, end)],
        ]
    if found["estimate"] is not None:
        parts.append(tag("circle", cx=_at(x(found["estimate"])), cy=line, r=6, class_="estimate"))
    parts.append(tag("line", x1=left, x2=right, y1=76, y2=76, class_="axis"))
    for value in _ticks(low, high, 4):
        parts.append(tag("line", x1=_at(x(value)), x2=_at(x(value)), y1=76, y2=80, class_="axis"))
        parts.append(_text(x(value), 94, f"{value:g}".replace("-", "\u2212"), "tick", "middle"))
    return _svg(height, f"{name}: estimate {signed(found['estimate'])}", parts)


def curves(found: Mapping[str, Sequence[tuple[int, float]]], title: str) -> Markup:
    """Loss by step, one line each, with its name at its end."""
    points = [point for curve in found.values() for point in curve]
    steps, losses = [step for step, _ in points], [loss for _, loss in points if math.isfinite(loss)]
    if not losses:
        return Markup("")
    first, last = min(steps), max(max(steps), min(steps) + 1)
    low, high = _padded(losses, 0.08)
    left, right, top, bottom, height = 40, WIDTH - 12, 28, 168, 200

    def place(step: int, loss: float) -> tuple[float, float]:
        return left + (right - left) * (step - first) / (last - first), bottom - (bottom - top) * (loss - low) / (
            high - low
        )

    parts: list[Markup] = []
    for value in _ticks(low, high, 4):
        y = place(first, value)[1]
        parts.append(tag("line", x1=left, x2=right, y1=_at(y), y2=_at(y), class_="grid"))
        parts.append(_text(left - 6, y + 4, f"{value:g}", "tick", "end"))
    for step in sorted({first, (first + last) // 2, last}):
        parts.append(_text(place(step, low)[0], bottom + 18, f"{step:,}", "tick", "middle"))
    for index, (name, curve) in enumerate(found.items()):
        kept = [place(step, loss) for step, loss in curve if math.isfinite(loss)]
        path = " ".join(f"{_at(x)},{_at(y)}" for x, y in kept)
        parts.append(tag("polyline", points=path, class_=f"curve curve{index}"))
        if len(kept) <= 12:
            parts += [tag("circle", cx=_at(x), cy=_at(y), r=3, class_=f"dot curve{index}") for x, y in kept]
        parts.append(tag("rect", x=left + 110 * index, y=8, width=14, height=4, rx=2, class_=f"key curve{index}"))
        parts.append(_text(left + 110 * index + 20, 14, name, "note", "start"))
    parts.append(_text(right, height - 2, "step", "tick", "end"))
    return _svg(height, title, parts)


def bars(found: Sequence[tuple[str, float]], title: str) -> Markup:
    """One upright bar per name."""
    most = max((value for _, value in found), default=0) or 1
    height, bottom, width = 132, 104, (WIDTH - 16) / max(1, len(found))
    parts = []
    for index, (name, value) in enumerate(found):
        x, tall = 8 + width * index, 84 * value / most
        parts.append(
            tag("rect", x=_at(x + 2), y=_at(bottom - tall), width=_at(width - 4), height=_at(tall), rx=2, class_="bar")
        )
        parts.append(_text(x + width / 2, bottom - tall - 4, f"{value:,.0f}", "tick", "middle"))
        parts.append(_text(x + width / 2, bottom + 16, name, "tick", "middle"))
    return _svg(height, title, parts)


def _svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return tag("svg", tag("title", title), *parts, viewBox=f"0 0 {WIDTH} {height}", role="img")


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> Markup:
    return tag("text", text, x=_at(x), y=_at(y), class_=kind, text_anchor=anchor)


def _anchor(x: float) -> str:
    return "start" if x < WIDTH * 0.25 else "end" if x > WIDTH * 0.75 else "middle"


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * share or max(abs(high), 0.01) * share
    return low - room, high + room


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers in between, about as many as wanted."""
    step: float = 10 ** math.floor(math.log10((high - low) / wanted))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= wanted + 1)
    first = math.ceil(low / step)
    return [round(step * index, 10) for index in range(first, math.floor(high / step) + 1)]


def _at(value: float) -> str:
    return f"{value:.1f}"
