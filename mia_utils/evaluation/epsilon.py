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

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from ..errors import InputError

_LARGEST = 50.0  # epsilon beyond which nobody asks


def dp_curve(fpr: np.ndarray, epsilon: float, delta: float = 0.0) -> np.ndarray:
    """The largest true-positive rate that (epsilon, delta) allows at each false-positive rate.

    min(1, e^eps fpr + delta, 1 - e^-eps (1 - delta - fpr)): Kairouz, Oh & Viswanath (2015).

    >>> round(float(dp_curve(0.1, 0.0)), 12)
    0.1
    """
    fpr = np.asarray(fpr, dtype=np.float64)
    if math.isinf(epsilon):
        return np.ones_like(fpr)
    left = math.exp(epsilon) * fpr + delta
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
        If shapes disagree or a number of guesses is odd or larger than m.
    """
    scores, included = np.asarray(scores, dtype=np.float64), np.asarray(included)
    if scores.ndim != 1 or scores.shape != included.shape or included.dtype != bool:
        raise InputError(
            f"scores {scores.shape} and included {included.dtype} {included.shape}; "
            "expected float (m,) and bool (m,)"
        )
    if not np.isfinite(scores).all():
        raise InputError("scores hold NaN or infinity; every canary needs a finite score")
    m = scores.size
    if not guesses or any(r < 2 or r % 2 or r > m for r in guesses):
        raise InputError(f"guesses={tuple(guesses)}; expected even numbers from 2 to m={m}")
    return _best(scores, included, guesses, delta, level, one_run_p_value)


def _exchange(m: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The same where a coin takes one record out and another one in: two steps of privacy."""
    return one_run_p_value(m, guesses, right, 2 * epsilon, (1 + math.exp(epsilon)) * delta)


def _best(scores, included, guesses, delta: float, level: float, p_value) -> OneRun:
    m, error = scores.size, (1 - level) / len(guesses)
    order = np.argsort(scores, kind="stable")
    found = []
    for r in guesses:
        low, high = order[: r // 2], order[m - r // 2 :]
        right = int((~included[low]).sum() + included[high].sum())
        found.append((_largest_refuted(m, r, right, delta, error, p_value), r, right))
    bound, r, right = max(found, key=lambda each: each[0])
    most = max(_largest_refuted(m, n, n, delta, error, p_value) for n in guesses)
    return OneRun(bound, most, r, right, m, level)


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
    likely. The attack guesses for the pairs whose scores differ most. A coin exchanges two records,
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
    scores, members = np.asarray(scores, dtype=np.float64), np.asarray(members)
    labels = np.asarray(labels)
    if not (scores.ndim == 1 and scores.shape == members.shape == labels.shape):
        raise InputError(
            f"scores {scores.shape}, members {members.shape} and labels {labels.shape}; expected "
            "one of each for every record"
        )
    if not shares or any(not 0 < share <= 1 for share in shares):
        raise InputError(f"shares={tuple(shares)}; expected shares of the pairs, in (0, 1]")
    if not np.isfinite(scores).all():
        raise InputError("scores hold NaN or infinity; every judged record needs a finite score")
    rng = np.random.default_rng([seed, 10])
    pairs = []
    for label in np.unique(labels):
        inside, outside = (
            rng.permutation(np.flatnonzero((labels == label) & kind))
            for kind in (members, ~members)
        )
        count = min(inside.size, outside.size)
        pairs.append(np.stack([inside[:count], outside[:count]], axis=1))
    pairs = rng.permuted(np.concatenate(pairs), axis=1)  # which comes first tells nothing
    first, second = pairs.T
    if not first.size:
        raise InputError("no class has both members and non-members; there is nothing to compare")
    guesses = sorted({max(2, 2 * int(share * first.size / 2)) for share in shares})
    if guesses[-1] > first.size:
        raise InputError(f"{first.size} pair of a member and a non-member; expected at least 2")
    difference = scores[first] - scores[second]
    return _best(difference, members[first], guesses, delta, level, _exchange)


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
        If one of the two is empty.
    """
    a, b = np.asarray(with_record), np.asarray(without_record)
    if not (a.ndim == b.ndim == 1 and a.size and b.size):
        raise InputError(
            f"runs {a.shape} with and {b.shape} without the record; expected some of each"
        )
    error = (1 - level) / 2
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
    if not (0 < auc < 1 and 0 < delta < 1):
        raise InputError(f"auc={auc}, delta={delta}; expected numbers in (0, 1)")
    mu = math.sqrt(2) * float(stats.norm.ppf(auc))
    if mu <= 0:
        return 0.0

    def excess(epsilon: float) -> float:
        first = stats.norm.cdf(-epsilon / mu + mu / 2)
        second = math.exp(epsilon + stats.norm.logcdf(-epsilon / mu - mu / 2))
        return float(first - second - delta)

    return float(brentq(excess, 0.0, 500.0)) if excess(0.0) > 0 else 0.0
