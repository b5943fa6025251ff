"""Comparing attacks on the same records, groups of records, and whole curves with a guarantee."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu, rankdata

from .. import arguments
from ..arrays import as_array, as_bool, as_numbers
from ..errors import InputError
from .intervals import Interval, auc_interval, check_level, clopper_pearson, placements
from .roc import allowed_false_positives, check_pairs, tpr_at_fpr

DRAWS = 2000


def paired_auc_difference(scores_a, scores_b, members, *, level: float = 0.95) -> Interval:
    """AUC of attack A minus AUC of attack B on the same records of one target, with its interval.

    The correlation r of the two AUCs is that of DeLong, DeLong & Clarke-Pearson (1988), from both
    attacks' placements record by record. It joins the limits of `auc_interval` as Newcombe (1998)
    and Zou & Donner (2008) do: with a and b the two AUCs and l, u their limits, the lower limit is
    a - b - sqrt((a - l_a)^2 + (u_b - b)^2 - 2 r (a - l_a)(u_b - b)). Far from 0 and 1 that is
    DeLong's interval; near them, where DeLong's own covers too rarely, it stays honest.
    Conditional on the trained model.

    Raises
    ------
    InputError
        As `auc` does, and with fewer than 2 members or 2 non-members.
    """
    scores_a, members = check_pairs(scores_a, members, "attack A")
    scores_b, _ = check_pairs(scores_b, members, "attack B")
    smaller = min(int(members.sum()), int((~members).sum()))
    if smaller < 2:
        raise InputError(
            f"{smaller} record(s) in the smaller group; a difference of AUCs needs 2 members and "
            "2 non-members"
        )
    pairs = zip(placements(scores_a, members), placements(scores_b, members), strict=True)
    (var_a, cov), (_, var_b) = np.sum([np.cov(a, b) / a.size for a, b in pairs], axis=0)
    r = float(cov / np.sqrt(var_a * var_b)) if var_a > 0 and var_b > 0 else 0.0
    a = auc_interval(scores_a, members, level=level)
    b = auc_interval(scores_b, members, level=level)

    def reach(x, y):
        return float(np.sqrt(max(0.0, x * x + y * y - 2 * r * x * y)))

    value = a.value - b.value
    return Interval(
        value,
        max(-1.0, value - reach(a.value - a.low, b.high - b.value)),
        min(1.0, value + reach(a.high - a.value, b.value - b.low)),
    )


def _ratio(rates: tuple[float, float], cells: np.ndarray, rng, level: float) -> Interval:
    """Ratio of two rates; `cells` (draws, 4) counts records hit by both, A alone, B alone, neither.

    Every draw takes a Dirichlet sample (as gammas: the total cancels from the ratio). As in
    Clopper-Pearson's interval each limit gives one unseen record to whichever side widens it.
    """
    alpha = check_level(level)
    both, only_a, only_b = rng.standard_gamma(cells[:, :3]).T
    more_a, more_b = rng.standard_exponential((2, len(cells)))
    low = np.quantile((both + only_a) / (both + only_b + more_b), alpha / 2)
    inverse = np.quantile((both + only_b) / (both + only_a + more_a), alpha / 2)
    high = 1 / inverse if inverse > 0 else np.inf
    a, b = rates
    if b == 0:
        return Interval(np.inf if a > 0 else np.nan, float(low), np.inf)
    return Interval(a / b, min(float(low), a / b), max(float(high), a / b))


def ratio_interval(a, b, *, level: float = 0.95, seed: int = 0) -> Interval:
    """Ratio of two rates measured on the same records, such as the hits of two attacks.

    The records get random weights (a smooth bootstrap, paired by record), and the limits are
    percentiles of the ratio. If B is never right, ratio and upper limit are infinite but the lower
    limit is not; if neither is, the ratio is NaN between 0 and infinity.

    Parameters
    ----------
    a, b : bool (records,)
        Whether each attack is right about the record, at thresholds fixed beforehand.

    Raises
    ------
    InputError
        If the two are not bool arrays of one length, or empty.
    """
    a, b = as_bool(a, "hits of A"), as_bool(b, "hits of B")
    if a.ndim != 1 or a.shape != b.shape or a.size == 0:
        raise InputError(f"hits have shapes {a.shape} and {b.shape}; expected the same records")
    arguments.seed(seed)
    cells = np.array([np.sum(x & y) for x, y in ((a, b), (a, ~b), (~a, b), (~a, ~b))])
    cells = np.broadcast_to(cells, (DRAWS, 4))
    return _ratio((float(a.mean()), float(b.mean())), cells, np.random.default_rng(seed), level)


def _random_weights(top: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights (draws, top) of the records that matter, of n, and all weights' sum (draws,).

    There is one weight more than records: the share above the j-th largest score is then
    Beta(j, n + 1 - j), and the number of scores above the threshold binomial(n, fpr).
    """
    weights = rng.standard_exponential((DRAWS, top), dtype=np.float32)
    return weights, weights.sum(axis=1, dtype=np.float64) + rng.standard_gamma(n + 1 - top, DRAWS)


