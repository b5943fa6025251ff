"""Does the promise hold? Lower bounds on epsilon from what attacks find, with their confidence.

A mechanism is (epsilon, delta)-differentially private if adding or removing one record multiplies
the chance of no event by more than exp(epsilon), up to delta. An attack that is right too often
refutes a promised epsilon. What it cannot do is confirm one: a bound near 0 may mean a private
mechanism or a weak attack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from .. import arguments
from ..arrays import as_array, as_bool, as_numbers
from ..errors import InputError
from .intervals import check_level

_LARGEST = 50.0  # epsilon beyond which nobody asks
_TIED = 0.05
"""Share of a test's error that is spent on the choice among equal scores, where there is one."""


def _check_delta(delta: float) -> None:
    arguments.number("delta", delta, "a number in [0, 1)", 0, 1, closed="low")


def dp_curve(fpr: np.ndarray, epsilon: float, delta: float = 0.0) -> np.ndarray:
    """The largest true-positive rate that (epsilon, delta) allows at each false-positive rate.

    min(1, e^eps fpr + delta, 1 - e^-eps (1 - delta - fpr)): Kairouz, Oh & Viswanath (2015).

    Raises
    ------
    InputError
        If a rate is not in [0, 1], epsilon is negative or no number, or delta is not in [0, 1).

    >>> round(float(dp_curve(0.1, 0.0)), 12)
    0.1
    """
    fpr = as_numbers(fpr, "fpr").astype(np.float64)
    if not ((fpr >= 0) & (fpr <= 1)).all():
        raise InputError(
            f"fpr holds {fpr[~((fpr >= 0) & (fpr <= 1))][0]:g}; expected rates in [0, 1]"
        )
    _check_delta(delta)
    arguments.number("epsilon", epsilon, "a number >= 0", 0, math.inf, closed="low high")
    if math.isinf(epsilon):
        return np.ones_like(fpr)
    left = math.exp(min(epsilon, 700)) * fpr + delta  # e^700 is about the last number
    right = 1 - math.exp(-epsilon) * (1 - delta - fpr)
    return np.clip(np.minimum(left, right), 0, 1)


# ---- one run -----------------------------------------------------------------------------------


