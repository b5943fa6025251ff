"""Exact figures and `evaluate`, beside slow computations written from their definitions."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from synthetic import gaussian_outputs

from mia_utils.attacks import LiRA, LossAttack
from mia_utils.errors import InputError
from mia_utils.evaluation import (
    METHODS,
    Interval,
    NotMeasured,
    accuracy,
    accuracy_interval,
    auc,
    auc_interval,
    balanced_accuracy,
    balanced_accuracy_interval,
    best_threshold,
    clopper_pearson,
    columns,
    evaluate,
    group_metrics,
    holm,
    mean_interval,
    null_auc_range,
    paired_auc_difference,
    prediction_interval,
    ratio_interval,
    roc_curve,
    tpr_at_fpr,
    tpr_at_fpr_interval,
    tpr_column,
    tpr_ratio_interval,
)
from mia_utils.evaluation.report import FPRS, figure_columns

few = settings(deadline=None, derandomize=True, max_examples=50)
values = st.one_of(
    st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, math.inf]),
    st.floats(allow_nan=False, width=32),
    st.floats(allow_nan=False),
)


@st.composite
def scored(draw, max_size=25):
    scores = draw(st.lists(values, min_size=2, max_size=max_size))
    members = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    first = draw(st.integers(0, len(scores) - 2))
    members[first], members[first + 1] = True, False
    return np.array(scores), np.array(members)


def slow_auc(scores, members):
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, b in itertools.product(scores[members], scores[~members])
    ]
    return sum(wins) / len(wins)


def slow_rates(scores, members, threshold):
    called = [s >= threshold for s in scores]
    tp = sum(c and m for c, m in zip(called, members, strict=True))
    fp = sum(c and not m for c, m in zip(called, members, strict=True))
    return tp / members.sum(), fp / (~members).sum()


@few
@given(scored())
def test_auc_counts_pairs_and_equals_the_area(data):
    scores, members = data
    assert auc(scores, members) == pytest.approx(slow_auc(scores, members), abs=1e-12)
    curve = roc_curve(scores, members)
    assert trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(scores, members), abs=1e-12)
    flipped = 1 - auc(-scores, members)
    assert auc(scores, members) == pytest.approx(flipped, abs=1e-12)


@few
@given(scored())
def test_roc_has_one_point_a_distinct_score(data):
    scores, members = data
    curve = roc_curve(scores, members)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.fpr) >= 0).all() and (np.diff(curve.tpr) >= 0).all()
    assert sorted(curve.thresholds[1:], reverse=True) == list(curve.thresholds[1:])
    assert set(curve.thresholds[1:]) == set(scores)
    for fpr, tpr, threshold in zip(*(column[1:] for column in curve), strict=True):
        assert (tpr, fpr) == slow_rates(scores, members, threshold)


def test_constant_score_is_a_coin():
    members = np.arange(30) < 10
    for constant in (0.0, np.inf, -np.inf):
        scores = np.full(30, constant)
        curve = roc_curve(scores, members)
        assert curve.fpr.tolist() == curve.tpr.tolist() == [0.0, 1.0]
        assert auc(scores, members) == 0.5
        assert null_auc_range(scores, members) == (0.5, 0.5)
        assert tpr_at_fpr(scores, members, 0.5) == 0.0
        interval = auc_interval(scores, members)
        assert interval.low < 0.5 < interval.high


@few
@given(scored())
def test_best_threshold_beats_every_other(data):
    scores, members = data
    threshold, value = best_threshold(scores, members)
    assert balanced_accuracy(scores, members, threshold) == pytest.approx(value, abs=1e-12)
    candidates = [*scores, -math.inf, math.inf, *np.nextafter(scores, math.inf)]
    best = max(balanced_accuracy(scores, members, c) for c in candidates)
    assert value == pytest.approx(best, abs=1e-12)
    # Deterministic, whatever the order of the records.
    order = np.random.default_rng(0).permutation(scores.size)
    assert best_threshold(scores[order], members[order]) == (threshold, value)


@pytest.mark.parametrize(
    ("scores", "members", "threshold", "value"),
    [
        ([3, 1], [1, 0], 2.0, 1.0),
        ([1, 3], [1, 0], np.inf, 0.5),  # upside down: calling nothing and everything tie
        ([0, 0, 0], [1, 0, 1], np.inf, 0.5),
        ([np.inf, np.inf], [1, 0], -np.inf, 0.5),  # no threshold lies above an infinite score
        ([np.inf, 1], [1, 0], np.inf, 1.0),
        ([1, -np.inf], [1, 0], 1.0, 1.0),
        ([np.inf, -np.inf], [1, 0], np.inf, 1.0),
        ([4, 3, 2, 1], [1, 0, 1, 0], 3.5, 0.75),  # 3.5 and 1.5 tie: the higher accuses fewer
        ([np.nextafter(1, 2), 1], [1, 0], np.nextafter(1, 2), 1.0),
        ([1.5 * 2.0**1023, 2.0**1023], [1, 0], 1.25 * 2.0**1023, 1.0),  # their sum overflows
    ],
)
def test_best_threshold_by_hand(scores, members, threshold, value):
    found = best_threshold(np.array(scores, dtype=float), np.array(members, dtype=bool))
    assert found == (threshold, value)
    assert balanced_accuracy(scores, np.array(members, dtype=bool), found.threshold) == value


@few
@given(
    st.lists(st.integers(0, 12), min_size=20, max_size=60),
    st.lists(st.integers(0, 15), min_size=1, max_size=30),
    st.sampled_from([0.5, 0.55, 0.7, 0.9, 1.0]),
)
def test_tpr_at_fpr_tries_every_threshold(outside, inside, fpr):
    scores = np.array(outside + inside, dtype=float)
    members = np.arange(scores.size) >= len(outside)
    rates = [slow_rates(scores, members, t) for t in [np.inf, *scores]]
    best = max(tpr for tpr, false in rates if false <= fpr + 1e-12)
    assert tpr_at_fpr(scores, members, fpr) == best
    interval = tpr_at_fpr_interval(scores, members, fpr)
    assert 0 <= interval.low <= interval.value == best <= interval.high <= 1


def test_tpr_at_fpr_says_how_many_are_needed():
    members = np.arange(2000) < 1000
    scores = np.arange(2000.0)
    with pytest.raises(InputError, match="with 1,000 non-members; 10,000 are needed"):
        tpr_at_fpr(scores, members, 0.001)
    assert tpr_at_fpr(scores, members, 0.01) == 0.0
    with pytest.raises(InputError, match="33 non-members; 35 are needed"):
        tpr_at_fpr(scores[:34], np.arange(34) < 0.5, 0.29)
    # 0.29 * 100 rounds to less than 29: 29 false positives are allowed nevertheless.
    scores = np.concatenate([np.arange(100.0), [70.5]])
    assert tpr_at_fpr(scores, np.arange(101) == 100, 0.29) == 1.0
    for rate in (0.0, -0.1, 1.5, np.nan):
        with pytest.raises(InputError, match="fpr="):
            tpr_at_fpr(scores, np.arange(101) == 100, rate)


def test_what_is_asked_for_and_what_is_there_do_not_contradict_each_other():
    """It once said of 9,999 non-members: allows 10 false positives; expected at least 10."""
    scores, members = np.arange(20_000.0), np.arange(20_000) >= 9_999
    with pytest.raises(InputError) as caught:
        tpr_at_fpr(scores, members, 0.001)
    assert str(caught.value) == (
        "TPR at FPR 0.001 is not measurable with 9,999 non-members; 10,000 are needed"
    )
    assert tpr_at_fpr(scores[:-1], np.arange(19_999) >= 10_000, 0.001) == 1.0


@pytest.mark.parametrize("ties", [[4, 4], [1, 7], [2, 2, 4], [1, 1, 1, 5], [1] * 8, [8]])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_the_null_of_few_values_is_the_exact_law(ties, level):
    scores = np.repeat(np.arange(len(ties)), ties)
    for m in (1, 3, 4):
        every = [
            auc(scores, np.isin(np.arange(8), chosen))
            for chosen in itertools.combinations(range(8), m)
        ]
        low, high = null_auc_range(scores, np.arange(8) < m, level=level)
        every, tail = np.array(every), (1 - level) / 2 + 1e-9
        assert low in every and high in every
        assert np.mean(every < low) <= tail < np.mean(every <= low)
        assert np.mean(every > high) <= tail < np.mean(every >= high)


def test_the_null_covers_what_it_says_where_four_records_differ():
    """The normal limit covers 87.6 % here."""
    members, scores = np.arange(1000) < 500, np.arange(1000) % 250 == 0
    low, high = null_auc_range(scores, members)
    rng = np.random.default_rng(0)
    drawn = np.array([auc(scores, rng.permutation(members)) for _ in range(4000)])
    assert np.mean((low <= drawn) & (drawn <= high)) >= 0.95
    assert np.mean((low < drawn) & (drawn < high)) < 0.95


def test_the_exact_null_meets_the_normal_one():
    rng = np.random.default_rng(1)
    members = rng.random(30_000) < 0.5
    exact = null_auc_range(rng.random(30_000) < 0.3, members)
    m, n = members.sum(), (~members).sum()
    half = 1.96 * np.sqrt(0.3 * 0.7 / 4 * (1 / m + 1 / n))
    assert exact == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)


def test_null_range_is_that_of_permutations():
    rng = np.random.default_rng(5)
    members = np.arange(300) < 100
    scores = rng.integers(0, 4, 300) * 1.0  # heavy ties
    low, high = null_auc_range(scores, members)
    permuted = [auc(scores, rng.permutation(members)) for _ in range(2000)]
    assert np.quantile(permuted, [0.025, 0.975]) == pytest.approx([low, high], abs=0.01)
    from scipy.stats import mannwhitneyu, norm

    test = mannwhitneyu(scores[members], scores[~members], use_continuity=False)
    z = (auc(scores, members) - 0.5) / (high - 0.5) * norm.isf(0.025)
    assert 2 * norm.sf(abs(z)) == pytest.approx(test.pvalue, rel=1e-9)


def make_targets(models=3, records=2400, seed=0):
    rng = np.random.default_rng(seed)
    members = rng.random((models, records)) < 0.5
    return rng.normal(size=members.shape) + 1.5 * members, members


def test_evaluate_agrees_with_the_single_functions():
    scores, members = make_targets()
    result = evaluate(scores, members=members, threshold=0.7)
    assert len(result) == 3
    for s, m, target in zip(scores, members, result.targets, strict=True):
        assert target.auc == auc_interval(s, m) and target.auc.value == auc(s, m)
        assert target.accuracy.value == accuracy(s, m, 0.7)
        assert target.balanced_accuracy.value == balanced_accuracy(s, m, 0.7)
        assert target.tpr_at_fpr(0.01) == tpr_at_fpr_interval(s, m, 0.01)
        assert target.tpr_at_fpr(0.01).value == tpr_at_fpr(s, m, 0.01)
        value, low, high = target.tpr_at_fpr(0.01)
        assert low < value < high
        assert not target.tpr_at_fpr(0.001).measured and target.null_tpr_at_fpr(0.001) is None
        assert (target.n_members, target.n_nonmembers) == (m.sum(), (~m).sum())
        assert target.null_low < 0.5 < target.null_high < target.auc.low
        assert abs(target.null_auc - 0.5) < 0.05 and abs(target.null_balanced_accuracy - 0.5) < 0.05
        assert target.null_tpr_at_fpr(0.1) < 0.2 < target.tpr_at_fpr(0.1).value
    frame = result.frame()
    assert frame.index.name == "target"
    assert frame.shape[0] == 3 and frame["auc"].tolist() == [t.auc.value for t in result.targets]
    assert frame["tpr_at_fpr_0.001"].isna().all() and frame["n_members"].dtype.kind == "i"
    assert tuple(frame) == columns() == tuple(result.targets[0].row())


def test_rates_are_data():
    scores, members = make_targets(models=1)
    result = evaluate(scores, members=members, fprs=(0.2, 0.05))
    assert list(result.tprs) == [0.2, 0.05]
    assert result.tpr_at_fpr(0.05) == tpr_at_fpr_interval(scores[0], members[0], 0.05)
    assert result.frame()["tpr_at_fpr_0.05"].item() == result.tpr_at_fpr(0.05).value
    assert result.mean()["tpr_at_fpr_0.2"] == result.tpr_at_fpr(0.2).value
    assert tuple(result.targets[0].row()) == columns((0.2, 0.05))
    with pytest.raises(
        InputError, match=r"only at 0\.2, 0\.05; write .*fprs=\(0\.2, 0\.05, 0\.01\)"
    ):
        result.tpr_at_fpr(0.01)
    with pytest.raises(InputError, match="only at"):
        result.null_tpr_at_fpr(0.01)
    for wrong in ((0.1, 0.1), (), (0.1, 0.0), (1.5,), ("a",)):
        with pytest.raises(InputError, match="fpr"):
            evaluate(scores, members=members, fprs=wrong)
    assert len({tpr_column(f) for f in (0.1, 0.01, 0.001, 1e-5, 0.015)}) == 5


def test_an_evaluation_of_one_target_is_that_target():
    scores, members = make_targets(models=2)
    one, two = (evaluate(scores[:k], members=members[:k]) for k in (1, 2))
    assert one.auc == one.targets[0].auc and one.n_members == members[0].sum()
    with pytest.raises(InputError, match=r"2 targets .* result.targets\[0\].auc, or result.mean"):
        two.auc  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'auk'"):
        one.auk  # noqa: B018
    assert pickle.loads(pickle.dumps(one)) == one == copy.deepcopy(one)


def test_an_attack_is_judged_on_outputs():
    outputs = gaussian_outputs(2, 600, seed=0, leak=2.0, masks="independent")
    outputs = outputs.replace(evaluated=np.arange(1200).reshape(2, 600) % 5 > 0)
    attack = LossAttack(threshold=0.4)
    plain = evaluate(
        attack.score(outputs), members=outputs.members, threshold=-0.4, evaluated=outputs.evaluated
    )
    assert evaluate(attack, outputs) == plain
    assert evaluate(attack.score(outputs), outputs, threshold=-0.4) == plain
    assert (
        evaluate(attack, outputs, threshold=-1.0).targets[0].accuracy != plain.targets[0].accuracy
    )
    assert not evaluate(LossAttack(), outputs).targets[0].accuracy.measured
    shadow = gaussian_outputs(4, 600, seed=1, leak=2.0)
    fitted = LossAttack().fit(shadow)
    assert evaluate(fitted, outputs) == evaluate(
        fitted.score(outputs), outputs, threshold=fitted.threshold_
    )
    one = outputs.select(models=[0])
    assert evaluate(attack.score(one)[0], one).auc == plain.targets[0].auc
    lira = LiRA().fit([shadow, shadow])
    assert evaluate(lira, [outputs, outputs]) == evaluate(
        lira.score([outputs, outputs]), outputs, threshold=lira.threshold_
    )


def test_what_evaluate_cannot_take_is_one_clear_line():
    outputs = gaussian_outputs(1, 60, seed=0, leak=2.0, masks="independent")
    scores = LossAttack().score(outputs)
    for arguments, message in (
        ((LossAttack(),), r"write evaluate\(attack, target\)"),
        ((LossAttack, outputs), r"write evaluate\(LossAttack\(\), target\)"),
        ((scores, outputs.members), r"write evaluate\(scores, members=members\)"),
        ((scores,), "members: got None"),
        ((scores[:, :5], outputs), r"scores have shape \(1, 5\)"),
        (({}, outputs), "scores: dict"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(*arguments)
    with pytest.raises(InputError, match="pass one or the other"):
        evaluate(scores, outputs, members=outputs.members)


@pytest.mark.parametrize("spec", ["", ".3f", ".1%", ".4g", "e", ">12", "nonsense!"])
def test_what_is_not_measured_prints_in_every_format(spec):
    """It was a TypeError of None's format in the first ten lines."""
    scores, members = make_targets(models=1, records=1000)
    missing = evaluate(scores[:, :1000], members=members[:, :1000]).tpr_at_fpr(0.001)
    n = (~members[0]).sum()
    assert f"{missing:{spec}}" == f"not measurable with {n} non-members; 10,000 are needed"
    assert missing.needed == 10_000 and np.isnan(missing.value) and not missing.measured
    assert missing == NotMeasured(missing.reason, 10_000) != NotMeasured(missing.reason, 1)
    without = evaluate(scores, members=members).targets[0].accuracy
    assert f"{without:{spec}}" == "not measured without a threshold" and without.needed is None
    assert pickle.loads(pickle.dumps(missing)) == missing
    assert eval(repr(missing)) == missing


