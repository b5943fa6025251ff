"""The report's figures as inline SVG whose colours follow the page, light, dark or printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 560, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 26, 12, 50


class _Axes:
    """Positions on one pair of axes, each linear or logarithmic."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log_x: bool, log_y: bool):
        self.x, self.y, self.log_x, self.log_y = x, y, log_x, log_y

    def at_x(self, value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * _share(value, self.x, self.log_x)

    def at_y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * _share(value, self.y, self.log_y)

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """A step function: from each point right, then up, as an exact ROC curve goes."""
        points = [(self.at_x(x), self.at_y(y)) for x, y in zip(xs, ys, strict=True)]
        parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
        last = parts[0][1:]
        for x, y in points[1:]:
            here = f"{x:.1f} {y:.1f}"
            if here != last:
                parts.append(f"H{x:.1f}V{y:.1f}")
                last = here
        return "".join(parts)

    def frame(self, x_label: str, y_label: str, x_ticks, y_ticks) -> str:
        bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
        out = [f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
        for value, text in x_ticks:
            x = self.at_x(value)
            out.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
            out.append(
                f'<text class="x" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{text}</text>'
            )
        for value, text in y_ticks:
            y = self.at_y(value)
            out.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            out.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        middle = (_LEFT + right) / 2
        out.append(
            f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
        )
        out.append(
            f'<text x="14" y="{(_TOP + bottom) / 2:.0f}" text-anchor="middle" '
            f'transform="rotate(-90 14 {(_TOP + bottom) / 2:.0f})">{escape(y_label)}</text>'
        )
        return "".join(out)


def _share(value: float, ends: tuple[float, float], log: bool) -> float:
    low, high = ends
    value = min(max(value, low), high)
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _rates(low: float) -> list[tuple[float, str]]:
    """Powers of ten from `low` to 1, as per cent."""
    powers = range(math.ceil(math.log10(low) - 1e-9), 1)
    return [(10.0**p, f"{10.0 ** (p + 2):g}&#8201;%") for p in powers]


def _figure(name: str, title: str, body: str) -> Markup:
    return Markup(  # nosec B704: what it is made of is numbers, and escaped
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title">'
        f'<title id="{name}-title">{escape(title)}</title>{body}</svg>'
    )


def roc(curves: Sequence[dict], nonmembers: int) -> Markup:
    """ROC curves on double logarithmic axes; the first one's band, and what chance gives."""
    low = 10.0 ** math.floor(math.log10(min(0.1, 1 / max(nonmembers, 10))))
    axes = _Axes((low, 1.0), (low, 1.0), True, True)
    out = [axes.frame("false-positive rate", "true-positive rate", _rates(low), _rates(low))]
    first = curves[0]
    upper, lower = first["band_high"], first["band_low"]
    forth = axes.path([low, *upper["fpr"], 1.0], [upper["tpr"][0], *upper["tpr"], 1.0])
    back = axes.path([low, *lower["fpr"]], [0.0, *lower["tpr"]])
    points = back[1:].replace("H", "\nH").split("\n")
    out.append(f'<path class="band" d="{forth}{_reversed(points)}Z"/>')
    out.append(
        f'<path class="chance" d="{axes.path([low, 1], [low, low])[:0]}'
        f'M{axes.at_x(low):.1f} {axes.at_y(low):.1f}L{axes.at_x(1):.1f} {axes.at_y(1):.1f}"/>'
    )
    for index, curve in enumerate(curves):
        out.append(f'<path class="line s{index}" d="{axes.path(curve["fpr"], curve["tpr"])}"/>')
    names = ", ".join(curve["title"] for curve in curves)
    return _figure("roc", f"ROC curves of {names}, both axes logarithmic", "".join(out))


def _reversed(points: Sequence[str]) -> str:
    """The points of a step path (first "x y", then "HxVy") walked back, as straight lines."""
    walked: list[tuple[str, str]] = []
    x, y = points[0].split()
    walked.append((x, y))
    for step in points[1:]:
        across, up = step[1:].split("V")
        walked += [(across, y), (across, up)]
        y = up
    return "".join(f"L{x} {y}" for x, y in reversed(walked))


def distribution(found: dict) -> Markup:
    """Histograms of members' and non-members' scores, as shares."""
    edges = found["edges"]
    top = max(*found["members"], *found["nonmembers"], 1e-9) * 1.05
    axes = _Axes((edges[0], edges[-1]), (0.0, top), False, False)
    ticks = [(value, f"{value:.3g}") for value in _even(edges[0], edges[-1], 5)]
    shares = [(value, f"{100 * value:.2g}&#8201;%") for value in _even(0.0, top, 4)]
    out = [axes.frame(f"score of {found['title']}", "share of records", ticks, shares)]
    for index, kind in enumerate(("nonmembers", "members")):
        out.append(f'<path class="bars k{index}" d="{_bars(axes, edges, found[kind])}"/>')
    return _figure(
        "distribution", "Histogram of scores of members and of non-members", "".join(out)
    )


def exposure(found: dict) -> Markup:
    """Histograms of the false-positive rate at which each record is called a member."""
    edges = found["edges"]
    top = max(*found["members"], *found["nonmembers"], 1e-9) * 1.05
    axes = _Axes((edges[0], 1.0), (0.0, top), True, False)
    shares = [(value, f"{100 * value:.2g}&#8201;%") for value in _even(0.0, top, 4)]
    label = "false-positive rate at which it is recognised"
    out = [axes.frame(label, "share of records", _rates(edges[0]), shares)]
    for index, kind in enumerate(("nonmembers", "members")):
        out.append(f'<path class="bars k{index}" d="{_bars(axes, edges, found[kind])}"/>')
    return _figure(
        "exposure",
        "Histogram of the false-positive rate at which records are recognised",
        "".join(out),
    )


def _bars(axes: _Axes, edges: Sequence[float], shares: Sequence[float]) -> str:
    floor = axes.at_y(0.0)
    parts = [f"M{axes.at_x(edges[0]):.1f} {floor:.1f}"]
    for _left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        parts.append(f"V{axes.at_y(share):.1f}H{axes.at_x(right):.1f}")
    return "".join(parts) + f"V{floor:.1f}Z"


def _even(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers between `low` and `high`."""
    step = (high - low) / count
    power = 10.0 ** math.floor(math.log10(step))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= step * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
