"""Exact ROC curves, AUC, TPR at low FPR and thresholds, with ties and infinities.

A record is called a member when its score is at least the threshold. Scores are float (records,)
of one target model, higher for members; +inf and -inf are scores like any other, NaN is refused.
Members are bool (records,). Scores of different targets share no scale, so these functions take
one target at a time.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from .. import arguments
from ..arrays import as_bool, as_numbers
from ..errors import InputError, shown

MIN_FALSE_POSITIVES = 10
"""A rate of f needs this many false positives among the non-members to be measured at all."""
_LEAST_RATE = 1e-15


class Roc(NamedTuple):
    """ROC curve from (0, 0) to (1, 1), one point a distinct score.

    `fpr`, `tpr` and `thresholds` are float64 (points,): a point holds the rates of calling members
    the records with score >= threshold. The first calls no record a member; its threshold is +inf.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


class Threshold(NamedTuple):
    """A threshold and the balanced accuracy that it reaches on the records it was chosen on."""

    threshold: float
    balanced_accuracy: float


def check_pairs(scores, members, where: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and members as bool, both (records,), at least one record of each kind.

    Raises
    ------
    InputError
        If shapes disagree, scores are no numbers or one is NaN, members are not bool (or 0 and 1),
        or one of the two groups is empty. `where` (such as "target 3") opens the message.
    """
    prefix = f"{where}: " if where else ""
    scores = as_numbers(scores, f"{prefix}scores").astype(np.float64, copy=False)
    members = as_bool(members, f"{prefix}members")
    if scores.ndim != 1 or members.shape != scores.shape:
        raise InputError(
            f"{prefix}scores have shape {scores.shape} and members {members.shape}; "
            "expected one target's records, both (records,)"
        )
    bad = np.isnan(scores)
    if bad.any():
        raise InputError(
            f"{prefix}{int(bad.sum())} of {scores.size} scores are NaN, first at record "
            f"{int(bad.argmax())}; score every evaluated record or leave it out of `evaluated`"
        )
    count = int(members.sum())
    if count == 0 or count == members.size:
        raise InputError(
            f"{prefix}{count} members and {members.size - count} non-members among the evaluated "
            "records; expected at least one of each"
        )
    return scores, members


def _counts(scores: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distinct scores, largest first, with the members and non-members at or above each (int64)."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, sorted_members = scores[order], members[order]
    # The last position of every run of equal scores (a difference would be NaN between infinities).
    last = np.append(np.flatnonzero(sorted_scores[1:] != sorted_scores[:-1]), scores.size - 1)
    above = np.cumsum(sorted_members)[last]
    return sorted_scores[last], above, last + 1 - above


def roc_curve(scores, members) -> Roc:
    """The exact ROC curve: every distinct score gives one point, tied records move together.

    A constant score gives the two points (0, 0) and (1, 1).

    >>> curve = roc_curve(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
    >>> curve.fpr.tolist(), curve.tpr.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    scores, members = check_pairs(scores, members)
    values, hits, alarms = _counts(scores, members)
    return Roc(
        fpr=np.concatenate([[0.0], alarms / alarms[-1]]),
        tpr=np.concatenate([[0.0], hits / hits[-1]]),
        thresholds=np.concatenate([[np.inf], values]),
    )


def auc(scores, members) -> float:
    """Area under the ROC curve: chance that a member outscores a non-member, ties counting half.

    Computed from ranks (Mann-Whitney), which is exact.

    >>> auc(np.zeros(4), np.array([True, False, False, True]))
    0.5
    """
    scores, members = check_pairs(scores, members)
    m = int(members.sum())
    n = members.size - m
    return float((rankdata(scores)[members].sum() - m * (m + 1) / 2) / (m * n))


def needed_nonmembers(fpr: float) -> int:
    """The fewest non-members on which a rate of `fpr` allows ten false positives.

    Raises
    ------
    InputError
        If fpr is not in (0, 1], or below 1e-15.

    >>> needed_nonmembers(0.001)
    10000
    """
    if not (isinstance(fpr, Real) and 0 < fpr <= 1):
        raise InputError(f"fpr={shown(fpr)}; expected a false-positive rate in (0, 1]")
    if fpr < _LEAST_RATE:
        raise InputError(f"fpr={shown(fpr)}; no data set measures a rate below {_LEAST_RATE:g}")
    # The tolerance undoes rounding alone.
    return math.ceil(MIN_FALSE_POSITIVES / fpr * (1 - 1e-12))


def not_measurable(nonmembers: int, needed: int) -> str:
    """Why a rate is not measured, and what it would take."""
    return f"not measurable with {nonmembers:,} non-members; {needed:,} are needed"


def allowed_false_positives(nonmembers: int, fpr: float) -> int:
    """floor(non-members x fpr), the false positives that a threshold at rate `fpr` may make.

    Raises
    ------
    InputError
        If fpr is not in (0, 1], or non-members x fpr < 10: the message says how many are needed.
    """
    needed = needed_nonmembers(fpr)
    if nonmembers < needed:
        raise InputError(f"TPR at FPR {fpr:g} is {not_measurable(nonmembers, needed)}")
    # As above: 0.29 * 100 is 28.999999999999996.
    return math.floor(nonmembers * fpr * (1 + 1e-12))


def hits_above_quantile(scores: np.ndarray, members: np.ndarray, allowed: int) -> int:
    """Members strictly above the (allowed + 1)-th largest non-member (all, past the last)."""
    rest = scores[~members]
    if allowed >= rest.size:
        return int(members.sum())
    cut = np.partition(rest, rest.size - 1 - allowed)[rest.size - 1 - allowed]
    return int((scores[members] > cut).sum())


def tpr_at_fpr(scores, members, fpr: float) -> float:
    """The largest TPR of any threshold whose empirical FPR is at most `fpr`.

    This is the value of the step ROC curve: nothing is interpolated between two thresholds, so that
    an attacker could really use it.

    Raises
    ------
    InputError
        If non-members x fpr < 10 (the message names the number needed), or fpr is not in (0, 1].

    >>> members = np.arange(40) % 2 == 0
    >>> tpr_at_fpr(np.where(members, 1.0, 0.0), members, 0.5)
    1.0
    """
    scores, members = check_pairs(scores, members)
    allowed = allowed_false_positives(int((~members).sum()), fpr)
    return hits_above_quantile(scores, members, allowed) / int(members.sum())


def rates_at_threshold(scores, members, threshold: float) -> tuple[int, int, int, int]:
    """(true positives, members, true negatives, non-members), score >= threshold: member."""
    scores, members = check_pairs(scores, members)
    expected = "a number, -inf (all members) or +inf"
    arguments.number("threshold", threshold, expected, -math.inf, math.inf, closed="low high")
    called = scores >= threshold
    m = int(members.sum())
    return int((called & members).sum()), m, int((~called & ~members).sum()), members.size - m


def accuracy(scores, members, threshold: float) -> float:
    """Share of records called right at a threshold (score >= threshold: member)."""
    tp, m, tn, n = rates_at_threshold(scores, members, threshold)
    return (tp + tn) / (m + n)


def balanced_accuracy(scores, members, threshold: float) -> float:
    """Mean of the true-positive and the true-negative rate at a threshold."""
    tp, m, tn, n = rates_at_threshold(scores, members, threshold)
    return (tp / m + tn / n) / 2


def best_threshold(scores, members) -> Threshold:
    """The threshold of the best balanced accuracy, and that accuracy.

    Only cuts between distinct scores count, so ties are exact. The threshold lies midway between
    the two neighbouring scores where both are finite, else it is the upper one. It is +inf where
    calling no record a member is best and -inf where calling all members is. Of several cuts with
    exactly the same balanced accuracy the highest wins: the one that accuses the fewest.

    Use it on shadow models; chosen on the audited records the accuracy is biased upwards.

    >>> best_threshold(np.array([4.0, 2.0, 1.0]), np.array([True, False, False]))
    Threshold(threshold=3.0, balanced_accuracy=1.0)
    """
    scores, members = check_pairs(scores, members)
    values, hits, alarms = _counts(scores, members)
    m, n = int(hits[-1]), int(alarms[-1])
    # Integers: two cuts tie exactly or not at all. Index 0 calls no record a member.
    gain = np.concatenate([[0], hits * n - alarms * m])
    best = int(gain.argmax())
    value = 0.5 + float(gain[best]) / (2 * m * n)
    if best == 0 and values[0] < np.inf:
        return Threshold(np.inf, value)
    if best in (0, values.size):  # with a score of +inf no threshold calls nothing: call everything
        return Threshold(-np.inf, value)
    upper, lower = float(values[best - 1]), float(values[best])
    middle = lower / 2 + upper / 2
    # Infinite, or rounded onto the lower of two adjacent floats.
    return Threshold(middle if lower < middle <= upper and np.isfinite(middle) else upper, value)