def test_intervals_print_themselves():
    interval = Interval(0.713, 0.7012, 0.7249)
    assert f"{interval:.3f}" == str(interval) == f"{interval}" == "0.713 (0.701 to 0.725)"
    assert f"{interval:.0%}" == "71% (70% to 72%)"
    value, low, high = interval
    assert (value, low, high) == interval and interval.measured


def test_evaluate_ignores_what_is_not_evaluated():
    scores, members = make_targets(models=2)
    evaluated = np.random.default_rng(1).random(members.shape) < 0.5
    holes = np.where(evaluated, scores, np.nan)
    by_nan = evaluate(holes, members=members, threshold=0.5)
    by_mask = evaluate(scores, members=members, threshold=0.5, evaluated=evaluated)
    other = evaluate(
        np.where(evaluated, scores, 99.0), members=members, threshold=0.5, evaluated=evaluated
    )
    assert by_nan == by_mask == other
    alone = evaluate(scores[0, evaluated[0]], members=members[0, evaluated[0]], threshold=0.5)
    assert alone.targets[0] == by_mask.targets[0]
    seeds = [evaluate(scores, members=members, threshold=0.5, seed=seed) for seed in (1, 2)]
    assert seeds[0] != seeds[1]
    both = evaluate(scores, members=members, threshold=[0.5, 0.9])
    assert both.targets[1].accuracy.value == accuracy(scores[1], members[1], 0.9)


