"""How every figure of the book looks: colours, sizes, formats, and one style for each attack.

Figures are drawn for white paper with a transparent ground; the book's style sheet turns their
lightness round in the dark theme and keeps their hues (`.drawing` in book.css).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping

from cycler import cycler

from .. import arguments

MEMBER, NONMEMBER = "#0072b2", "#d55e00"
"""Members and non-members, in every figure (Okabe and Ito's blue and vermilion)."""
INK, FAINT = "#1f2933", "#77808a"
"""Text and axes; what stays in the background."""

_BASELINE, _LOSS, _CONFIDENCE, _ENTROPY = "#77808a", "#332288", "#3a9fb5", "#b08d00"
_LEARNED, _SIMILARITY, _LIRA, _RMIA = "#9c3fbf", "#882255", "#0b6b2d", "#cc6677"
_REFERENCE, _QUANTILE, _LABEL, _WHITE = "#8a5a00", "#4393c3", "#661100", "#5d3a9b"
SOLID, DASHED, DOTTED, DASHDOT = "-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))
_STYLES: dict[str, tuple[str, object, str]] = {
    # Families share a colour; their members differ in dash and marker.
    "random": (_BASELINE, DOTTED, "."),
    "correctness": (_BASELINE, SOLID, "s"),
    "loss": (_LOSS, SOLID, "o"),
    "margin": (_LOSS, DASHDOT, "X"),
    "loss_normalized": (_LOSS, DASHED, "h"),
    "confidence": (_CONFIDENCE, SOLID, "^"),
    "entropy": (_ENTROPY, SOLID, "D"),
    "modified_entropy": (_ENTROPY, DASHED, "d"),
    "entropy_careless": (_ENTROPY, DOTTED, "x"),
    "entropy_normalized": (_ENTROPY, DASHDOT, "*"),
    "learned": (_LEARNED, SOLID, "P"),
    "learned_class_free": (_LEARNED, DASHED, "p"),
    "stacked": (_LEARNED, DASHDOT, "8"),
    "similarity": (_SIMILARITY, SOLID, "v"),
    "lira": (_LIRA, SOLID, "o"),
    "lira_offline": (_LIRA, DASHED, "<"),
    "lira_own_variance": (_LIRA, DOTTED, ">"),
    "rmia": (_RMIA, SOLID, "D"),
    "rmia_offline": (_RMIA, DASHED, "d"),
    "base": (_RMIA, DASHDOT, "H"),
    "calibrated": (_REFERENCE, SOLID, "s"),
    "reference": (_REFERENCE, DASHED, "^"),
    "population": (_REFERENCE, DOTTED, "v"),
    "quantile": (_QUANTILE, SOLID, "X"),
    "augmentation": (_LABEL, DASHED, "P"),
    "boundary": (_LABEL, SOLID, "p"),
    "gradient": (_WHITE, SOLID, "*"),
}
_ALIASES = {
    "baseline": "correctness",
    "ml": "learned",
    "machine_learning": "learned",
    "lira_online_own_variance": "lira_own_variance",
    "lira_online": "lira",
    "lira_offline_own_variance": "lira_offline",
    "lira_offline_two_sided": "lira_offline",
    "lira_offline_two_sided_own_variance": "lira_offline",
    "rmia_online": "rmia",
    "attack_p": "population",
    "attack_r": "reference",
    "calibrated_loss": "calibrated",
    "calibrated_margin": "calibrated",
    "label_only": "boundary",
    "hopskipjump": "boundary",
}
_OTHER = (INK, "#8a5a00", "#4393c3", "#661100", "#5d3a9b", "#2a9187")


def styles() -> tuple[str, ...]:
    """The attacks that have a style of their own."""
    return tuple(_STYLES)


def attack_style(label: str) -> dict | None:
    """Colour, dash and marker of the attack that a label names, None if it names none.

    What stands in parentheses or after a comma is no part of the name, unless it makes the name of
    another attack.

    >>> attack_style("LiRA online (AUC 0.61)") == attack_style("lira")
    True
    """
    arguments.text("label", label)
    plain = re.sub(r"\(.*?\)", "", label)
    for text in (plain, plain.split(",")[0]):
        key = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
        key = _ALIASES.get(key, key)
        if key in _STYLES:
            colour, dash, marker = _STYLES[key]
            return {"color": colour, "linestyle": dash, "marker": marker}
    return None


def line_styles(labels: Iterable[str]) -> dict[str, dict]:
    """A style for each of a figure's lines: the attack's own, else the next free one."""
    found: dict[str, dict] = {}
    others = (
        {"color": c, "linestyle": d, "marker": m}
        for d, m in zip((SOLID, DASHED, DOTTED, DASHDOT), "osD^", strict=True)
        for c in _OTHER
    )
    labels = list(labels) if isinstance(labels, Mapping) else labels
    for label in arguments.several("labels", labels, "a list of names"):
        known = attack_style(label)
        if known is None or known in found.values():
            known = next(others, {"color": FAINT, "linestyle": SOLID, "marker": "."})
        found[label] = known
    return found


def without_marker(style: Mapping) -> dict:
    """The style of a line that is drawn through many points."""
    return {name: value for name, value in style.items() if name != "marker"}


def use_style() -> None:
    """Set the book's colours, sizes and fonts for every later figure of this process.

    In a notebook figures become SVG with a transparent ground, the same bytes in each run.
    """
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "axes.edgecolor": FAINT,
            "axes.labelcolor": INK,
            "axes.prop_cycle": cycler(color=(MEMBER, NONMEMBER, *_OTHER)),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 10,
            "figure.dpi": 100,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "font.size": 10,
            "grid.color": "#c8cdd3",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.7,
            "svg.hashsalt": "mia",
            "text.color": INK,
            "xtick.color": FAINT,
            "xtick.labelcolor": INK,
            "ytick.color": FAINT,
            "ytick.labelcolor": INK,
        }
    )
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
