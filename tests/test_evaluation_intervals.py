"""Do the intervals cover? Simulations with fixed seeds, judged by a one-sided binomial test.

A test fails only if the misses are significantly more (p < 0.01) than the level allows.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from mia_utils.errors import InputError
from mia_utils.evaluation import (
    accuracy_interval,
    auc,
    auc_interval,
    balanced_accuracy_interval,
    clopper_pearson,
    mean_interval,
    paired_auc_difference,
    prediction_interval,
    ratio_interval,
    roc_band,
    tpr_at_fpr,
    tpr_at_fpr_interval,
    tpr_ratio_interval,
)
from mia_utils.evaluation.intervals import placements

ALPHA = 0.05


def missed(interval, truth) -> bool:
    return not interval.low - 1e-12 <= truth <= interval.high + 1e-12


def significantly_above(misses: int, runs: int, alpha: float = ALPHA) -> bool:
    return binom.sf(misses - 1, runs, alpha) < 0.01


def group(m, n):
    return np.arange(m + n) < m


def normal(rng, members, shift):
    return rng.normal(size=members.size) + shift * members


SIZES = [(50, 50), (50, 400), (400, 50), (500, 500)]


@pytest.mark.parametrize("truth", [0.5, 0.8, 0.99, 0.999, 1.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_auc_interval_covers(truth, sizes):
    rng = np.random.default_rng([int(1000 * truth), *sizes])
    members, runs = group(*sizes), 500
    shift = 60.0 if truth == 1 else norm.ppf(truth) * np.sqrt(2)
    misses = sum(
        missed(auc_interval(normal(rng, members, shift), members), truth) for _ in range(runs)
    )
    assert not significantly_above(misses, runs), misses


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("share", [0.3, 0.04, 0.01])
@pytest.mark.parametrize("kind", ["bottom", "hidden", "binary"])
def test_auc_interval_covers_where_few_records_decide(kind, share, sizes):
    """A share of members below all non-members, or just like them; or a score of two values.

    DeLong's variance is 0 whenever no such member is in the sample.
    """
    rng = np.random.default_rng([int(1000 * share), *sizes])
    members, runs, misses = group(*sizes), 200, 0
    for _ in range(runs):
        odd = members & (rng.random(members.size) < share)
        if kind == "binary":
            scores, truth = (members & ~odd) * 1.0, 1 - share / 2
        else:
            scores = normal(rng, members, 30.0) - odd * (60.0 if kind == "bottom" else 30.0)
            truth = 1 - share * (1.0 if kind == "bottom" else 0.5)
        misses += missed(auc_interval(scores, members), truth)
    assert not significantly_above(misses, runs), misses


def test_plain_delong_would_not_cover_near_one():
    rng = np.random.default_rng(0)
    members, runs, misses = group(50, 50), 300, 0
    truth = 0.99
    for _ in range(runs):
        scores = normal(rng, members, norm.ppf(truth) * np.sqrt(2))
        error = np.sqrt(sum(v.var(ddof=1) / v.size for v in placements(scores, members)))
        misses += abs(auc(scores, members) - truth) > norm.isf(ALPHA / 2) * error
    assert significantly_above(misses, runs)


def test_auc_interval_is_delongs_with_many_records():
    rng = np.random.default_rng(1)
    members = group(5000, 4000)
    scores = normal(rng, members, 1.0)
    low, high = auc_interval(scores, members)[1:]
    inside, outside = scores[members], scores[~members]
    kernel = (inside[:, None] > outside) * 1.0  # the definition, as a matrix
    error = np.sqrt(kernel.mean(1).var(ddof=1) / 5000 + kernel.mean(0).var(ddof=1) / 4000)
    assert high - low == pytest.approx(2 * norm.isf(0.025) * error, rel=0.02)


def test_auc_interval_at_the_ends():
    for m, n in ((1, 1), (1, 30), (50, 70)):
        members = group(m, n)
        perfect = auc_interval(members * 1.0, members)
        assert perfect[::2] == (1.0, 1.0)
        assert perfect.low == pytest.approx(0.025 ** (1 / min(m, n)))
        upside_down = auc_interval(~members * 1.0, members)
        assert upside_down == pytest.approx((0.0, 0.0, 1 - perfect.low))


def test_clopper_pearson_inverts_the_binomial():
    for hits in (0, 3, 20):
        low, high = clopper_pearson(hits, 20, level=0.9)
        assert low == 0 if hits == 0 else binom.sf(hits - 1, 20, low) == pytest.approx(0.05)
        assert high == 1 if hits == 20 else binom.cdf(hits, 20, high) == pytest.approx(0.05)
    low, high = clopper_pearson(np.arange(21), 20)
    for truth in np.linspace(0.01, 0.99, 23):
        covered = binom.pmf(np.arange(21), 20, truth)[(low <= truth) & (truth <= high)].sum()
        assert covered >= 0.95


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.5, 0.5), (0.95, 0.4), (1.0, 0.98)])
@pytest.mark.parametrize("sizes", [(50, 50), (50, 500), (400, 100)])
def test_accuracy_intervals_cover(sensitivity, specificity, sizes):
    rng = np.random.default_rng([int(100 * sensitivity), *sizes])
    members, runs = group(*sizes), 300
    balanced = (sensitivity + specificity) / 2
    plain = (sizes[0] * sensitivity + sizes[1] * specificity) / sum(sizes)
    misses = np.zeros(2, dtype=int)
    for _ in range(runs):
        chance = np.where(members, sensitivity, 1 - specificity)
        scores = (rng.random(members.size) < chance) * 1.0
        misses[0] += missed(balanced_accuracy_interval(scores, members, 0.5), balanced)
        misses[1] += missed(accuracy_interval(scores, members, 0.5), plain)
    assert not significantly_above(int(misses[0]), runs)
    assert not significantly_above(int(misses[1]), runs)


RATE_CASES = [
    # members, non-members, fpr, shift, spread of members
    (100, 100, 0.1, 1.0, 1.0),
    (1000, 1000, 0.01, 2.0, 1.0),
    (200, 2000, 0.01, 1.0, 3.0),
    (3000, 500, 0.1, 1.0, 1.0),
    (1000, 1000, 0.1, 1.3, 0.1),  # the curve is a wall at this very rate
    (2000, 10000, 0.001, 2.0, 1.0),
]


@pytest.mark.parametrize("case", RATE_CASES)
def test_tpr_interval_covers(case):
    m, n, fpr, shift, spread = case
    rng = np.random.default_rng([m, n])
    members, runs = group(m, n), 250
    truth = norm.sf((norm.isf(fpr) - shift) / spread)
    misses = 0
    for _ in range(runs):
        scores = np.concatenate([rng.normal(shift, spread, m), rng.normal(size=n)])
        misses += missed(tpr_at_fpr_interval(scores, members, fpr), truth)
    assert not significantly_above(misses, runs), misses


@pytest.mark.parametrize("steps", [1.0, 3.0])
def test_tpr_interval_covers_with_ties(steps):
    rng = np.random.default_rng(int(steps))
    members, runs, misses = group(400, 600), 250, 0
    # The lowest grid point with P(non-member above it) <= 0.1; members above it are hits.
    cut = np.ceil(norm.isf(0.1) * steps - 1)
    truth = norm.sf((cut + 1) / steps - 1)
    for _ in range(runs):
        scores = np.floor(normal(rng, members, 1.0) * steps)
        misses += missed(tpr_at_fpr_interval(scores, members, 0.1), truth)
    assert not significantly_above(misses, runs), misses


def test_naive_clopper_pearson_would_not_cover():
    """Why `tpr_at_fpr_interval` exists: the threshold is as uncertain as the members."""
    rng = np.random.default_rng(3)
    m, n, runs, misses = 3000, 500, 250, 0
    truth = norm.sf(norm.isf(0.1) - 1)
    for _ in range(runs):
        scores = normal(rng, group(m, n), 1.0)
        hits = round(tpr_at_fpr(scores, group(m, n), 0.1) * m)
        low, high = clopper_pearson(hits, m)
        misses += not low <= truth <= high
    assert misses / runs > 0.4


def test_tpr_interval_in_its_two_limits():
    """Known threshold: Clopper-Pearson; known members: order statistics of the non-members."""
    members = group(60, 40000)
    scores = np.where(members, np.where(np.arange(40060) < 20, 9.0, -9.0), 0.0)
    scores[~members] = np.linspace(-1, 1, 40000)  # no member near the threshold
    interval = tpr_at_fpr_interval(scores, members, 0.01)
    assert interval == pytest.approx((1 / 3, *clopper_pearson(20, 60)), abs=1e-9)

    members = group(200_000, 300)
    scores = np.concatenate([np.linspace(0, 1, 200_000), np.linspace(0, 1, 300)])
    interval = tpr_at_fpr_interval(scores, members, 0.1)
    # The true rate above the r-th largest of n is Beta(r, n + 1 - r); here that is the rank itself.
    lows, highs = binom.ppf([0.025, 0.975], 300, 0.1) / 300
    assert interval.low == pytest.approx(lows, abs=0.006)
    assert interval.high == pytest.approx(highs, abs=0.006)


@pytest.mark.parametrize(
    ("shift_a", "shift_b", "correlation", "sizes"),
    [
        (1, 0.8, 0.95, (50, 200)),
        (3.3, 3.0, 0.5, (50, 50)),
        (4.5, 1, 0, (50, 50)),
        (2, 1.5, 0.7, (400, 400)),
    ],
)
def test_paired_difference_covers(shift_a, shift_b, correlation, sizes):
    rng = np.random.default_rng([sizes[0], int(100 * correlation)])
    members, runs, misses = group(*sizes), 300, 0
    truth = norm.cdf(shift_a / np.sqrt(2)) - norm.cdf(shift_b / np.sqrt(2))
    for _ in range(runs):
        noise = rng.normal(size=(2, members.size))
        other = correlation * noise[0] + np.sqrt(1 - correlation**2) * noise[1]
        difference = paired_auc_difference(
            noise[0] + shift_a * members, other + shift_b * members, members
        )
        misses += missed(difference, truth)
    assert not significantly_above(misses, runs), misses


@pytest.mark.parametrize(("a", "b", "n"), [(0.05, 0.01, 500), (0.5, 0.5, 50), (0.3, 0.25, 300)])
def test_ratio_covers(a, b, n):
    rng = np.random.default_rng(n)
    runs, misses = 250, 0
    for seed in range(runs):
        first = rng.random(n)
        second = np.where(rng.random(n) < 0.5, first, rng.random(n))
        misses += missed(ratio_interval(first < a, second < b, seed=seed), a / b)
    assert not significantly_above(misses, runs), misses


@pytest.mark.parametrize(("shifts", "correlation", "fpr"), [((2, 1), 0.7, 0.1), ((1, 0), 0, 0.02)])
def test_tpr_ratio_covers(shifts, correlation, fpr):
    rng = np.random.default_rng(8)
    members, runs, misses = group(600, 800), 200, 0
    truth = norm.sf(norm.isf(fpr) - shifts[0]) / norm.sf(norm.isf(fpr) - shifts[1])
    for seed in range(runs):
        noise = rng.normal(size=(2, members.size))
        other = correlation * noise[0] + np.sqrt(1 - correlation**2) * noise[1]
        a, b = noise[0] + shifts[0] * members, other + shifts[1] * members
        misses += missed(tpr_ratio_interval(a, b, members, fpr, seed=seed), truth)
    assert not significantly_above(misses, runs), misses


@pytest.mark.parametrize(("shift", "sizes"), [(0.0, (60, 60)), (1.5, (300, 1000))])
def test_band_holds_everywhere_at_once(shift, sizes):
    rng = np.random.default_rng(sizes[1])
    members, runs, misses = group(*sizes), 300, 0
    for _ in range(runs):
        band = roc_band(normal(rng, members, shift), members)
        misses += bool((band.tpr_low > norm.sf(norm.isf(band.fpr) - shift) + 1e-12).any())
    assert not significantly_above(misses, runs), misses


def test_band_limits_are_quantiles_of_order_statistics():
    """The local limits against scipy's beta, and a chance of any miss near but below alpha."""
    from mia_utils.evaluation.compare import _grid

    n = 400
    ranks = _grid(n)
    rng = np.random.default_rng(2)
    rates = np.sort(rng.random((4000, n)), axis=1)[:, ranks - 1]
    limit = beta.isf(ALPHA / 2 / ranks.size, ranks, n + 1 - ranks)
    band = roc_band(np.arange(2.0 * n), np.arange(2 * n) >= n)
    assert band.fpr[1:-1] == pytest.approx(limit)
    missing = (rates > limit).any(axis=1).sum()
    assert not significantly_above(int(missing), 4000, ALPHA / 2)
    assert missing > 0