@pytest.mark.parametrize("rate, needed", [(0.1, 100), (0.01, 1000), (10 / 49, 49), (0.29, 35)])
def test_a_rate_is_measured_from_ten_false_positives_on(rate, needed):
    for n, measured in ((needed - 1, False), (needed, True)):
        scores, members = np.arange(2.0 * n), np.arange(2 * n) >= n
        result = evaluate(scores, members=members, fprs=(rate,))
        assert result.tpr_at_fpr(rate).measured == measured
        assert (result.null_tpr_at_fpr(rate) is not None) == measured
        if measured:
            assert result.tpr_at_fpr(rate).value == tpr_at_fpr(scores, members, rate)
        else:
            with pytest.raises(InputError, match=f"{n} non-members; {needed:,} are needed"):
                tpr_at_fpr(scores, members, rate)


def test_each_target_has_a_permutation_of_its_own():
    """The null of a target is not that of its twin, nor does it hang on the other targets."""
    scores, members = make_targets(models=1)
    twins = evaluate(np.repeat(scores, 3, axis=0), members=np.repeat(members, 3, axis=0))
    assert len({target.null_auc for target in twins.targets}) == 3
    fewer = members.copy()
    fewer[0, :1000] = False
    other = evaluate(np.stack([-scores[0], scores[0]]), members=np.stack([fewer[0], members[0]]))
    assert other.targets[1] == twins.targets[1]


