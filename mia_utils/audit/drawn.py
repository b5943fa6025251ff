"""What the report's figures show, as plain numbers: curves, histograms, exposure."""

from __future__ import annotations

import numpy as np

from ..evaluation import roc_band, roc_curve
from .measure import ranked, recognised_at
from .scores import Scored

_POINTS = 300  # of a curve
_BINS = 48


def curve(each: Scored, members: np.ndarray, level: float) -> dict:
    """ROC of one attack with a simultaneous band, thinned to a few hundred points."""
    scores, inside, _ = ranked(each, members)
    exact = roc_curve(scores, inside)
    half = 1 - (1 - level) / 2
    below = roc_band(scores, inside, level=half)
    # With negated scores the same band says what no threshold reaches: 1 - TPR at 1 - FPR.
    above = roc_band(-scores, inside, level=half)
    return {
        "name": each.name,
        "title": each.title,
        **_points(exact.fpr, exact.tpr),
        "band_low": _points(below.fpr, below.tpr_low),
        "band_high": _points((1 - above.fpr)[::-1], (1 - above.tpr_low)[::-1]),
    }


def _points(fpr: np.ndarray, tpr: np.ndarray) -> dict:
    keep = _thin(fpr)
    return {"fpr": fpr[keep].tolist(), "tpr": tpr[keep].tolist()}


def _thin(x: np.ndarray) -> np.ndarray:
    """Positions of at most a few hundred points, evenly spread on a logarithmic axis."""
    if x.size <= _POINTS:
        return np.arange(x.size)
    grid = np.geomspace(x[x > 0].min(), 1, _POINTS)
    found = np.searchsorted(x, grid, side="right") - 1
    return np.unique(np.concatenate([[0], found, [x.size - 1]]))


def histogram(each: Scored, members: np.ndarray) -> dict:
    """Shares of members and non-members by score, the outermost 0.1 % in the outermost bins."""
    scores, inside, _ = ranked(each, members)
    finite = scores[np.isfinite(scores)]
    low, high = np.quantile(finite, [0.001, 0.999]) if finite.size else (0.0, 1.0)
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    clipped = np.clip(scores, low, high)
    shares = [np.histogram(clipped[kind], edges)[0] / kind.sum() for kind in (inside, ~inside)]
    return {
        "name": each.name,
        "title": each.title,
        "edges": edges.tolist(),
        "members": shares[0].tolist(),
        "nonmembers": shares[1].tolist(),
    }


def exposure(lead: Scored, members: np.ndarray) -> dict:
    """Shares of members and non-members by the false-positive rate at which they are accused."""
    rate = recognised_at(lead.ranking, members)
    used = ~np.isnan(rate)
    edges = np.geomspace(min(rate[used].min(), 0.1) * (1 - 1e-9), 1, 25)
    shares = []
    for kind in (members & used, ~members & used):
        shares.append((np.histogram(rate[kind], edges)[0] / kind.sum()).tolist())
    return {"edges": edges.tolist(), "members": shares[0], "nonmembers": shares[1]}
