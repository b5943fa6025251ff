"""Figures of an audit: each attack's AUC, TPR, precision and epsilon, with what chance alone gives.

Every test asks whether members and non-members could be exchanged. Members of a random part of the
records can, if the model does not give them away; the p-values are then exact or nearly so, and
Bonferroni's correction over all that was looked at holds however the attacks depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom, hypergeom, norm, rankdata

from ..errors import InputError
from ..evaluation import auc_interval, null_auc_range, tpr_at_fpr_interval
from ..evaluation.epsilon import split_epsilon
from ..evaluation.roc import allowed_false_positives, hits_above_quantile, needed_nonmembers
from ..randomness import numpy_generator
from .scores import Scored

RATES = (0.1, 0.01, 0.001)
PRIORS = (1 / 2, 1 / 10, 1 / 100)
SHARES = (0.01, 0.1, 0.5)
POWER = 0.8
"""Probability with which a design must find what it is said to be able to find."""
_FEW = 50  # records of a kind that differ in score: below that the normal limit is not trusted
_DRAWS = 20_000
_LEVELS = 40  # distinct scores up to which counts of each are drawn in place of records


def ranked(scored: Scored, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Scores that compare (`Scored.ranking`), members and halves of the judged records alone."""
    used = ~np.isnan(scored.scores)
    fold = None if scored.fold is None else scored.fold[used]
    return scored.ranking[used], members[used], fold


# ---- tests ---------------------------------------------------------------------------------------


def tpr_p_value(scores: np.ndarray, members: np.ndarray, fpr: float) -> float:
    """Chance of so many members above the threshold if memberships were dealt at random; exact.

    With k false positives allowed, h or more members lie above the (k + 1)-th non-member if and
    only if at least h of the first h + k records are members. Ties only make it larger.
    """
    m, n = int(members.sum()), int((~members).sum())
    allowed = allowed_false_positives(n, fpr)
    hits = hits_above_quantile(scores, members, allowed)
    return float(tail(m, n, allowed, hits))


def tail(m: int, n: int, allowed: int, hits) -> np.ndarray:
    """P(at least `hits` of m members above the (allowed + 1)-th of n non-members) by chance."""
    hits = np.asarray(hits)
    drawn = np.minimum(hits + allowed, m + n)
    return np.where(hits > 0, hypergeom.sf(hits - 1, m + n, m, drawn), 1.0)[()]


def auc_p_value(scores: np.ndarray, members: np.ndarray, seed: int = 0) -> float:
    """One-sided p-value of the AUC under exchanged memberships.

    The Mann-Whitney statistic's normal limit with its variance corrected for ties; where few
    records of a kind differ in score, the share of 20,000 random memberships that do as well.
    """
    ranks = rankdata(scores)
    m = int(members.sum())
    n = members.size - m
    levels, counts = np.unique(ranks, return_counts=True)
    if levels.size == 1 or not (m and n):
        return 1.0
    if min(m, n) * (1 - counts.max() / ranks.size) < _FEW:
        return _permuted(ranks, members, levels, counts, numpy_generator(seed, "audit null"))
    mean = m * (members.size + 1) / 2
    scale = np.sqrt(m * n * ranks.var() / (members.size - 1))
    return float(norm.sf((ranks[members].sum() - 0.5 - mean) / scale))


