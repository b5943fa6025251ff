"""Theorems 2.1 and 5.1, on made-up models whose answers are known and for many q."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_utils.errors import InputError
from mia_utils.evaluation.theorems import (
    attaining_attack,
    bentley_bound,
    check_correctness_theorem,
    correctness_accuracy,
    generalization_gap,
)
from mia_utils.outputs import Outputs

few = settings(deadline=None, derandomize=True, max_examples=50)
rates = st.floats(0, 1)
shares = st.floats(0.01, 0.99)


def make_outputs(models=4, records=400, balanced=True, seed=0):
    """Models that are right on about 90 % of their members and 60 % of the others."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, records)
    order = rng.random((models, records)).argsort(axis=1)
    members = order < (records // 2 if balanced else records // 4)
    right = rng.random(members.shape) < np.where(members, 0.9, 0.6)
    guess = np.where(right, labels, (labels + 1) % 5)
    logits = np.eye(5, dtype=np.float32)[guess] + rng.normal(0, 0.1, (models, records, 5))
    return Outputs(logits.astype(np.float32), labels, members), right


def test_theorem_2_1_on_balanced_models():
    outputs, right = make_outputs()
    check = check_correctness_theorem(outputs)
    assert check.error < 1e-12
    assert check.measured == pytest.approx((1 + check.gap) / 2, abs=1e-12)
    assert check.q.tolist() == [0.5] * 4
    gaps = [r[m].mean() - r[~m].mean() for r, m in zip(right, outputs.members, strict=True)]
    assert generalization_gap(outputs) == pytest.approx(gaps, abs=1e-12)
    assert (generalization_gap(outputs) > 0.1).all()


def test_theorem_2_1_with_another_share_of_members():
    outputs, right = make_outputs(balanced=False)
    check = check_correctness_theorem(outputs)
    assert check.error < 1e-12 and check.q.tolist() == [0.25] * 4
    assert np.abs(check.measured - (1 + check.gap) / 2).max() > 0.01  # the 50 % is needed
    assert check.measured == pytest.approx((right == outputs.members).mean(axis=1))


def test_only_evaluated_records_count():
    outputs, right = make_outputs()
    evaluated = np.random.default_rng(1).random(right.shape) < 0.5
    flipped = np.where(evaluated[..., None], outputs.logits, -outputs.logits)
    partial = outputs.replace(evaluated=evaluated)
    other = generalization_gap(partial.replace(logits=flipped))
    assert (generalization_gap(partial) == other).all()
    assert check_correctness_theorem(partial).error < 1e-12
    with pytest.raises(InputError, match="target 0: 200 members and 0 non-members"):
        generalization_gap(outputs.replace(evaluated=outputs.members))


@few
@given(rates, rates, shares)
def test_chain_of_theorem_5_1(acc_train, acc_test, q):
    best, by_gap, half = bentley_bound(acc_train, acc_test, q)
    assert best >= by_gap - 1e-12  # for every gap, also a negative one
    assert half == 0.5
    if acc_train - acc_test > 1e-9 or abs(q - 0.5) > 1e-9:
        assert by_gap > half


@pytest.mark.parametrize("q", np.linspace(0.01, 0.99, 99))
def test_more_than_half_needs_a_gap_at_q_half_alone(q):
    assert bentley_bound(0.8, 0.8 - 1e-6, q).by_gap > 0.5
    for acc_test in (0.8, 0.9):  # the premise g > 0 fails
        assert (bentley_bound(0.8, acc_test, q).best > 0.5) == (not np.isclose(q, 0.5))
    assert bentley_bound(0.8, 0.8, 0.5) == (0.5, 0.5, 0.5)


@few
@given(rates, rates, shares, st.integers(0, 2**32 - 1))
def test_bound_is_attained_by_one_of_three_attacks(acc_train, acc_test, q, seed):
    """Expected accuracies of the three attacks, written out."""
    accuracies = {
        "all": q * 1 + (1 - q) * 0,
        "none": q * 0 + (1 - q) * 1,
        "correct": q * acc_train + (1 - q) * (1 - acc_test),
    }
    name = attaining_attack(q, acc_train, acc_test)
    best = bentley_bound(acc_train, acc_test, q).best
    assert accuracies[name] == best == max(accuracies.values())


@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.8])
def test_bound_is_attained_on_records(share):
    rng = np.random.default_rng(int(10 * share))
    members = np.arange(1000) < 1000 * share
    right = rng.random(1000) < np.where(members, 0.95, 0.55)
    acc_train, acc_test = right[members].mean(), right[~members].mean()
    guesses = {"all": np.ones(1000, bool), "none": np.zeros(1000, bool), "correct": right}
    name = attaining_attack(share, acc_train, acc_test)
    measured = (guesses[name] == members).mean()
    assert measured == pytest.approx(bentley_bound(acc_train, acc_test, share).best, abs=1e-12)
    assert measured == max((guess == members).mean() for guess in guesses.values())


def test_all_three_attacks_are_needed():
    picks = {q: attaining_attack(q, 0.9, 0.6) for q in (0.1, 0.5, 0.95)}
    assert picks == {0.1: "none", 0.5: "correct", 0.95: "all"}


def test_a_bound_is_that_of_one_model_and_one_share():
    for name in ("acc_train", "acc_test", "q"):
        given = {"acc_train": 0.9, "acc_test": 0.5, "q": 0.5} | {name: [0.6]}
        for function in (bentley_bound, attaining_attack):
            with pytest.raises(InputError, match=rf"^{name}=\[0.6\]; expected a single number"):
                function(**given)


def test_correctness_accuracy_broadcasts():
    found = correctness_accuracy(np.array([1.0, 0.9]), np.array([[0.5], [0.9]]))
    assert found == pytest.approx(np.array([[0.75, 0.7], [0.55, 0.5]]))


@pytest.mark.parametrize("function", [correctness_accuracy, bentley_bound])
def test_impossible_numbers_are_refused(function):
    for q in (0.0, 1.0, -0.1, np.nan):
        with pytest.raises(InputError, match="share of members"):
            function(0.9, 0.5, q)
    for acc in (-0.1, 1.1, 90, np.nan):
        with pytest.raises(InputError, match="acc_train="):
            function(acc, 0.5, 0.5)
        with pytest.raises(InputError, match="acc_test="):
            function(0.5, acc, 0.5)
        with pytest.raises(InputError, match="accuracies"):
            attaining_attack(0.5, acc, 0.5)