def test_mean_and_prediction_intervals():
    rng = np.random.default_rng(4)
    runs, misses = 2000, np.zeros(2, dtype=int)
    for _ in range(runs):
        *values, new = rng.normal(0.7, 0.02, 4)
        misses += missed(mean_interval(values), 0.7), missed(prediction_interval(values), new)
    assert not significantly_above(int(misses[0]), runs)
    assert not significantly_above(int(misses[1]), runs)
    assert binom.cdf(misses, runs, ALPHA).min() > 0.001  # exact, so not too wide either
    mean, predicted = mean_interval([0.6, 0.7, 0.8]), prediction_interval([0.6, 0.7, 0.8])
    assert mean.high - mean.value == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-6)
    assert predicted.high - predicted.value == pytest.approx(4.302653 * 0.1 * np.sqrt(4 / 3))
    for bad in ([0.5, 0.6], [0.5, 0.6, np.nan], [[0.5, 0.6, 0.7]]):
        for function in (mean_interval, prediction_interval):
            with pytest.raises(InputError):
                function(bad)


def test_a_missing_figure_is_told_before_how_few_there_are():
    with pytest.raises(InputError, match="values hold NaN"):
        mean_interval([1.0, np.nan])


def test_endless_trials_are_none():
    with pytest.raises(InputError, match="hits=5.0 of trials=inf"):
        clopper_pearson(5, np.inf)
