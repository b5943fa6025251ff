"""Drawings of who knows what, after the report's figures 1 to 3."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from .style import FAINT, INK, MEMBER, NONMEMBER

_PALE = {MEMBER: "#d6e8f4", NONMEMBER: "#fbe3d3", FAINT: "#eceff1"}


def _box(ax: Axes, x: float, y: float, text: str, edge: str = FAINT, fill: str | None = None):
    """A box around a text, which arrows can be tied to."""
    style = {
        "boxstyle": "round,pad=0.45",
        "facecolor": _PALE[edge] if fill is None else fill,
        "edgecolor": edge,
    }
    colour = "white" if fill == INK else INK
    return ax.text(
        x, y, text, ha="center", va="center", fontsize=9, color=colour, bbox=style, zorder=3
    )


def _arrow(
    ax: Axes,
    start: Text,
    end: Text,
    text: str = "",
    *,
    dashed: bool = False,
    bend: float = 0.0,
    lift: float = 0.0,
) -> None:
    """From the edge of one box to the edge of another."""
    a, b = start.get_position(), end.get_position()
    ax.annotate(
        "",
        b,
        a,
        arrowprops={
            "arrowstyle": "-|>",
            "color": INK,
            "linewidth": 1.1,
            "linestyle": (0, (4, 2)) if dashed else "-",
            "patchA": start.get_bbox_patch(),
            "patchB": end.get_bbox_patch(),
            "shrinkA": 0,
            "shrinkB": 0,
            "connectionstyle": f"arc3,rad={bend}",
        },
        zorder=2,
    )
    if text:
        x, y = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2 + lift
        ax.text(x, y, text, ha="center", va="center", fontsize=8, color=INK, zorder=4)


def _canvas(ax: Axes, title: str) -> None:
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")
    ax.set_title(title, fontsize=10, loc="left")


def threat_models() -> Figure:
    """What a white-box and a black-box attacker see (after the report's figures 1 and 2)."""
    figure, axes = plt.subplots(2, 1, figsize=(5.4, 3.4), layout="constrained")
    for ax, white in zip(axes, (True, False), strict=True):
        whose = "holds the model" if white else "can only ask"
        _canvas(ax, f"{'White' if white else 'Black'} box: the attacker {whose}")
        y = 0.66
        record = _box(ax, 0.08, y, "record\n$x, y$")
        model = _box(ax, 0.36, y, "target\nmodel", fill="none" if white else INK)
        answer = _box(ax, 0.64, y, "answer\n$\\hat y$")
        attack = _box(ax, 0.91, y, "attack:\nmember?", MEMBER)
        _arrow(ax, record, model)
        _arrow(ax, model, answer)
        _arrow(ax, answer, attack)
        if white:
            inside = _box(ax, 0.36, 0.12, "weights, gradients,\nhidden layers")
            _arrow(ax, model, inside)
            _arrow(ax, inside, attack, bend=0.15)
        else:
            ax.text(0.36, 0.36, "closed", ha="center", fontsize=8, color=FAINT)
    return figure


def shadow_training() -> Figure:
    """k shadow models on 2k disjoint sets teach the attack (after the report's figure 3).

    Solid arrows train, dashed ones ask: D is trained on and asked, D' is only asked.
    """
    figure, ax = plt.subplots(figsize=(5.6, 5.4), layout="constrained")
    _canvas(ax, "")
    outputs = []
    for y, i in ((0.86, "1"), (0.50, "k")):
        inside = _box(ax, 0.08, y + 0.075, f"$D_{i}$", MEMBER)
        outside = _box(ax, 0.08, y - 0.075, f"$D'_{i}$", NONMEMBER)
        model = _box(ax, 0.38, y, f"shadow\nmodel {i}")
        held = _box(ax, 0.69, y + 0.075, "answers, label 1", MEMBER)
        not_held = _box(ax, 0.69, y - 0.075, "answers, label 0", NONMEMBER)
        _arrow(ax, inside, model, "trains", bend=-0.22, lift=0.075)
        _arrow(ax, inside, model, dashed=True, bend=0.12)
        _arrow(ax, outside, model, "is asked", dashed=True, lift=-0.055)
        _arrow(ax, model, held, dashed=True)
        _arrow(ax, model, not_held, dashed=True)
        outputs += [held, not_held]
    ax.text(0.38, 0.68, "\u22ee", ha="center", va="center", fontsize=14)
    attack = _box(ax, 0.94, 0.30, "attack", MEMBER, fill="none")
    for answers in outputs:
        _arrow(ax, answers, attack, bend=-0.15)
    record = _box(ax, 0.08, 0.12, "record\n$x, y$")
    target = _box(ax, 0.38, 0.12, "target\nmodel", fill=INK)
    answer = _box(ax, 0.69, 0.12, "answer\n$\\hat y$")
    verdict = _box(ax, 0.94, 0.02, "member?", MEMBER)
    _arrow(ax, record, target, "asks", dashed=True, lift=0.035)
    _arrow(ax, target, answer, dashed=True)
    _arrow(ax, answer, attack)
    _arrow(ax, attack, verdict)
    ax.axhline(0.245, xmin=0.0, xmax=0.82, color=FAINT, linewidth=0.8, linestyle=":")
    return figure
