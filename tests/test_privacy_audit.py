"""Bounds on epsilon: above the truth no more often than their level says, and near it with enough runs."""

import math
import tracemalloc

import numpy as np
import pytest

from mia_utils import InputError
from mia_utils.evaluation.epsilon import (
    dp_curve,
    gaussian_epsilon,
    many_runs_epsilon,
    one_run_epsilon,
    one_run_p_value,
    split_epsilon,
)

COINS = np.arange(4.0), np.arange(4) > 1
RUNS, MOST = 500, 37  # more than 37 of 500 above the truth refute a level of 5 % (p < 0.01)
GUESSES = (20, 50, 100, 200, 400)


def randomised_response(epsilon, m, rng):
    """(scores, included): the score is the coin itself, flipped with probability 1 / (1 + e^eps)."""
    included = rng.random(m) < 0.5
    honest = rng.random(m) < 1 / (1 + math.exp(-epsilon))
    return np.where(honest, included, ~included) + rng.random(m) * 0.5, included


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_one_run_is_above_the_truth_no_more_often_than_its_level(epsilon):
    rng = np.random.default_rng(0)
    bounds = [
        one_run_epsilon(*randomised_response(epsilon, 400, rng), guesses=GUESSES).epsilon
        for _ in range(RUNS)
    ]
    assert sum(bound > epsilon for bound in bounds) <= MOST


def test_one_run_is_near_the_truth_with_many_canaries():
    outcome = one_run_epsilon(
        *randomised_response(2.0, 20_000, np.random.default_rng(1)), guesses=(20_000,)
    )
    assert 1.9 < outcome.epsilon <= 2.05
    assert outcome.certifiable > 8


def split_response(epsilon, n, rng):
    """(scores, members, labels): half are members, each told with the odds that epsilon allows."""
    labels = rng.integers(0, 5, n)
    members = rng.permutation(n) < n // 2
    honest = rng.random(n) < 1 / (1 + math.exp(-epsilon))
    return np.where(honest, members, ~members).astype(float), members, labels


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_a_split_is_above_the_truth_no_more_often_than_its_level(epsilon):
    rng = np.random.default_rng(6)
    bounds = [split_epsilon(*split_response(epsilon, 800, rng)).epsilon for _ in range(RUNS)]
    assert sum(bound > epsilon for bound in bounds) <= MOST


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_a_split_is_near_the_truth_with_many_records_in_any_order(epsilon):
    scores, members, labels = split_response(epsilon, 200_000, np.random.default_rng(7))
    bounds = [split_epsilon(scores, members, labels, shares=(0.2,)).epsilon]
    order = np.argsort(~members, kind="stable")  # members first: the order may not tell
    bounds.append(
        split_epsilon(*(a[order] for a in (scores, members, labels)), shares=(0.2,)).epsilon
    )
    assert all(0.9 * epsilon < bound <= 1.01 * epsilon for bound in bounds)
    with_delta = split_epsilon(scores, members, labels, shares=(0.2,), delta=1e-5).epsilon
    assert with_delta < bounds[0]


