"""Confidence intervals for the figures of an attack, each by a stated method (see `METHODS`).

Record-level intervals are conditional on the trained model: they say how far the figure would move
with other records from the same members and non-members of this one model, nothing about training
it again. For that, train several and use `prediction_interval` or `mean_interval`.

Members and non-members are taken as independent samples whose sizes are fixed. A threshold given by
hand must have been fixed before these records were looked at.
"""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv, gammaln
from scipy.stats import binom, norm, t

from ..arrays import as_numbers
from ..errors import InputError, shown
from .roc import (
    allowed_false_positives,
    auc,
    check_pairs,
    hits_above_quantile,
    rates_at_threshold,
)

METHODS = {
    "auc": (
        "Clopper-Pearson with an effective sample size, as Korn and Graubard (1998) use it for "
        "surveys: AUC (1 - AUC) / variance. The variance is DeLong's (1988), drawn towards its "
        "largest possible value where few records are ranked wrongly; at AUC 0 and 1 the limit "
        "holds for any distribution."
    ),
    "accuracy": (
        "Clopper-Pearson on the records called right at a threshold fixed beforehand "
        "(conservative, as members and non-members have different rates)."
    ),
    "balanced_accuracy": (
        "Newcombe's (1998) square-and-add combination of the Clopper-Pearson intervals of the "
        "true-positive and the true-negative rate, at a threshold fixed beforehand."
    ),
    "tpr_at_fpr": (
        "Clopper-Pearson on the members, averaged over where the threshold may lie: the number of "
        "non-members above the true threshold is binomial. A plain Clopper-Pearson interval takes "
        "the threshold for known and is too short."
    ),
    "null": (
        "Memberships permuted among the evaluated records after scoring. With few distinct scores "
        "(or few records that differ) the range of the AUC comes from its exact law, that of a "
        "multivariate hypergeometric draw; else it is the Mann-Whitney statistic's normal limit "
        "with the variance corrected for ties."
    ),
    "spread": "Standard deviation (n - 1) of the per-target values; targets are never pooled.",
    "mean_interval": "Student's t for the mean of several models.",
    "prediction_interval": "Student's t for one more model: mean +- t s sqrt(1 + 1/n).",
    "paired_auc_difference": (
        "The two AUC intervals joined by Newcombe's (1998) square-and-add method with DeLong's "
        "(1988) correlation of two AUCs on the same records; DeLong's own away from AUC 0 and 1."
    ),
    "ratio_interval": (
        "Percentiles of the ratio under random weights of the records (a smooth bootstrap), paired "
        "by record; one unseen record on the outward side, as in Clopper-Pearson, keeps a rate of "
        "zero from being certain. For TPRs at low FPR the non-members are drawn too."
    ),
    "group_metrics": (
        "Per group: the AUC interval above, and the one-sided Mann-Whitney test of AUC 1/2, "
        "corrected for the number of groups by Holm (1979)."
    ),
    "roc_band": (
        "Simultaneous for all thresholds: binomial limits of both rates at a grid of order "
        "statistics, Bonferroni over the grid and the two axes; valid for every sample size."
    ),
}
"""How each interval is made, in a sentence, by the name of the figure."""


class Interval(NamedTuple):
    """A figure with its lower and upper confidence limit; it prints itself in any float format.

    >>> print(Interval(0.713, 0.7012, 0.7249))
    0.713 (0.701 to 0.725)
    >>> f"{Interval(0.713, 0.7012, 0.7249):.1%}"
    '71.3% (70.1% to 72.5%)'
    """

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        value, low, high = (format(float(number), spec or ".3f") for number in self)
        return f"{value} ({low} to {high})"

    def __str__(self) -> str:
        return format(self)

    @property
    def measured(self) -> bool:
        """Is there a value? False for what there were too few records for."""
        return not np.isnan(self.value)