def one_run_p_value(m: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Chance of so many right guesses if the mechanism kept its promise (Steinke et al., 2023).

    Parameters
    ----------
    m : int
        Canaries, each included by a fair coin of its own.
    guesses, right : int
        Canaries that the attack made a guess about (the others: "don't know"), and right ones.
    """
    q = 1 / (1 + math.exp(-epsilon))
    beta = float(stats.binom.sf(right - 1, guesses, q))
    if not delta:
        return min(1.0, beta)
    tail = np.cumsum(stats.binom.pmf(right - np.arange(1, right + 1), guesses, q))
    alpha = float(np.max(tail / np.arange(1, right + 1), initial=0.0))
    return min(1.0, beta + 2 * m * delta * alpha)


@dataclass(frozen=True)
class OneRun:
    """Outcome of a one-run audit: `epsilon` is a lower bound at the given confidence."""

    epsilon: float
    certifiable: float  # what all guesses right would have given
    guesses: int
    right: int
    m: int
    level: float


def one_run_epsilon(
    scores: np.ndarray,
    included: np.ndarray,
    *,
    guesses: Sequence[int],
    delta: float = 0.0,
    level: float = 0.95,
) -> OneRun:
    """Lower bound on epsilon from one training run (Steinke, Nasr & Jagielski, 2023).

    The highest scores are guessed in, the lowest out, half of the guesses each. Each number of
    guesses is a test of its own; the error is shared out among them, so that the best may be taken.

    The order of the canaries counts for nothing. Where the last guess has to be made among equal
    scores, the outcome is what all but a few of the possible choices give at least.

    Parameters
    ----------
    scores : float (m,)
        Higher: more likely included. Chosen without a look at `included`.
    included : bool (m,)
        Drawn by independent fair coins; every other record is the same whatever they show.
    guesses : sequence of even ints
        Numbers of guesses to try, decided beforehand.

    Raises
    ------
    InputError
        If shapes disagree, a score is NaN or infinite, a number of guesses is odd or larger than m,
        or delta or level is out of range.
    """
    scores, included = _pairs(scores, included, "included", "canary")
    m, guesses = scores.size, arguments.several("guesses", guesses, "even numbers, such as [100]")
    if not guesses or any(
        not isinstance(r, Real) or not 2 <= float(r) <= m or float(r) % 2 for r in guesses
    ):
        raise InputError(f"guesses={guesses}; expected even numbers from 2 to m={m}")
    outcomes = []
    for r in sorted({int(r) for r in guesses}):
        high, some = _right(scores, included, r // 2)
        low, others = _right(-scores, ~included, r // 2)
        outcomes.append((r, high + low, some or others))
    return _best(m, outcomes, delta, level, one_run_p_value)


def _pairs(scores, truth, name: str, record: str) -> tuple[np.ndarray, np.ndarray]:
    scores = as_numbers(scores, "scores").astype(np.float64, copy=False)
    truth = as_bool(truth, name)
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise InputError(
            f"scores {scores.shape} and {name} {truth.shape}; expected one of each for every "
            f"{record}, both (n,)"
        )
    if not np.isfinite(scores).all():
        raise InputError(f"scores hold NaN or infinity; every {record} needs a finite score")
    return scores, truth


def _exchange(m: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The same where a coin takes one record out and another one in: two steps of privacy."""
    return one_run_p_value(m, guesses, right, 2 * epsilon, (1 + math.exp(epsilon)) * delta)


def _best(m: int, outcomes, delta: float, level: float, p_value) -> OneRun:
    """Of several (guesses, right ones, was there a choice among equals?)."""
    _check_delta(delta)
    error = check_level(level) / len(outcomes)
    found = []
    for r, right, choice in outcomes:
        own = error * (1 - _TIED) if choice else error
        found.append((_largest_refuted(m, r, right, delta, own, p_value), r, right))
    bound, r, right = max(found, key=lambda each: each[0])
    most = max(_largest_refuted(m, n, n, delta, error, p_value) for n, *_ in outcomes)
    return OneRun(bound, most, r, right, m, level)


def _right(scores: np.ndarray, truth: np.ndarray, count: int) -> tuple[int, bool]:
    """How many of the `count` highest scores are true, and whether equal scores left a choice.

    A choice by chance makes a valid test, since it knows nothing of the truth. If all but a share
    _TIED of the choices refute a promise, at an error of (1 - _TIED) of what is allowed, then so may
    we: whoever errs then errs for nearly every choice. Half of the share is spent on each end.
    """
    last = np.partition(scores, scores.size - count)[scores.size - count]
    above, tied = scores > last, scores == last
    right, among, left = (int(n) for n in (truth[above].sum(), tied.sum(), count - above.sum()))
    right_there = int(truth[tied].sum())
    if left == among:
        return right + right_there, False
    return right + int(stats.hypergeom.ppf(_TIED / 2, among, right_there, left)), True


def split_epsilon(
    scores: np.ndarray,
    members: np.ndarray,
    labels: np.ndarray,
    *,
    shares: Sequence[float] = (0.01, 0.1, 0.5),
    delta: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> OneRun:
    """Lower bound on epsilon from one model that was trained on a random part of the records.

    For quarters and halves, whose sizes are fixed, so that no record has a coin of its own. But in
    a random pair of a member and a non-member of one class it is a fair coin which of them is the
    member, independently for all pairs: had both changed places, the split would have been as
    likely. The attack guesses for the pairs whose scores differ most that the higher one is the
    member's; two equal scores are a wrong guess. The order of the records and the names of the
    classes count for nothing. A coin exchanges two records,
    and (epsilon, delta) for adding or removing one is (2 epsilon, (1 + e^epsilon) delta) for that:
    P <= e^epsilon (e^epsilon P'' + delta) + delta.

    Parameters
    ----------
    scores : float (n,)
        Of the judged records. Higher: more likely a member. Found without a look at `members`.
    members : bool (n,)
        A random part, of a size fixed in advance, of each class or of all.
    labels : integers (n,)
    shares : sequence of float in (0, 1]
        Of the pairs about which a guess is made, decided beforehand.
    seed : int
        Of the pairing.

    Raises
    ------
    InputError
        If shapes disagree, a share is out of range, or no class has members and non-members.
    """
    scores, members = _pairs(scores, members, "members", "record")
    labels = as_array(labels, "labels")
    if labels.shape != scores.shape:
        raise InputError(
            f"scores {scores.shape} and labels {labels.shape}; expected one of each for every record"
        )
    shares = arguments.several("shares", shares, "shares of the pairs, such as [0.1]")
    if not shares or any(
        not isinstance(share, Real) or not 0 < float(share) <= 1 for share in shares
    ):
        raise InputError(f"shares={shares}; expected shares of the pairs, in (0, 1]")
    arguments.seed(seed)
    rng = np.random.default_rng([seed, 10])
    pairs = []
    for inside, outside in _by_class(scores, members, labels):
        count = min(inside.size, outside.size)
        pairs.append([rng.permutation(side)[:count] for side in (inside, outside)])
    inside, outside = np.concatenate(pairs, axis=1)
    lead, m = inside - outside, inside.size
    if not m:
        raise InputError("no class has both members and non-members; there is nothing to compare")
    if m < 2:
        raise InputError("1 pair of a member and a non-member; expected at least 2")
    outcomes = [
        (r, *_right(np.abs(lead), lead > 0, r))
        for r in sorted({max(2, 2 * int(share * m / 2)) for share in shares})
    ]
    return _best(m, outcomes, delta, level, _exchange)


def _by_class(scores, members, labels) -> list[tuple[np.ndarray, np.ndarray]]:
    """Members' and non-members' scores of every class, sorted: in an order of their own."""
    order = np.argsort(labels, kind="stable")
    first = np.unique(labels[order], return_index=True)[1]
    sides = []
    for rows in np.split(order, first[1:]):  # no mask a class: of a thousand that is a gigabyte
        here, inside = scores[rows], members[rows]
        sides.append((np.sort(here[inside]), np.sort(here[~inside])))
    return sorted(sides, key=lambda two: tuple(side.tolist() for side in two))


@lru_cache(maxsize=4096)
def _largest_refuted(m: int, r: int, right: int, delta: float, error: float, p_value) -> float:
    """The largest epsilon whose p-value is below `error`, 0 if none."""

    def excess(epsilon: float) -> float:
        return p_value(m, r, right, epsilon, delta) - error

    if excess(0.0) >= 0:
        return 0.0
    if excess(_LARGEST) < 0:
        return _LARGEST
    return float(brentq(excess, 0.0, _LARGEST, xtol=1e-6))


# ---- many runs ---------------------------------------------------------------------------------


def many_runs_epsilon(
    with_record: np.ndarray,
    without_record: np.ndarray,
    *,
    threshold: float,
    delta: float = 0.0,
    level: float = 0.95,
) -> float:
    """Lower bound on epsilon from many runs with and without one record (Clopper & Pearson, 1934).

    The shares of runs found with the record and spared without it are bounded jointly, each with
    half of the error: so the better of the two directions may be taken.

    Parameters
    ----------
    with_record, without_record : float (runs,)
        The statistic of each run; at or above the threshold: "the record was there".
    threshold : float
        Decided on other runs than these.

    Raises
    ------
    InputError
        If one of the two is empty, a value is NaN, or delta or level is out of range.
    """
    a, b = as_numbers(with_record, "with_record"), as_numbers(without_record, "without_record")
    if not (a.ndim == b.ndim == 1 and a.size and b.size):
        raise InputError(
            f"runs {a.shape} with and {b.shape} without the record; expected some of each"
        )
    arguments.number("threshold", threshold, "a number", -math.inf, math.inf, closed="low high")
    if np.isnan(np.concatenate([a, b])).any():
        raise InputError("a run's statistic (with_record, without_record) is NaN; expected numbers")
    _check_delta(delta)
    error = check_level(level) / 2
    found = _lower(int((a >= threshold).sum()), a.size, error)
    spared = _lower(int((b < threshold).sum()), b.size, error)
    return max(_log_ratio(found - delta, 1 - spared), _log_ratio(spared - delta, 1 - found), 0.0)


def _lower(k: int, n: int, error: float) -> float:
    return float(stats.beta.ppf(error, k, n - k + 1)) if k else 0.0


def _log_ratio(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else 0.0


# ---- an estimate -------------------------------------------------------------------------------


def gaussian_epsilon(auc: float, delta: float) -> float:
    """Epsilon of the Gaussian mechanism whose best attack has this AUC: an estimate, no bound.

    With mu = sqrt(2) z(AUC) the mechanism is mu-GDP (Dong, Roth & Su, 2022), and epsilon solves
    delta = Phi(-eps/mu + mu/2) - e^eps Phi(-eps/mu - mu/2). Another attack may do better than the
    one that gave the AUC, and the mechanism need not be Gaussian.

    Raises
    ------
    InputError
        If AUC or delta is not in (0, 1).
    """
    arguments.number("auc", auc, "a number in (0, 1)", 0, 1)
    arguments.number("delta", delta, "a number in (0, 1)", 0, 1)
    mu = math.sqrt(2) * float(stats.norm.ppf(auc))
    if mu <= 0:
        return 0.0

    def excess(epsilon: float) -> float:
        first = stats.norm.cdf(-epsilon / mu + mu / 2)
        second = math.exp(epsilon + stats.norm.logcdf(-epsilon / mu - mu / 2))
        return float(first - second - delta)

    return float(brentq(excess, 0.0, 500.0)) if excess(0.0) > 0 else 0.0