def test_members_of_other_classes_than_the_rest_tell_nothing():
    """A score that knows only the class finds no member: pairs are of one class."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 4, 4000)
    members = rng.random(4000) < 0.2 + 0.15 * labels
    assert split_epsilon(labels + 0.0, members, labels).epsilon == 0


# ---- equal scores ------------------------------------------------------------------------------


@pytest.mark.parametrize("inside_first", [False, True])
def test_a_constant_score_shows_nothing_in_whatever_order(inside_first):
    """Taken by position, the first and the last rows look like a perfect attack."""
    coins = (np.arange(1000) < 500) == inside_first
    assert one_run_epsilon(np.full(1000, 0.3), coins, guesses=(100, 1000)).epsilon == 0
    assert split_epsilon(np.full(1000, 0.3), coins, np.arange(1000) % 3).epsilon == 0
    assert many_runs_epsilon(np.zeros(500), np.zeros(500), threshold=0.0) == 0


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_the_order_of_the_records_and_the_names_of_the_classes_change_nothing(digits):
    rng = np.random.default_rng(11)
    coins, labels = rng.random(1500) < 0.5, rng.integers(0, 4, 1500)
    scores = (1.5 * coins + rng.normal(size=1500)).round(digits)
    audits = []
    for turn in range(6):
        order = [np.arange(1500), np.argsort(coins), np.argsort(~coins)][min(turn, 2)]
        order = rng.permutation(1500) if turn > 2 else order
        names = rng.permutation(4)[labels] if turn % 2 else labels
        s, c = scores[order], coins[order]
        audits.append(
            (one_run_epsilon(s, c, guesses=(40, 200, 1000)), split_epsilon(s, c, names[order]))
        )
    assert all(audit == audits[0] for audit in audits)
    assert audits[0][0].epsilon > 0.5 and audits[0][1].epsilon > 0.2


def test_many_classes_of_many_records_need_no_mask_each():
    records, classes = 20_000, 2_000
    rng = np.random.default_rng(0)
    labels, members = rng.integers(classes, size=records), rng.random(records) < 0.5
    tracemalloc.start()
    split_epsilon(rng.normal(size=records), members, labels)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < records * classes / 4  # bytes: a mask a class would be `records * classes`


@pytest.mark.parametrize("levels, delta", [(2, 0.0), (5, 1e-4), (40, 0.0)])
def test_equal_scores_show_leakage_in_a_coin_no_more_often_than_the_level(levels, delta):
    """Rows sorted by what is to be found out, which an order of rows would show."""
    rng = np.random.default_rng([12, levels])
    coins = np.arange(400) < 200
    found = np.zeros(2)
    for _ in range(RUNS):
        included = np.sort(rng.random(400) < 0.5)
        scores = rng.integers(0, levels, 400)
        one = one_run_epsilon(scores, included, guesses=GUESSES, delta=delta)
        split = split_epsilon(scores, coins, np.zeros(400), delta=delta)
        found += one.epsilon > 0, split.epsilon > 0
    assert (found <= MOST).all()


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_an_answer_of_two_values_is_audited_validly_and_not_in_vain(epsilon):
    rng = np.random.default_rng(13)
    bounds = []
    for _ in range(RUNS):
        included = rng.random(2000) < 0.5
        honest = rng.random(2000) < 1 / (1 + math.exp(-epsilon))
        said = (included == honest).astype(int)
        bounds.append(one_run_epsilon(said, included, guesses=(200, 1800)).epsilon)
    assert sum(bound > epsilon for bound in bounds) <= MOST
    assert np.median(bounds) > 0.7 * epsilon


def test_the_choice_among_equals_is_worth_what_nearly_all_choices_give():
    """Thirty sure guesses at each end; of the rest of the guesses all but one in twenty give as much."""
    rng = np.random.default_rng(14)
    scores = np.r_[np.full(30, 3.0), np.zeros(40), np.full(30, -3.0)]
    included = np.r_[np.ones(30, bool), np.arange(40) % 4 > 0, np.zeros(30, bool)]
    found = one_run_epsilon(scores, included, guesses=(80,))
    ends = []
    for _ in range(4000):
        middle = rng.permutation(included[30:70])
        ends.append((30 + middle[:10].sum(), 30 + (~middle[10:20]).sum()))
    high, low = np.array(ends).T
    assert found.right == np.quantile(high, 0.025) + np.quantile(low, 0.025)
    refuted = one_run_p_value(100, 80, found.right, found.epsilon, 0.0)
    assert refuted == pytest.approx(0.05 * 0.95, abs=1e-4) and found.epsilon > 0.5
    sure = one_run_epsilon(scores, included, guesses=(60,))
    assert sure.right == 60
    assert one_run_p_value(100, 60, 60, sure.epsilon, 0.0) == pytest.approx(0.05, abs=1e-4)


# ---- many guesses ------------------------------------------------------------------------------


def test_the_error_is_shared_out_among_the_numbers_of_guesses():
    scores, included = randomised_response(2.0, 400, np.random.default_rng(15))
    both = one_run_epsilon(scores, included, guesses=(100, 200, 100))
    each = [one_run_epsilon(scores, included, guesses=(r,), level=0.975) for r in (100, 200)]
    best = max(each, key=lambda one: one.epsilon)
    assert both.epsilon == pytest.approx(best.epsilon) and both.guesses == best.guesses
    assert both.certifiable == pytest.approx(max(one.certifiable for one in each))
    assert (both.level, both.m) == (0.95, 400)


def test_the_highest_scores_are_guessed_in_and_the_lowest_out():
    included = np.arange(100) % 2 == 0
    assert one_run_epsilon(1.0 * included, included, guesses=(100,)).right == 100
    assert one_run_epsilon(-1.0 * included, included, guesses=(100,)).right == 0
    only_high = np.r_[np.arange(50), -rng_of(16, 50)]
    found = one_run_epsilon(only_high, np.arange(100) < 50, guesses=(20,))
    assert (found.right, found.guesses) == (20, 20)


def rng_of(seed, count):
    return np.random.default_rng(seed).random(count) + 1


def test_scores_may_come_as_lists_and_coins_as_zeros_and_ones():
    scores, included = randomised_response(2.0, 200, np.random.default_rng(17))
    plain = one_run_epsilon(scores, included, guesses=(100,))
    assert one_run_epsilon(list(scores), included.astype(int), guesses=[100.0]) == plain


def test_the_best_of_many_guess_counts_without_correction_would_lie():
    """What the correction is for: the uncorrected maximum finds leakage in a coin."""
    rng = np.random.default_rng(2)
    lied = honest = 0
    for _ in range(200):
        scores, included = randomised_response(0.0, 400, rng)
        each = [one_run_epsilon(scores, included, guesses=(r,)).epsilon for r in range(10, 400, 10)]
        lied += max(each) > 0
        honest += one_run_epsilon(scores, included, guesses=range(10, 400, 10)).epsilon > 0
    assert lied > 30 and honest <= 10


@pytest.mark.parametrize("delta", [0.0, 1e-3])
def test_the_p_value_by_an_independent_sum(delta):
    m, r, right, epsilon = 100, 30, 24, 0.7
    q = math.exp(epsilon) / (1 + math.exp(epsilon))
    pmf = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    beta = sum(pmf[right:])
    alpha = max(sum(pmf[right - i : right]) / i for i in range(1, right + 1))
    expected = beta + 2 * m * delta * alpha
    assert one_run_p_value(m, r, right, epsilon, delta) == pytest.approx(min(1, expected))


def test_delta_weakens_the_bound():
    scores, included = randomised_response(3.0, 400, np.random.default_rng(3))
    pure, approximate = (
        one_run_epsilon(scores, included, guesses=(100,), delta=d).epsilon for d in (0.0, 1e-3)
    )
    assert approximate < pure


@pytest.mark.parametrize("delta", [0.0, 1e-3])
@pytest.mark.parametrize("right", [150, 200])
def test_a_bound_of_pairs_is_that_of_two_steps_of_privacy(delta, right):
    """P <= e^eps (e^eps P'' + delta) + delta, by an independent search."""
    scores = np.r_[np.ones(right), np.zeros(200 - right), np.zeros(right), np.ones(200 - right)]
    members = np.arange(400) < 200
    # In a class of its own each pair is known: the attack is right about so many of them.
    labels = np.arange(400) % 200
    found = split_epsilon(scores, members, labels, shares=(1.0,), delta=delta)
    assert (found.right, found.guesses, found.m) == (right, 200, 200)
    grid = np.linspace(0, 6, 60_001)
    refuted = [
        one_run_p_value(200, 200, right, 2 * e, (1 + math.exp(e)) * delta) < 0.05
        for e in grid[::20]
    ]
    assert found.epsilon == pytest.approx(grid[::20][np.flatnonzero(refuted).max()], abs=3e-3)


def test_the_allowed_rate_is_that_of_both_inequalities():
    """TPR <= e^eps FPR + delta, and the same of what is spared, solved for the TPR."""
    for epsilon, delta in ((0.5, 0.0), (0.5, 0.1), (2.0, 0.01)):
        fpr = np.array([0.0, 0.01, 0.1, 0.3, 0.6, 0.9, 1.0])
        first = np.exp(epsilon) * fpr + delta
        second = 1 - np.exp(-epsilon) * (1 - fpr - delta)
        expected = np.minimum(1, np.minimum(first, second))
        np.testing.assert_allclose(dp_curve(fpr, epsilon, delta), expected)
        assert (expected < first).any() and (expected < np.minimum(1, second)).any()


def test_a_promise_as_large_as_one_likes_allows_all():
    for epsilon in (300.0, 1000.0, 1e9, math.inf):
        np.testing.assert_array_equal(dp_curve([1e-9, 0.5, 1.0], epsilon), 1.0)
    assert dp_curve(0.0, 1000.0, 1e-5) == pytest.approx(1e-5)


def test_many_runs_by_hand_in_both_directions():
    """Found 70 of 100 and spared 90 of 100; then the two exchanged."""
    from scipy.stats import beta

    def low(k):
        return beta.ppf(0.025, k, 101 - k)

    delta = 0.05
    more, less = np.arange(100) < 70, np.arange(100) < 10
    found = many_runs_epsilon(more, less, threshold=0.5, delta=delta)
    ratios = ((low(70) - delta) / (1 - low(90)), (low(90) - delta) / (1 - low(70)))
    assert found == pytest.approx(math.log(max(ratios)))
    turned = many_runs_epsilon(~less, ~more, threshold=0.5, delta=delta)
    assert turned == pytest.approx(found)
    assert ratios[0] > 1.5 * ratios[1]
    assert many_runs_epsilon(less, more, threshold=0.5) == 0


def test_many_runs_show_leakage_in_a_coin_no_more_often_than_the_level():
    rng = np.random.default_rng(18)
    above = sum(
        many_runs_epsilon(*rng.integers(0, 3, (2, 200)), threshold=t, delta=0.0) > 0
        for _ in range(RUNS)
        for t in (1, 2)
    )
    assert above <= 2 * MOST


def test_many_runs_of_a_gaussian_mechanism():
    """A mean of one coordinate with noise: epsilon at delta follows from the noise."""
    delta, mu = 1e-3, 1.0
    truth = gaussian_epsilon_of_mu(mu, delta)
    rng = np.random.default_rng(4)
    above = 0
    for _ in range(RUNS):
        with_, without = rng.normal(mu, 1, 1000), rng.normal(0, 1, 1000)
        above += many_runs_epsilon(with_, without, threshold=2.0, delta=delta) > truth
    assert above <= MOST
    many = many_runs_epsilon(
        rng.normal(mu, 1, 10**6), rng.normal(0, 1, 10**6), threshold=2.5, delta=delta
    )
    assert 0.5 * truth < many <= truth


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_many_runs_of_randomised_response(epsilon):
    rng = np.random.default_rng(5)
    q = 1 / (1 + math.exp(-epsilon))
    above = sum(
        many_runs_epsilon(
            (rng.random(500) < q).astype(float), (rng.random(500) > q).astype(float), threshold=0.5
        )
        > epsilon
        for _ in range(RUNS)
    )
    assert above <= MOST
    found = many_runs_epsilon(
        (rng.random(10**6) < q).astype(float), (rng.random(10**6) > q).astype(float), threshold=0.5
    )
    assert 0.97 * epsilon < found <= epsilon


def gaussian_epsilon_of_mu(mu, delta):
    from scipy.stats import norm

    return gaussian_epsilon(float(norm.cdf(mu / math.sqrt(2))), delta)


def test_the_gaussian_estimate_against_another_library():
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    mu = 1.5
    exact = PLDAccountant().compose(dp_event.GaussianDpEvent(1 / mu)).get_epsilon(1e-5)
    assert gaussian_epsilon_of_mu(mu, 1e-5) == pytest.approx(exact, rel=0.01)
    assert gaussian_epsilon(0.4, 1e-5) == gaussian_epsilon(0.5, 1e-5) == 0.0


@pytest.mark.parametrize("mu", [0.3, 0.9, 3.0])
def test_the_gaussian_estimate_meets_the_delta_that_was_asked_for(mu):
    """Of two unit Gaussians mu apart, delta is what e^eps of one leaves of the other, at its best."""
    epsilon = gaussian_epsilon_of_mu(mu, 1e-3)
    grid = np.linspace(-12, 12, 400_001)
    first, second = (np.exp(-((grid - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (mu, 0.0))
    excess = np.clip(first - math.exp(epsilon) * second, 0, None).sum() * (grid[1] - grid[0])
    assert epsilon > 0.1
    assert excess == pytest.approx(1e-3, rel=1e-3)


def test_the_dp_curve_is_the_trade_off_of_randomised_response():
    epsilon = 1.2
    q = 1 / (1 + math.exp(-epsilon))
    assert dp_curve(1 - q, epsilon) == pytest.approx(q)
    grid = np.linspace(0, 1, 101)
    assert (np.diff(dp_curve(grid, epsilon, 1e-2)) >= 0).all()
    assert dp_curve(0.0, epsilon, 0.01) == pytest.approx(0.01)
    np.testing.assert_array_equal(dp_curve(grid, math.inf), 1.0)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: one_run_epsilon(np.zeros(4), np.zeros(3, bool), guesses=(2,)), "one of each"),
        (lambda: split_epsilon(np.zeros(4), np.zeros(3, bool), np.zeros(4)), "one of each"),
        (lambda: split_epsilon(np.zeros(4), np.ones(4, bool), np.zeros(4)), "no class has both"),
        (lambda: split_epsilon(np.zeros(2), np.arange(2) > 0, np.zeros(2)), "1 pair"),
        (lambda: split_epsilon(np.full(4, np.nan), np.arange(4) > 1, np.zeros(4)), "NaN"),
        (
            lambda: split_epsilon(np.zeros(4), np.arange(4) > 1, np.zeros(4), shares=(2,)),
            r"shares=\(2,\)",
        ),
        (lambda: one_run_epsilon(np.zeros(4), np.zeros(4, bool), guesses=(3,)), "even numbers"),
        (lambda: one_run_epsilon(np.zeros(4), np.zeros(4, bool), guesses=()), "even numbers"),
        (lambda: one_run_epsilon(np.full(4, np.nan), np.zeros(4, bool), guesses=(2,)), "finite"),
        (lambda: many_runs_epsilon(np.zeros(0), np.zeros(3), threshold=0.0), "some of each"),
        (lambda: many_runs_epsilon([1.0, math.nan], [0.0], threshold=0.5), "NaN"),
        (lambda: many_runs_epsilon([1.0], [0.0], threshold=math.nan), "threshold=nan"),
        (lambda: many_runs_epsilon([1.0], [0.0], threshold=0.5, delta=1.0), "delta=1.0"),
        (lambda: many_runs_epsilon([1.0], [0.0], threshold=0.5, level=1.0), "level=1.0"),
        (lambda: one_run_epsilon(*COINS, guesses=(2,), delta=-0.1), "delta=-0.1"),
        (lambda: one_run_epsilon(*COINS, guesses=(2,), level=95), "level=95"),
        (lambda: one_run_epsilon(*COINS, guesses=(6,)), "from 2 to m=4"),
        (lambda: one_run_epsilon(np.zeros(4), np.arange(4), guesses=(2,)), "included"),
        (lambda: split_epsilon(*COINS, np.zeros(4), shares=()), "shares"),
        (lambda: split_epsilon(*COINS, np.zeros(3)), r"labels \(3,\)"),
        (lambda: dp_curve(0.1, -1.0), "epsilon=-1.0"),
        (lambda: dp_curve(0.1, math.nan), "epsilon=nan"),
        (lambda: dp_curve(0.1, 1.0, 1.0), "delta=1.0"),
        (lambda: gaussian_epsilon(1.0, 1e-5), "auc=1.0"),
        (lambda: gaussian_epsilon(0.0, 1e-5), "auc=0.0"),
        (lambda: gaussian_epsilon(0.7, 0.0), "delta=0.0"),
        (lambda: gaussian_epsilon(0.7, 1.0), "delta=1.0"),
        (lambda: one_run_epsilon(None, COINS[1], guesses=(2,)), "^scores"),
        (lambda: one_run_epsilon(COINS[0], None, guesses=(2,)), "^included"),
        (lambda: split_epsilon(None, COINS[1], np.zeros(4)), "^scores"),
        (lambda: split_epsilon(COINS[0], None, np.zeros(4)), "^members"),
        (lambda: many_runs_epsilon(None, [0.0], threshold=0.5), "^with_record"),
        (lambda: many_runs_epsilon([1.0], None, threshold=0.5), "^without_record"),
    ],
)
def test_questions_without_an_answer(call, word):
    with pytest.raises(InputError, match=word):
        call()


@pytest.mark.parametrize("rate", [-0.1, 1.5, np.nan])
def test_a_rate_beyond_all_rates_has_no_bound(rate):
    with pytest.raises(InputError, match="fpr holds .*expected rates in"):
        dp_curve([0.1, rate], 1.0)
