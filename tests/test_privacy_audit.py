"""Bounds on epsilon: above the truth no more often than their level says, and near it with enough runs."""

import math

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
    assert gaussian_epsilon(0.4, 1e-5) == 0.0


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
        (lambda: one_run_epsilon(np.zeros(4), np.zeros(3, bool), guesses=(2,)), "expected float"),
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
        (lambda: gaussian_epsilon(1.0, 1e-5), "auc=1.0"),
    ],
)
def test_questions_without_an_answer(call, word):
    with pytest.raises(InputError, match=word):
        call()