def _permuted(ranks: np.ndarray, members: np.ndarray, levels, counts, rng) -> float:
    smaller, sign = (members, 1) if 2 * members.sum() <= members.size else (~members, -1)
    count = int(smaller.sum())
    if levels.size <= _LEVELS:
        draws = _DRAWS
        sums = rng.multivariate_hypergeometric(counts, count, size=draws, method="marginals")
        sums = sums @ levels
    else:
        draws = min(_DRAWS, max(2_000, 2**28 // count))
        step = max(1, 2**22 // min(20 * count, ranks.size))
        parts = [
            _sums(ranks, count, min(step, draws - start), rng) for start in range(0, draws, step)
        ]
        sums = np.concatenate(parts)
    as_good = int((sign * sums >= sign * ranks[smaller].sum() - 1e-9).sum())
    return (1 + as_good) / (1 + draws)


def _sums(ranks: np.ndarray, count: int, draws: int, rng) -> np.ndarray:
    """Sums of `count` of the ranks without replacement, `draws` times."""
    if 20 * count >= ranks.size:
        keys = rng.random((draws, ranks.size), dtype=np.float32)
        return ranks[np.argpartition(keys, count - 1, axis=1)[:, :count]].sum(axis=1)
    rows = rng.integers(0, ranks.size, (draws, count))
    ordered = np.sort(rows, axis=1)  # drawn with replacement; the rows that repeat are mended
    for row in np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)):
        rows[row] = rng.choice(ranks.size, count, replace=False)
    return ranks[rows].sum(axis=1)


def _by_halves(test, scores, members, fold) -> float:
    """`test` on each half, whose scores were fitted on the other: valid however they depend."""
    if fold is None:
        return test(scores, members)
    halves = [fold == half for half in (0, 1)]
    return min(1.0, 2 * min(test(scores[rows], members[rows]) for rows in halves))


def distinct(all_scores: Sequence[np.ndarray]) -> list[int]:
    """For each ranking the first with the same order: two names for one test count once."""
    first: dict[bytes, int] = {}
    return [
        first.setdefault(rankdata(scores, method="dense").astype(np.int32).tobytes(), index)
        for index, scores in enumerate(all_scores)
    ]


# ---- figures -------------------------------------------------------------------------------------


def measurable(nonmembers: int, rates: Sequence[float] = RATES) -> list[float]:
    """The rates at which `nonmembers` allow ten false positives."""
    return [rate for rate in rates if nonmembers >= needed_nonmembers(rate)]


def precision(tpr: float, fpr: float, prior: float) -> float:
    """Share of right accusations where `prior` of those asked about are members.

    >>> precision(0.5, 0.5, 0.1)
    0.1
    """
    right, wrong = prior * tpr, (1 - prior) * fpr
    return right / (right + wrong) if right + wrong else 0.0


def measure(
    scored: list[Scored],
    members: np.ndarray,
    labels: np.ndarray,
    *,
    rates: Sequence[float] = RATES,
    level: float = 0.95,
    delta: float = 0.0,
    seed: int = 0,
) -> tuple[list[dict], int]:
    """Figures of every attack as plain dictionaries, and the number of tests made.

    `low` and `high` are limits of each figure alone. `low_all` holds for all attacks at once (each
    at the level 1 - (1 - level) / attacks): the limit of whichever attack was best.
    """
    parts = [ranked(each, members) for each in scored]
    same = distinct([scores for scores, _, _ in parts])
    attacks = len(set(same))
    joint = 1 - (1 - level) / attacks
    rows = []
    for each, (scores, inside, fold) in zip(scored, parts, strict=True):
        row: dict[str, Any] = {
            "name": each.name,
            "title": each.title,
            "needs": each.needs,
            "cross_fitted": each.cross_fitted,
            "members": int(inside.sum()),
            "nonmembers": int((~inside).sum()),
            "auc": _auc(scores, inside, fold, level, joint, seed),
            "tpr": [_tpr(scores, inside, fold, rate, level, joint) for rate in rates],
        }
        row["epsilon"] = _epsilon(each, members, labels, joint, delta, seed)
        rows.append(row)
    tests = sum(
        1 + sum(point["value"] is not None for point in rows[index]["tpr"]) for index in set(same)
    )
    for row in rows:
        for figure in (row["auc"], *row["tpr"]):
            p = figure["p"]
            figure["p_adjusted"] = None if p is None else min(1.0, p * tests)
    return rows, tests


def _auc(scores, members, fold, level, joint, seed) -> dict:
    value, low, high = auc_interval(scores, members, level=level)
    null_low, null_high = null_auc_range(scores, members, level=level)
    return {
        "value": value,
        "low": low,
        "high": high,
        "low_all": auc_interval(scores, members, level=joint).low,
        "null_low": null_low,
        "null_high": null_high,
        "p": _by_halves(lambda s, y: auc_p_value(s, y, seed), scores, members, fold),
    }


def _tpr(scores, members, fold, rate, level, joint) -> dict:
    m, n = int(members.sum()), int((~members).sum())
    needed = needed_nonmembers(rate)
    least = n
    if fold is not None:  # each half is tested alone
        least, needed = (
            2 * min(int((~members & (fold == half)).sum()) for half in (0, 1)),
            2 * needed,
        )
    if least < needed:
        empty = dict.fromkeys(("value", "low", "high", "low_all", "null_high", "p"))
        return {"fpr": rate, "needs_nonmembers": needed, **empty, "precision": []}
    value, low, high = tpr_at_fpr_interval(scores, members, rate, level=level)
    allowed = allowed_false_positives(n, rate)
    return {
        "fpr": rate,
        "needs_nonmembers": None,
        "value": value,
        "low": low,
        "high": high,
        "low_all": tpr_at_fpr_interval(scores, members, rate, level=joint).low,
        "null_high": (critical(m, n, allowed, (1 - level) / 2) - 1) / m,
        "p": _by_halves(lambda s, y: tpr_p_value(s, y, rate), scores, members, fold),
        "precision": [
            {
                "prior": prior,
                "value": precision(value, rate, prior),
                "low": precision(low, rate, prior),
                "high": precision(high, rate, prior),
            }
            for prior in PRIORS
        ],
    }


def _epsilon(each: Scored, members, labels, joint, delta, seed) -> dict | None:
    """A lower bound for the attacks whose scores were made without a look at memberships."""
    if each.cross_fitted:
        return None
    used = ~np.isnan(each.scores)
    scores = np.clip(each.scores[used], -1e300, 1e300)
    try:
        bound = split_epsilon(
            scores, members[used], labels[used], shares=SHARES, delta=delta, level=joint, seed=seed
        )
    except InputError:
        return None
    return {"low_all": bound.epsilon, "largest": bound.certifiable, "delta": delta}


# ---- what the design can show --------------------------------------------------------------------


def critical(m: int, n: int, allowed: int, alpha: float) -> int:
    """The smallest number of hits whose p-value is at most alpha; m + 1 if there is none."""
    low, high = 0, m + 1
    while high - low > 1:  # the tail falls with the number of hits
        middle = (low + high) // 2
        low, high = (low, middle) if tail(m, n, allowed, middle) <= alpha else (middle, high)
    return high


def detectable_tpr(m: int, n: int, rate: float, alpha: float) -> float | None:
    """The smallest TPR that is found with 80 % probability at this level; None if even 1 is not."""
    hits = critical(m, n, allowed_false_positives(n, rate), alpha)
    if hits > m:
        return None
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if binom.sf(hits - 1, m, middle) >= POWER else (middle, high)
    return high


def detectable_auc(m: int, n: int, alpha: float) -> float:
    """The smallest AUC that is found with 80 % probability, by the normal limit without ties."""
    half = (norm.isf(alpha) + norm.isf(1 - POWER)) * np.sqrt((m + n + 1) / (12 * m * n))
    return float(min(1.0, 0.5 + half))


def recognised_at(scores: np.ndarray, members: np.ndarray) -> np.ndarray:
    """For every record the false-positive rate at which it is called a member, float64.

    (1 + other non-members that score as high) / (1 + other non-members): small means exposed. NaN
    stays NaN.
    """
    outside = np.sort(scores[~members & ~np.isnan(scores)])
    above = outside.size - np.searchsorted(outside, scores, side="left")
    own = ~members  # a non-member is not its own outsider
    rate = (1 + above - own) / (1 + outside.size - own)
    return np.where(np.isnan(scores), np.nan, rate)