def test_targets_are_never_pooled():
    scores, members = make_targets()
    shifted = scores + np.array([[0.0], [100.0], [-1e6]])  # no common scale
    plain, moved = (evaluate(s, members=members) for s in (scores, shifted))
    assert moved.mean() == pytest.approx(plain.mean(), nan_ok=True)
    per_target = [auc(s, m) for s, m in zip(scores, members, strict=True)]
    assert plain.mean()["auc"] == pytest.approx(np.mean(per_target))
    assert plain.spread()["auc"] == pytest.approx(np.std(per_target, ddof=1))
    assert plain.mean()["accuracy"] is None and plain.mean()["tpr_at_fpr_0.001"] is None
    assert set(plain.mean()) == set(plain.spread()) == set(figure_columns(FPRS))
    assert evaluate(scores[0], members=members[0]).spread()["auc"] is None


def test_infinite_scores_are_ranked():
    members = np.array([True] * 15 + [False] * 15)
    scores = np.where(members, np.inf, -np.inf)
    target = evaluate(scores, members=members, threshold=np.inf)
    assert target.auc.value == target.auc.high == target.accuracy.value == 1.0
    assert 0.7 < target.auc.low < 0.9  # 15 records do not show a perfect attack
    assert evaluate(scores, members=members, threshold=-np.inf).accuracy.value == 0.5