class NotMeasured(Interval):
    """In place of an interval that cannot be given: NaN, and in every format the reason.

    Attributes
    ----------
    reason : str
    needed : int or None
        How many non-members it would take, where that is the reason.

    >>> print(f"{NotMeasured('not measurable with 500 non-members', needed=1000):.1%}")
    not measurable with 500 non-members
    """

    reason: str
    needed: int | None

    def __new__(cls, reason: str, needed: int | None = None) -> NotMeasured:
        self = super().__new__(cls, np.nan, np.nan, np.nan)
        self.reason, self.needed = reason, needed
        return self

    def __getnewargs__(self) -> tuple:
        return self.reason, self.needed

    def __format__(self, spec: str) -> str:
        return self.reason

    def __repr__(self) -> str:
        return f"NotMeasured({self.reason!r}, needed={self.needed})"

    def __eq__(self, other) -> bool:
        return isinstance(other, NotMeasured) and vars(self) == vars(other)

    def __ne__(self, other) -> bool:
        return not self == other

    __hash__ = Interval.__hash__


def check_level(level: float) -> float:
    """alpha = 1 - level; InputError unless 0 < level < 1."""
    if not (isinstance(level, Real) and 0 < level < 1):
        raise InputError(
            f"level={shown(level)}; expected a confidence level in (0, 1), such as 0.95"
        )
    return 1 - level


def clopper_pearson(hits, trials, *, level: float = 0.95):
    """Clopper-Pearson limits of a binomial rate, (low, high); arrays broadcast.

    `hits` and `trials` may be fractional, as effective sample sizes are. No trials say nothing:
    (0, 1).

    Raises
    ------
    InputError
        Unless 0 <= hits <= trials, everywhere, or if their shapes do not fit.

    >>> low, high = clopper_pearson(0, 100)
    >>> float(low), round(float(high), 4)
    (0.0, 0.0362)
    """
    alpha = check_level(level)
    hits = as_numbers(hits, "hits").astype(np.float64)
    trials = as_numbers(trials, "trials")
    try:
        misses = trials - hits
    except ValueError:
        raise InputError(
            f"hits have shape {hits.shape}, trials {trials.shape}; expected shapes that fit"
        ) from None
    if not ((hits >= 0) & (misses >= 0) & np.isfinite(trials)).all():
        raise InputError(f"hits={hits[()]} of trials={trials}; expected 0 <= hits <= trials")
    low = np.where(hits > 0, betaincinv(np.where(hits > 0, hits, 1), misses + 1, alpha / 2), 0.0)
    high = np.where(
        misses > 0, betaincinv(hits + 1, np.where(misses > 0, misses, 1), 1 - alpha / 2), 1.0
    )
    return low[()], high[()]


