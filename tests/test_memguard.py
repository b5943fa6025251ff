"""MemGuard: labels stay, the budget holds, the defender's own attack becomes unsure."""

import numpy as np
import pytest

from mia_utils import InputError, Outputs
from mia_utils.defenses import memguard
from mia_utils.defenses.memguard import _guard, _masked
from mia_utils.signals import log_softmax


@pytest.fixture(scope="module")
def outputs():
    """Members are answered surely; a third of the records is neither member nor evaluated."""
    rng = np.random.default_rng(0)
    count, classes = 600, 5
    labels = rng.integers(0, classes, count)
    members = np.arange(count) < 200
    logits = rng.normal(size=(1, count, classes))
    logits[0, np.arange(count), labels] += np.where(members, 6, 2)
    evaluated = np.arange(count) < 400
    return Outputs(logits, labels, members[None], evaluated[None])


def test_labels_stay_and_answers_are_finite_and_the_same_again(outputs):
    masked = memguard(outputs, budget=2.0)
    assert np.isfinite(masked.logits).all() and masked.logits.dtype == np.float32
    np.testing.assert_array_equal(masked.logits.argmax(-1), outputs.logits.argmax(-1))
    np.testing.assert_array_equal(memguard(outputs, budget=2.0).logits, masked.logits)


def test_the_defenders_attack_becomes_unsure(outputs):
    logits = outputs.logits[0]
    inside = np.flatnonzero(outputs.members[0])
    apart = np.flatnonzero(~outputs.members[0] & ~outputs.evaluated[0])
    guard = _guard(logits, inside, apart, 0)

    def odds(z):
        p = np.exp(log_softmax(z))
        return np.abs(guard.log_odds(np.sort(p, axis=1)[:, ::-1]))

    before, after = odds(logits), odds(_masked(logits, guard, 2.0, 0))
    assert np.median(after) < 0.2 * np.median(before)
    assert (after <= before + 1e-3).all()


@pytest.mark.parametrize("budget", [0.05, 0.2])
def test_the_expected_distortion_is_within_the_budget(outputs, budget):
    p = np.exp(log_softmax(outputs.logits[0]))
    distance = [
        np.abs(np.exp(log_softmax(memguard(outputs, budget=budget, seed=s).logits[0])) - p).sum(1)
        for s in range(8)
    ]
    assert np.mean(distance) < budget * 1.15
    assert np.mean(memguard(outputs, budget=budget).logits != outputs.logits) > 0


def test_what_it_cannot_do_is_said(outputs):
    for budget in (0, 2.1, "1", None, float("nan")):
        with pytest.raises(InputError, match=f"budget={budget!r}; expected an L1 distance"):
            memguard(outputs, budget=budget)
    with pytest.raises(InputError, match="seed=-1; expected"):
        memguard(outputs, seed=-1)
    with pytest.raises(InputError, match=r"memguard\(outputs\)"):
        memguard(outputs.logits)
    with pytest.raises(InputError, match="neither members nor evaluated"):
        memguard(outputs.replace(evaluated=np.ones_like(outputs.members)))


def test_answers_of_half_precision_are_those_of_their_single_precision(outputs):
    half = outputs.replace(logits=outputs.logits.astype(np.float16))
    single = half.replace(logits=half.logits.astype(np.float32))
    masked = memguard(half, budget=0.5)
    np.testing.assert_allclose(masked.logits, memguard(single, budget=0.5).logits, atol=1e-4)