def tpr_ratio_interval(
    scores_a, scores_b, members, fpr: float, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """TPR of attack A over TPR of attack B, both at the false-positive rate `fpr`.

    As `ratio_interval` on the members, but each draw has two thresholds of its own: the
    non-members, which both thresholds come from, get random weights too, paired by record.

    Raises
    ------
    InputError
        As `tpr_at_fpr`.
    """
    scores_a, members = check_pairs(scores_a, members, "attack A")
    scores_b, _ = check_pairs(scores_b, members, "attack B")
    rates = tpr_at_fpr(scores_a, members, fpr), tpr_at_fpr(scores_b, members, fpr)
    arguments.seed(seed)
    rng = np.random.default_rng(seed)
    n = int((~members).sum())
    allowed = allowed_false_positives(n, fpr)
    depth = min(n, int(allowed + 8 * np.sqrt(allowed) + 20))  # all thresholds lie among these
    orders = [np.argsort(-s[~members], kind="stable")[:depth] for s in (scores_a, scores_b)]
    top = np.unique(np.concatenate(orders))
    weights, total = _random_weights(top.size, n, rng)
    drawn, over = [], []  # each draw's threshold as a rank; how many thresholds a member passes
    for scores, order in zip((scores_a, scores_b), orders, strict=True):
        shares = np.cumsum(weights[:, np.searchsorted(top, order)], axis=1, dtype=np.float64)
        above = (shares <= fpr * total[:, None]).sum(axis=1)
        cuts, rank = np.unique(
            np.append(scores[~members][order], -np.inf)[above], return_inverse=True
        )
        drawn.append(rank)
        over.append(np.searchsorted(cuts, scores[members], "left"))
    # passing[i, j]: members that pass at least i of A's thresholds and j of B's.
    passing = np.zeros([int(rank.max()) + 2 for rank in drawn], dtype=np.int64)
    np.add.at(passing, (over[0], over[1]), 1)
    passing = passing[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    i, j = drawn[0] + 1, drawn[1] + 1
    both, a, b = passing[i, j], passing[i, 0], passing[0, j]
    cells = np.stack([both, a - both, b - both, passing[0, 0] - a - b + both], axis=1)
    return _ratio(rates, cells, rng, level)


def holm(p_values) -> np.ndarray:
    """Holm's (1979) adjusted p-values, float64 in the order given: reject where <= the level.

    The chance of any false rejection among all tests stays below the level, however they depend.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = as_numbers(p_values, "p-values").astype(np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"p-values of shape {p.shape}; expected (tests,), each in [0, 1]")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


class GroupMetrics(NamedTuple):
    """AUC of one group with its interval, p-value of AUC 1/2 and the same after Holm's correction.

    The interval is this group's alone (not corrected for the number of groups).
    """

    auc: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    n_members: int
    n_nonmembers: int


def group_metrics(
    scores, members, groups, *, min_records: int = 20, level: float = 0.95
) -> dict[Hashable, GroupMetrics | None]:
    """AUC within each group of one target's records (classes, say), corrected for many groups.

    The p-value is that of the one-sided Mann-Whitney test that members outscore non-members, and
    Holm's correction runs over all groups that were tested.

    Parameters
    ----------
    scores : float (records,)
    members : bool (records,)
    groups : (records,)
        The group of each record, any values that sort.
    min_records : int
        Groups with fewer members or fewer non-members are reported as None, not dropped.

    Raises
    ------
    InputError
        As `auc` does, and if groups have another shape or min_records is below 1.
    """
    scores, members = check_pairs(scores, members)
    groups = as_array(groups, "groups")
    if groups.shape != scores.shape:
        raise InputError(f"groups have shape {groups.shape}; expected one a record, {scores.shape}")
    arguments.count("min_records", min_records)
    found: dict = {}
    for group in np.unique(groups):
        inside = groups == group
        s, y = scores[inside], members[inside]
        m, n = int(y.sum()), int((~y).sum())
        if min(m, n) < min_records:
            found[group.item()] = None
            continue
        # Ranks keep the order and the ties, and are finite where scores are not.
        ranks = rankdata(s)
        p = float(mannwhitneyu(ranks[y], ranks[~y], alternative="greater").pvalue)
        # A constant score has no variance to test with.
        p = 1.0 if np.isnan(p) else p
        found[group.item()] = (*auc_interval(s, y, level=level), p, m, n)
    tested = [group for group, row in found.items() if row is not None]
    for group, adjusted in zip(tested, holm([found[g][3] for g in tested]), strict=True):
        value, low, high, p, m, n = found[group]
        found[group] = GroupMetrics(value, low, high, p, float(adjusted), m, n)
    return found


class Band(NamedTuple):
    """Lower confidence limit of a whole ROC curve: float64 (points,) each, fpr increasing.

    With the stated confidence, for every point at once, some threshold has a false-positive rate of
    at most `fpr` and a true-positive rate of at least `tpr_low`.
    """

    fpr: np.ndarray
    tpr_low: np.ndarray

    def at(self, fpr) -> np.ndarray:
        """The lower limit of the TPR at any false-positive rate (a step function)."""
        index = np.searchsorted(self.fpr, fpr, side="right") - 1
        return np.where(index >= 0, self.tpr_low[np.maximum(index, 0)], 0.0)


def _grid(n: int) -> np.ndarray:
    """Ranks 1 .. n, a rank's own standard deviation apart; fixed by n alone, never by the data."""
    near = np.rint((np.arange(2, np.sqrt(2 * n) + 2) / 2) ** 2).astype(int)
    near = np.append(1, near[near <= (n + 1) // 2])
    return np.unique(np.concatenate([near, n + 1 - near]))


def roc_band(scores, members, *, level: float = 0.95) -> Band:
    """Simultaneous lower confidence band of the ROC curve, for every sample size and with ties.

    The true false-positive rate of "score above the i-th largest non-member" is at most Beta(i,
    n + 1 - i) in distribution, the true-positive rate of "score at or above the j-th largest
    member" at least Beta(j, m + 1 - j). Quantiles of these are limits; they hold at once on a fixed
    grid of ranks by Bonferroni, with half of alpha for either axis, and so for every threshold,
    since both rates are monotone. At low false-positive rates this is far tighter than the
    Kolmogorov band, whose width is the same everywhere (0.011 for 15,000 records).

    Differential privacy bounds a curve by TPR <= exp(epsilon) FPR + delta; a band that crosses that
    line refutes (epsilon, delta) at the level. Conditional on the trained model.

    Raises
    ------
    InputError
        As `auc` does, and if level is not in (0, 1).

    >>> rng = np.random.default_rng(0)
    >>> band = roc_band(rng.normal(size=200), np.arange(200) < 100)
    >>> bool((band.tpr_low <= band.fpr).all())
    True
    """
    alpha = check_level(level)
    scores, members = check_pairs(scores, members)
    inside, outside = np.sort(scores[members]), -np.sort(-scores[~members])
    m, n = inside.size, outside.size
    i, j = _grid(n), _grid(m)
    fpr_high = clopper_pearson(i - 1, n, level=1 - alpha / i.size)[1]
    tpr_low = np.append(0.0, clopper_pearson(j, m, level=1 - alpha / j.size)[0])
    above = m - np.searchsorted(inside, outside[i - 1], "right")
    limit = tpr_low[np.searchsorted(j, above, "right")]
    return Band(
        np.concatenate([[0.0], fpr_high, [1.0]]),
        np.concatenate([[0.0], limit, [1.0]]),
    )