def placements(scores: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each member's share of non-members below it, each non-member's share of members above it.

    Float64 (members,) and (non-members,), ties half; the mean of either is the AUC, and their
    variances are all that DeLong's (1988) estimate needs.
    """
    inside, outside = scores[members], scores[~members]

    def below(points, sample):
        sample = np.sort(sample)
        left, right = (np.searchsorted(sample, points, side) for side in ("left", "right"))
        return (left + right) / (2 * sample.size)

    return below(inside, outside), 1 - below(outside, inside)


def auc_interval(scores, members, *, level: float = 0.95) -> Interval:
    """AUC with its interval, conditional on the trained model.

    Let k = min(members, non-members). Whatever the distributions, the variance of an empirical AUC
    is at most AUC (1 - AUC) / k, that of a binomial rate of k trials, and the chance that it is 1
    at most AUC**k (match the records in k pairs). So k is a safe sample size for a Clopper-Pearson
    interval, and needed at AUC 1 or 0, where DeLong's variance estimate is 0 and says nothing. Away
    from there DeLong's variance is far smaller. The two variances are averaged with weights e : 2,
    where e = k min(AUC, 1 - AUC) is about the number of records ranked wrongly; AUC (1 - AUC) over
    the average is the sample size of the interval.

    Raises
    ------
    InputError
        As `auc` does, and if level is not in (0, 1).
    """
    scores, members = check_pairs(scores, members)
    value = auc(scores, members)
    sides = placements(scores, members)
    smaller = min(side.size for side in sides)
    largest = value * (1 - value) / smaller
    if largest == 0 or smaller == 1:
        effective = smaller
    else:
        delong = sum(side.var(ddof=1) / side.size for side in sides)
        wrong = smaller * min(value, 1 - value)
        variance = (wrong * min(delong, largest) + 2 * largest) / (wrong + 2)
        effective = value * (1 - value) / variance
    low, high = clopper_pearson(value * effective, effective, level=level)
    return Interval(value, float(low), float(high))


def accuracy_interval(scores, members, threshold: float, *, level: float = 0.95) -> Interval:
    """Accuracy at a threshold fixed beforehand: Clopper-Pearson on all records.

    Members and non-members are called right with different probabilities; the number called right
    then spreads less than a binomial of the mean rate (Hoeffding, 1956): the interval still covers.
    """
    tp, m, tn, n = rates_at_threshold(scores, members, threshold)
    low, high = clopper_pearson(tp + tn, m + n, level=level)
    return Interval((tp + tn) / (m + n), float(low), float(high))


def balanced_accuracy_interval(
    scores, members, threshold: float, *, level: float = 0.95
) -> Interval:
    """Balanced accuracy at a threshold fixed beforehand.

    Newcombe's (1998) square-and-add method: each limit lies as far from the value as the root of
    the summed squares of the two rates' distances to their own Clopper-Pearson limits, halved.
    """
    tp, m, tn, n = rates_at_threshold(scores, members, threshold)
    rates = np.array([tp / m, tn / n])
    low, high = clopper_pearson(np.array([tp, tn]), np.array([m, n]), level=level)
    value = float(rates.mean())
    return Interval(
        value,
        max(0.0, value - float(np.hypot(*(rates - low))) / 2),
        min(1.0, value + float(np.hypot(*(high - rates))) / 2),
    )


def _root(function) -> float:
    """Where a decreasing function on [0, 1] falls to 0; 0 if it starts there, 1 if it never does."""
    if function(0.0) <= 0:
        return 0.0
    return 1.0 if function(1.0) > 0 else float(brentq(function, 0.0, 1.0, xtol=1e-15))


def tpr_at_fpr_interval(scores, members, fpr: float, *, level: float = 0.95) -> Interval:
    """TPR at a false-positive rate whose threshold comes from the same non-members.

    What is estimated is the share of members above the true threshold q, the upper fpr-quantile of
    the non-members' distribution. The number J of non-members above q is binomial(non-members,
    fpr), so q lies between the J-th and the (J + 1)-th largest of them. For every J the members
    above either end give a Clopper-Pearson limit as a beta distribution; the limits are the
    quantiles of these betas mixed with the binomial weights of J. With endless non-members that is
    Clopper-Pearson's interval, with endless members it is the binomial one of order statistics.
    No random numbers are involved.

    Raises
    ------
    InputError
        As `tpr_at_fpr`, and if level is not in (0, 1).
    """
    alpha = check_level(level)
    scores, members = check_pairs(scores, members)
    inside, outside = np.sort(scores[members]), -np.sort(-scores[~members])
    m, n = inside.size, outside.size
    allowed = allowed_false_positives(n, fpr)
    value = hits_above_quantile(scores, members, allowed) / m
    tail = 1e-6 * alpha
    above = np.arange(binom.ppf(tail, n, fpr), binom.isf(tail, n, fpr) + 1).astype(int)
    weights = binom.pmf(above, n, fpr)
    weights /= weights.sum()
    # Members above the r-th largest non-member for r = 0 .. n + 1: none above the 0-th (infinity).
    ranked = np.concatenate([[0], m - np.searchsorted(inside, outside, "right"), [m]])
    fewest, most = ranked[above], ranked[above + 1]

    def lower(p):  # P(beta > p) is decreasing in p; a count of 0 is a point mass at p = 0
        cdf = np.where(fewest > 0, betainc(np.maximum(fewest, 1), m - fewest + 1, p), 1.0)
        return 1 - weights @ cdf - (1 - alpha / 2)

    def upper(p):
        cdf = np.where(most < m, betainc(most + 1, np.maximum(m - most, 1), p), float(p >= 1))
        return 1 - weights @ cdf - alpha / 2

    return Interval(value, min(_root(lower), value), max(_root(upper), value))


_MOST_OUTCOMES = 100_000  # of a permutation, up to which the null is computed exactly


def null_auc_range(scores, members, *, level: float = 0.95) -> tuple[float, float]:
    """Central range of the AUC when memberships are permuted: what chance alone gives.

    Where the scores have few distinct values, or few records differ from all the others, the law is
    exact: how many members each value gets is a multivariate hypergeometric draw, and the range
    holds at least the share `level` of it. Elsewhere it is the normal limit of the Mann-Whitney
    statistic with the variance corrected for ties. A constant score gives (0.5, 0.5).

    Raises
    ------
    InputError
        As `auc` does, and if level is not in (0, 1).

    >>> one_differs = np.arange(100) == 0
    >>> null_auc_range(one_differs, np.arange(100) < 50)
    (0.49, 0.51)
    """
    alpha = check_level(level)
    scores, members = check_pairs(scores, members)
    m = int(members.sum())
    n, total = members.size - m, members.size
    ties = np.unique(scores, return_counts=True)[1]
    rest = np.delete(ties, ties.argmax())  # the records outside the largest tie
    if np.log1p(np.minimum(rest, m)).sum() <= np.log(_MOST_OUTCOMES):
        return _exact_null_range(ties, m, alpha)
    ties = ties.astype(np.float64)
    factor = 1 - (ties**3 - ties).sum() / (float(total) ** 3 - total)
    half = norm.isf(alpha / 2) * np.sqrt(max(factor, 0.0) * (total + 1) / (12 * m * n))
    return max(0.0, 0.5 - float(half)), min(1.0, 0.5 + float(half))


def _exact_null_range(ties: np.ndarray, m: int, alpha: float) -> tuple[float, float]:
    """The central range of the AUC, from every way to deal m memberships out to ties of records."""
    total, largest = int(ties.sum()), int(ties.argmax())
    rank = np.cumsum(ties) - (ties - 1) / 2  # the mean rank of each tie
    used, rank_sum, log_ways = np.zeros(1), np.zeros(1), np.zeros(1)
    for tie in np.delete(np.arange(ties.size), largest):
        taken = np.arange(min(ties[tie], m) + 1)[:, None]
        used, rank_sum, log_ways = (
            (left + right).ravel()
            for left, right in (
                (taken, used),
                (taken * rank[tie], rank_sum),
                (_log_choose(ties[tie], taken), log_ways),
            )
        )
        fits = used <= m
        used, rank_sum, log_ways = used[fits], rank_sum[fits], log_ways[fits]
    fits = m - used <= ties[largest]
    used, rank_sum, log_ways = used[fits], rank_sum[fits], log_ways[fits]
    rank_sum += (m - used) * rank[largest]
    log_ways += _log_choose(ties[largest], m - used)
    # Half ranks: twice their sum is an integer, so that equal AUCs are one outcome.
    doubled, outcome = np.unique(np.rint(2 * rank_sum), return_inverse=True)
    chance = np.bincount(outcome, np.exp(log_ways - _log_choose(total, m)))
    below, above = np.cumsum(chance), np.cumsum(chance[::-1])
    tail = alpha / 2 * (1 + 1e-9)  # rounding alone does not push an outcome out
    low = doubled[np.searchsorted(below, tail, "right")]
    high = doubled[::-1][np.searchsorted(above, tail, "right")]
    low, high = ((r - m * (m + 1)) / (2 * m * (total - m)) for r in (low, high))
    return float(low), float(high)


def _log_choose(n, k):
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def _spread(values, level: float) -> tuple[float, float, int]:
    alpha = check_level(level)
    values = as_numbers(values, "values").astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("values hold NaN or infinity; expected one finite figure a trained model")
    if values.ndim != 1 or values.size < 3:
        raise InputError(
            f"{values.size} value(s) of shape {values.shape}; an interval over trained models "
            "needs at least 3, one a model"
        )
    n = values.size
    return float(values.mean()), float(t.isf(alpha / 2, n - 1) * values.std(ddof=1)), n


def mean_interval(values, *, level: float = 0.95) -> Interval:
    """Mean of one figure over n >= 3 independently trained models: mean +- t s / sqrt(n).

    Exact where the figures are normal. Those near 0 or 1 scatter askew: of AUCs about 0.9 with a
    deviation of 0.04, a 95 % interval of ten models holds the mean in 94 %.

    >>> mean_interval([0.5, 0.6, 0.7]).value
    0.6
    """
    mean, half, n = _spread(values, level)
    return Interval(mean, mean - half / np.sqrt(n), mean + half / np.sqrt(n))


def prediction_interval(values, *, level: float = 0.95) -> Interval:
    """Where one more training would fall, from n >= 3: mean +- t s sqrt(1 + 1/n).

    A single published value, itself one run, is held against this interval, not against the
    interval of the mean.
    """
    mean, half, n = _spread(values, level)
    half *= np.sqrt(1 + 1 / n)
    return Interval(mean, mean - half, mean + half)