GOOD = np.arange(40.0).reshape(2, 20)
HALF = np.tile(np.arange(20) < 10, (2, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.full((2, 20), np.nan), HALF), "target 0: 0 members and 0 non-members"),
        ((GOOD, np.array([HALF[0], np.ones(20, bool)])), "target 1: 20 members and 0 non-members"),
        ((GOOD, HALF, None, np.eye(2, 20, 5) > 0), "target 0: 1 members and 0 non-members"),
        (
            (np.where(GOOD == 25, np.nan, GOOD), HALF, None, np.ones((2, 20), bool)),
            "target 1: 1 of 20 scores are NaN, first at record 5",
        ),
        ((GOOD, HALF[0]), "expected both"),
        ((GOOD[None], HALF[None]), "expected both"),
        ((np.zeros((2, 0)), np.zeros((2, 0), bool)), "not empty"),
        ((GOOD, HALF, None, HALF[0]), "evaluated has shape"),
        ((GOOD, HALF * 2.0), "members have dtype float64"),
        ((GOOD, HALF * 2), "members have dtype int64"),
        ((GOOD.astype(str), HALF), "scores are texts"),
        ((GOOD, HALF, np.nan), "threshold is NaN"),
        ((GOOD, HALF, [1.0, 2.0, 3.0]), "one for each of 2 targets"),
        ((GOOD, HALF, "high"), "threshold are texts"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        names = ("members", "threshold", "evaluated")
        evaluate(arguments[0], **dict(zip(names, arguments[1:], strict=False)))
    assert "\n" not in str(caught.value)


def test_smaller_mistakes_are_named():
    with pytest.raises(InputError, match="level=95"):
        evaluate(GOOD, members=HALF, level=95)
    with pytest.raises(InputError, match="threshold=nan"):
        accuracy(GOOD[0], HALF[0], np.nan)
    with pytest.raises(InputError, match="level='0.95'"):
        auc_interval(GOOD[0], HALF[0], level="0.95")
    with pytest.raises(InputError, match=r"both \(records,\)"):
        auc(GOOD, HALF)
    with pytest.raises(InputError, match="hits=100.0 of trials=10; expected 0 <= hits <= trials"):
        clopper_pearson(100, 10)
    with pytest.raises(InputError, match="hits=-1.0 of trials=10"):
        clopper_pearson(-1, 10)
    with pytest.raises(InputError, match=r"hits have shape \(2,\), trials \(3,\)"):
        clopper_pearson([1, 2], [3, 4, 5])
    assert clopper_pearson(0, 0) == (0, 1)
    assert auc(GOOD[0], HALF[0].astype(int)) == 0.0  # 0 and 1 are taken for bool


NAMED = {
    "scores": lambda none: auc(none, HALF[0]),
    "members": lambda none: auc(GOOD[0], none),
    "attack A: scores": lambda none: paired_auc_difference(none, GOOD[0], HALF[0]),
    "attack A: members": lambda none: paired_auc_difference(GOOD[0], GOOD[0], none),
    "attack B: scores": lambda none: paired_auc_difference(GOOD[0], none, HALF[0]),
    "attack A: scores (ratio)": lambda none: tpr_ratio_interval(none, GOOD[0], HALF[0], 0.9),
    "attack B: scores (ratio)": lambda none: tpr_ratio_interval(GOOD[0], none, HALF[0], 0.9),
    "hits of A": lambda none: ratio_interval(none, HALF[0]),
    "hits of B": lambda none: ratio_interval(HALF[0], none),
    "p-values": holm,
    "groups": lambda none: group_metrics(GOOD[0], HALF[0], none),
    "hits": lambda none: clopper_pearson(none, 3),
    "trials": lambda none: clopper_pearson(3, none),
    "scores (targets)": lambda none: evaluate(none, members=HALF),
    "members (targets)": lambda none: evaluate(GOOD, members=none),
    "evaluated": lambda none: evaluate(GOOD, members=HALF, evaluated=[none, none]),
    "fprs": lambda none: evaluate(GOOD, members=HALF, fprs=none),
    "threshold": lambda none: evaluate(GOOD, members=HALF, threshold=[none, none]),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_missing_is_called_by_its_name(name):
    with pytest.raises(InputError) as caught:
        NAMED[name](None)
    assert str(caught.value).startswith(name.partition(" (")[0])


@pytest.mark.parametrize("level", [0.001, 0.999])
def test_every_interval_holds_its_value_at_any_level(level):
    rng = np.random.default_rng(5)
    members = np.arange(120) < 60
    scores, other = rng.normal(size=(2, 120)) + members
    for interval in (
        auc_interval(scores, members, level=level),
        accuracy_interval(scores, members, 0.5, level=level),
        balanced_accuracy_interval(scores, members, 0.5, level=level),
        tpr_at_fpr_interval(scores, members, 0.2, level=level),
        paired_auc_difference(scores, other, members, level=level),
        ratio_interval(scores > 1, other > 1, level=level),
        ratio_interval(other > 1, scores > 1, level=level),
        tpr_ratio_interval(scores, other, members, 0.2, level=level),
        tpr_ratio_interval(other, scores, members, 0.2, level=level),
        mean_interval(scores, level=level),
        prediction_interval(scores, level=level),
    ):
        assert interval.low <= interval.value <= interval.high


def test_every_reported_figure_has_a_stated_method():
    assert {"auc", "accuracy", "balanced_accuracy", "tpr_at_fpr", "null"} <= METHODS.keys()
    assert all(text.endswith(".") for text in METHODS.values())


def test_rates_that_would_have_one_name_are_refused():
    scores, members = np.arange(60.0), np.arange(60) % 2 == 0
    with pytest.raises(InputError, match="different false-positive rates, in six digits"):
        evaluate(scores, members=members, fprs=(0.5, 0.5000001))
