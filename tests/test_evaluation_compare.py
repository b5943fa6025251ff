"""Comparisons of attacks and groups: definitions, corner cases, and corrections for many tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, mannwhitneyu, norm

from mia_utils.errors import InputError
from mia_utils.evaluation import (
    auc,
    auc_interval,
    group_metrics,
    holm,
    paired_auc_difference,
    ratio_interval,
    roc_band,
    tpr_at_fpr,
    tpr_at_fpr_interval,
    tpr_ratio_interval,
)
from mia_utils.evaluation.compare import _random_weights


def planted(m=300, n=300, shift=1.0, seed=0):
    members = np.arange(m + n) < m
    return np.random.default_rng(seed).normal(size=m + n) + shift * members, members


def test_paired_difference_is_delongs_far_from_the_ends():
    scores, members = planted(2000, 1500)
    other = scores + np.random.default_rng(1).normal(size=scores.size)
    difference = paired_auc_difference(scores, other, members)
    assert difference.value == pytest.approx(auc(scores, members) - auc(other, members))
    kernels = [
        (s[members][:, None] > s[~members]) * 1.0 for s in (scores, other)
    ]  # no ties: the definition as a matrix
    delta = kernels[0] - kernels[1]
    error = np.sqrt(delta.mean(1).var(ddof=1) / 2000 + delta.mean(0).var(ddof=1) / 1500)
    width = difference.high - difference.low
    assert width == pytest.approx(2 * norm.isf(0.025) * error, rel=0.02)
    unpaired = sum(np.diff(auc_interval(s, members)[1:])[0] ** 2 for s in (scores, other)) ** 0.5
    assert width < 0.8 * unpaired  # pairing pays


def test_paired_difference_corner_cases():
    scores, members = planted()
    same = paired_auc_difference(scores, np.exp(scores), members)
    assert same.value == 0 and same.low <= 0 <= same.high and same.high - same.low < 0.01
    forward = paired_auc_difference(scores, -scores, members)
    backward = paired_auc_difference(-scores, scores, members)
    assert forward == pytest.approx((-backward[0], -backward[2], -backward[1]))
    perfect = paired_auc_difference(members * 1.0, members * 2.0, members)
    assert perfect.low < 0 < perfect.high  # two perfect attacks may still differ elsewhere
    constant = paired_auc_difference(np.zeros(600), scores, members)
    assert constant.high < 0
    with pytest.raises(InputError, match="2 members"):
        paired_auc_difference(scores[:5], scores[:5], np.arange(5) < 1)
    with pytest.raises(InputError, match="attack B"):
        paired_auc_difference(scores, scores[:-1], members)


def test_ratio_is_paired_and_handles_zero():
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.2
    assert ratio_interval(hits, hits) == pytest.approx((1, 1, 1), abs=0.06)
    shuffled = ratio_interval(hits, rng.permutation(hits))
    assert shuffled.low < 0.9 and shuffled.high > 1.1
    assert ratio_interval(hits, hits) == ratio_interval(hits, hits, seed=0)
    none = np.zeros(400, dtype=bool)
    infinite = ratio_interval(hits, none)
    assert infinite.value == infinite.high == np.inf
    assert 1 < infinite.low < hits.sum()
    zero = ratio_interval(none, hits)
    assert zero[:2] == (0.0, 0.0) and 0 < zero.high < 0.2
    undefined = ratio_interval(none, none)
    assert np.isnan(undefined.value) and undefined[1:] == (0.0, np.inf)
    for a, b in ((hits, hits[:-1]), (hits[:0], hits[:0]), (hits * 0.5, hits)):
        with pytest.raises(InputError):
            ratio_interval(a, b)


@pytest.mark.parametrize("top", [20, 15])
def test_records_above_a_drawn_threshold_are_binomial(top):
    """One weight more than records; with as many as records the mean would be 9.5."""
    weights, total = _random_weights(top, 20, np.random.default_rng(0))
    above = (np.cumsum(weights, axis=1) <= 0.5 * total[:, None]).sum(axis=1)
    assert above.mean() == pytest.approx(10, abs=4 * np.sqrt(5 / len(above)))
    assert above.var() == pytest.approx(5, rel=0.15)


def test_tpr_ratio_draws_both_thresholds():
    scores, members = planted(3000, 3000, 1.5)
    weak, _ = planted(3000, 3000, 0.5, seed=1)
    ratio = tpr_ratio_interval(scores, weak, members, 0.01)
    assert ratio.value == tpr_at_fpr(scores, members, 0.01) / tpr_at_fpr(weak, members, 0.01)
    assert ratio.low < ratio.value < ratio.high
    # Independent attacks: on the log scale the squared widths of the two rates add up.
    logs = [
        np.log(i.high / i.low)
        for i in (tpr_at_fpr_interval(s, members, 0.01) for s in (scores, weak))
    ]
    assert np.log(ratio.high / ratio.low) == pytest.approx(np.hypot(*logs), rel=0.2)
    same = tpr_ratio_interval(scores, 2 * scores, members, 0.01)
    assert same.value == 1 and same.high / same.low < 1.1
    with pytest.raises(InputError, match="with 3,000 non-members; 10,000 are needed"):
        tpr_ratio_interval(scores, weak, members, 0.001)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_rejects_step_by_step(p_values):
    adjusted = holm(p_values)
    assert ((adjusted >= p_values) & (adjusted <= 1)).all()
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] * (len(p_values) - step) > level:
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(adjusted <= level)) == rejected


def test_holm_wants_probabilities():
    for bad in ([0.5, 1.5], [np.nan], [[0.1]]):
        with pytest.raises(InputError, match="p-values"):
            holm(bad)


def test_groups_find_the_planted_one_and_only_that():
    rng = np.random.default_rng(3)
    groups = np.arange(4000) % 20
    members = rng.random(4000) < 0.5
    scores = rng.normal(size=4000) + 1.0 * (members & (groups == 7))
    small = np.where(groups == 3, np.where(np.arange(4000) < 100, 3, 99), groups)
    found = group_metrics(scores, members, small)
    assert found[3] is None and set(found) == {*range(20), 99}
    assert [g for g, row in found.items() if row and row.p_adjusted <= 0.05] == [7]
    row = found[7]
    inside = groups == 7
    s, m = scores[inside], members[inside]
    assert row[:3] == auc_interval(s, m)
    assert row.p_value == pytest.approx(mannwhitneyu(s[m], s[~m], alternative="greater").pvalue)
    assert (row.n_members, row.n_nonmembers) == (m.sum(), (~m).sum())
    tested = [row for row in found.values() if row]
    assert [row.p_adjusted for row in tested] == holm([row.p_value for row in tested]).tolist()


def test_groups_without_a_leak_are_rarely_flagged():
    rng = np.random.default_rng(4)
    runs, flagged = 100, 0
    for _ in range(runs):
        found = group_metrics(
            rng.normal(size=800), rng.random(800) < 0.5, np.arange(800) % 10, min_records=5
        )
        flagged += any(row.p_adjusted <= 0.05 for row in found.values())
    assert binom.sf(flagged - 1, runs, 0.05) > 0.01


def test_group_corner_cases():
    members = np.arange(60) % 2 == 0
    letters = np.array(["a", "b", "c"] * 20)
    constant = group_metrics(np.full(60, -np.inf), members, letters, min_records=10)
    assert set(constant) == {"a", "b", "c"}
    assert all((row.auc, row.p_adjusted) == (0.5, 1.0) for row in constant.values())
    infinite = group_metrics(np.where(members, np.inf, 0.0), members, np.zeros(60))[0.0]
    assert infinite.auc == 1 and infinite.p_value < 1e-6
    assert group_metrics(members * 1.0, members, np.arange(60)) == dict.fromkeys(range(60))
    with pytest.raises(InputError, match="one a record"):
        group_metrics(members * 1.0, members, np.arange(59))
    with pytest.raises(InputError, match="min_records=0"):
        group_metrics(members * 1.0, members, np.arange(60), min_records=0)


def test_band_lies_below_the_curve_and_answers_anywhere():
    scores, members = planted(2000, 2000, 1.5)
    band = roc_band(scores, members)
    assert (np.diff(band.fpr) > 0).all() and (np.diff(band.tpr_low) >= 0).all()
    assert (band.fpr[0], band.tpr_low[0], band.tpr_low[-1]) == (0, 0, 1)
    for fpr in (0.01, 0.05, 0.2, 0.7):
        assert 0 < band.at(fpr) < tpr_at_fpr(scores, members, fpr)
    assert band.at([0.0, 1.0]).tolist() == [0.0, 1.0]
    assert (roc_band(scores, members, level=0.5).at(band.fpr) >= band.tpr_low).all()
    # Kolmogorov's band at 97.5 % an axis cannot go below its own width; this one does.
    assert band.at(0.02) > 0.1 and np.sqrt(np.log(40) / 4000) > 0.02


def test_band_refutes_too_strong_a_privacy_promise_only():
    """Randomised response on one bit, truth kept with probability e/(1+e): epsilon is 1."""
    rng = np.random.default_rng(6)
    members = np.arange(8000) < 4000
    keep = rng.random(8000) < np.e / (1 + np.e)
    band = roc_band(np.where(keep, members, ~members) * 1.0, members)
    crossed = {e: bool((band.tpr_low > np.exp(e) * band.fpr).any()) for e in (0.5, 0.8, 1.0)}
    assert crossed == {0.5: True, 0.8: True, 1.0: False}


@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (4, 2)])
def test_band_of_a_few_records(sizes):
    members = np.arange(sum(sizes)) < sizes[0]
    band = roc_band(members * 1.0, members)
    assert ((band.tpr_low >= 0) & (band.tpr_low <= 1)).all()
    # Ties of all records say nothing: no false-positive rate below 1 has a positive limit.
    tied = roc_band(np.zeros(members.size), members)
    assert (tied.tpr_low[:-1] == 0).all()
