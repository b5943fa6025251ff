"""Networks as rows of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import arguments
from ..errors import InputError
from . import given
from .style import FAINT, INK

if TYPE_CHECKING:
    from ..training import Layer

_KINDS = {
    # the first word of a kind: (as it is written, colour)
    "convolution": ("conv", "#4393c3"),
    "residual": ("block", "#882255"),
    "fused": ("fused", "#2a9187"),
    "MBConv": ("MBConv", "#2a9187"),
    "dense": ("dense", "#b08d00"),
}
_WIDTH = 5.6
_PITCH = 1.0
_BOX = 0.84


def networks(drawn: Mapping[str, Sequence[Layer]]) -> Figure:
    """One row a network, {title: `training.layers`}: a box for each layer that has parameters, as
    tall as the side of its output; above it how many there are, below it channels or units.

    Raises
    ------
    InputError
        If there is no network, or one without layers.
    """
    given.named(drawn, "plots.networks(drawn)", "{title: layers(...)}", empty=True)
    for title, found in drawn.items():
        for layer in arguments.several(f"plots.networks, {title!r}", found, "layers(...)"):
            _check(layer, f"plots.networks, {title!r}: layer")
    if not drawn or not all(drawn.values()):
        raise InputError("plots.networks got no network; expected {title: layers(...)}")
    with_parameters = {t: [x for x in layers if x.parameters] for t, layers in drawn.items()}
    widest = max(map(len, with_parameters.values()))
    figure, axes = plt.subplots(
        len(drawn), 1, figsize=(_WIDTH, 1.05 * len(drawn)), layout="constrained", squeeze=False
    )
    for ax, (title, layers) in zip(axes.flat, with_parameters.items(), strict=True):
        for place, layer in enumerate(layers):
            _box(ax, place * _PITCH, layer)
        ax.set(xlim=(-0.6, max(widest, 8) * _PITCH - 0.4), ylim=(-0.5, 1.15))
        ax.set_title(title, fontsize=9, loc="left", color=INK)
        ax.axis("off")
    return figure


def _box(ax, x: float, layer: Layer) -> None:
    side = layer.output[1] if len(layer.output) == 3 else 1
    height = 0.2 + 0.13 * log2(side)
    word, colour = _KINDS.get(layer.kind.split()[0], (layer.kind, FAINT))
    ax.add_patch(Rectangle((x - _BOX / 2, 0), _BOX, height, facecolor=colour, edgecolor="none"))
    label = {"ha": "center", "fontsize": 7.5}
    channels = f"{layer.output[0]}" + (f"\n{side}x{side}" if len(layer.output) == 3 else "")
    ax.text(x, -0.06, channels, va="top", color=INK, **label)
    times = f"{layer.count} x " if layer.count > 1 else ""
    ax.text(x, height + 0.04, times + word, va="bottom", color=FAINT, **label)


def _check(layer: Any, role: str) -> None:
    if not hasattr(layer, "output") or not hasattr(layer, "_fields") or len(layer) != 5:
        raise InputError(f"{role} is {layer!r:.80}; expected a training.Layer")
    arguments.text(f"{role}: kind", layer.kind)
    arguments.count(f"{role}: count", layer.count)
    arguments.count(f"{role}: parameters", layer.parameters, least=0)
    for side in arguments.several(f"{role}: output", layer.output, "(C, H, W) or (units,)"):
        arguments.count(f"{role}: output", side)
    if not layer.kind.strip() or len(layer.output) not in (1, 3):
        raise InputError(
            f"{role} is {layer!r:.80}; expected a kind, and output (C, H, W) or (units,)"
        )
