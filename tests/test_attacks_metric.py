import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import gaussian_outputs

from mia_utils import attacks
from mia_utils.attacks.base import Attack, best_threshold
from mia_utils.errors import InputError
from mia_utils.outputs import Outputs


def slow_metrics(logits, label):
    """Loss, confidence, entropy, modified entropy of one answer, from its probabilities."""
    total = math.fsum(math.exp(z) for z in logits)
    p = [math.exp(z) / total for z in logits]
    return {
        "loss": -math.log(p[label]),
        "confidence": max(p),
        "entropy": -math.fsum(q * math.log(q) for q in p),
        "modified_entropy": -(1 - p[label]) * math.log(p[label])
        - math.fsum(q * math.log(1 - q) for c, q in enumerate(p) if c != label),
        "margin": math.log(p[label] / (1 - p[label])),
    }


ATTACKS = {
    "loss": (attacks.LossAttack, lambda v: -v),
    "confidence": (attacks.ConfidenceAttack, math.log),
    "entropy": (attacks.EntropyAttack, lambda v: -v),
    "modified_entropy": (attacks.ModifiedEntropyAttack, lambda v: -v),
    "margin": (attacks.MarginAttack, lambda v: v),
}


def one(logits, labels, members=None, evaluated=None):
    """Outputs of one model, from logits (N, C)."""
    logits = np.asarray(logits, np.float32)
    members = np.zeros(len(logits), bool) if members is None else np.asarray(members)
    evaluated = None if evaluated is None else np.asarray(evaluated)[None]
    return Outputs(logits[None], np.asarray(labels), members[None], evaluated)


@pytest.mark.parametrize("name", ATTACKS)
def test_scores_are_the_formulas(name):
    attack, unit = ATTACKS[name]
    target = gaussian_outputs(2, 40, 5, seed=0, leak=1.0)
    scores = attack().score(target)  # needs no fit
    for m in range(2):
        for i in range(40):
            expected = slow_metrics(target.logits[m, i].tolist(), int(target.labels[i]))[name]
            assert scores[m, i] == pytest.approx(unit(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["loss", "entropy"])
def test_normalized_metrics_are_one_for_a_uniform_answer(name):
    attack, _ = ATTACKS[name]
    for classes in (2, 10, 100):
        uniform = one(np.zeros((1, classes)), [0])
        assert attack(normalize=True).score(uniform).item() == pytest.approx(-1)
    target = gaussian_outputs(1, 30, 7, seed=0, leak=0.0)
    np.testing.assert_allclose(
        attack(normalize=True).score(target) * np.log(7), attack().score(target)
    )
    by_hand = attack(normalize=True, threshold=0.4).predict(target)
    np.testing.assert_array_equal(by_hand, -attack().score(target) <= 0.4 * np.log(7))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "margin"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 10**6))
def test_a_threshold_by_hand_is_in_the_unit_of_the_metric(name, share, seed):
    attack, _ = ATTACKS[name]
    target = gaussian_outputs(1, 20, 3, seed=seed, leak=1.0)
    values = np.array(
        [
            slow_metrics(z.tolist(), int(y))[name]
            for z, y in zip(target.logits[0], target.labels, strict=True)
        ]
    )
    # Midway between two records: rounding decides nothing.
    tau = np.mean(np.sort(values)[[int(share * 19), int(share * 19) + 1]])
    expected = values >= tau if name == "confidence" else values <= tau
    by_hand = attack(threshold=tau)
    np.testing.assert_array_equal(by_hand.predict(target)[0], expected)
    np.testing.assert_array_equal(by_hand.fit().predict(target)[0], expected)


def test_sure_answers_do_not_tie():
    # Losses 1e-12 and 1e-300, and confidences as close to 1.
    sure = one([[-math.log(1e-12), 0.0], [-math.log(1e-300), 0.0]], [0, 0])
    for attack, _ in ATTACKS.values():
        low, high = attack().score(sure)[0]
        assert low < high, attack.__name__
    assert attacks.LossAttack().score(sure)[0] == pytest.approx([-1e-12, -1e-300], rel=1e-4)
    surest = one([[800.0, 0.0], [900.0, 0.0]], [0, 0])
    for attack, _ in ATTACKS.values():
        assert np.isfinite(attack().score(surest)).all()
    low, high = attacks.MarginAttack().score(surest)[0]
    assert low < high


def brute_force(scores, members):
    """The best balanced accuracy of any threshold."""
    cuts = [-np.inf, *scores, np.inf]
    return max(
        (np.mean(scores[members] >= cut) + np.mean(scores[~members] < cut)) / 2 for cut in cuts
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_the_fitted_threshold_is_the_best_on_evaluated_shadow_pairs(name):
    attack, _ = ATTACKS[name]
    shadow = gaussian_outputs(4, 50, seed=1, leak=1.5)
    shadow = shadow.replace(evaluated=np.random.default_rng(0).random((4, 50)) < 0.7)
    fitted = attack().fit(shadow)
    used, called = shadow.evaluated, fitted.predict(shadow)
    members = shadow.members[used]
    reached = (called[used][members].mean() + (~called[used][~members]).mean()) / 2
    assert reached == pytest.approx(brute_force(fitted.score(shadow)[used], members))
    assert np.isnan(fitted.score(shadow)[~used]).all() and not called[~used].any()
    logits = shadow.logits.copy()
    logits[~used] = 50.0
    assert attack().fit(shadow.replace(logits=logits)).threshold_ == fitted.threshold_
    other = shadow.replace(members=np.where(used, shadow.members, ~shadow.members))
    assert attack().fit(other).threshold_ == fitted.threshold_


def test_a_threshold_for_each_class():
    shadow = gaussian_outputs(6, 200, 3, seed=2, leak=1.5)
    shift = np.array([0.0, 3.0, 6.0])[shadow.labels]  # classes of very different margins
    logits = shadow.logits.copy()
    logits[:, np.arange(200), shadow.labels] += shift.astype(np.float32)
    shadow = shadow.replace(logits=logits)
    attack = attacks.MarginAttack(per_class=True).fit(shadow)
    plain = attacks.MarginAttack().fit(shadow)
    for label in range(3):
        own = shadow.labels == label
        cut = best_threshold(plain.score(shadow)[:, own], shadow.members[:, own])
        assert attack.thresholds_[label] == cut
        np.testing.assert_array_equal(
            attack.predict(shadow)[:, own], plain.score(shadow)[:, own] >= cut
        )
    assert attack.threshold_ == 0
    right = [(a.predict(shadow) == shadow.members).mean() for a in (attack, plain)]
    assert right[0] > right[1] + 0.05


def test_a_class_without_members_takes_the_threshold_of_all_classes():
    shadow = gaussian_outputs(4, 90, 3, seed=3, leak=1.0)
    members = shadow.members & (shadow.labels != 2)
    logits = shadow.logits.copy()
    logits[:, shadow.labels == 1] = 0.0  # nothing tells them apart
    shadow = shadow.replace(members=members, logits=logits)
    attack = attacks.LossAttack(per_class=True).fit(shadow)
    pooled = attacks.LossAttack().fit(shadow).threshold_
    assert attack.thresholds_[0] != pooled
    assert attack.thresholds_[1:].tolist() == [pooled, pooled]


def test_baselines():
    target = gaussian_outputs(3, 2000, seed=4, leak=2.0)
    target = target.replace(evaluated=np.random.default_rng(0).random((3, 2000)) < 0.9)
    used = target.evaluated
    right = target.logits.argmax(axis=2) == target.labels
    np.testing.assert_array_equal(attacks.CorrectnessAttack().predict(target), right & used)
    assert np.isnan(attacks.CorrectnessAttack().score(target)[~used]).all()
    coin = attacks.RandomAttack(seed=1)
    scores = coin.score(target)
    np.testing.assert_array_equal(scores, coin.fit(target).score(target))
    assert (scores != attacks.RandomAttack(seed=2).score(target)).any()
    assert np.array_equal(np.isnan(scores), ~used)
    assert abs(coin.predict(target)[used].mean() - 0.5) < 4 * 0.5 / np.sqrt(used.sum())
    assert not np.array_equal(scores[0], scores[1])


def test_mistaken_inputs_are_named():
    target = gaussian_outputs(2, 20, seed=5, leak=1.0)
    with pytest.raises(InputError, match="LossAttack has no threshold"):
        attacks.LossAttack().predict(target)
    with pytest.raises(InputError, match="no shadow models; pass shadow="):
        attacks.LossAttack().fit()
    with pytest.raises(InputError, match="expected Outputs"):
        attacks.LossAttack().score(target.logits)
    with pytest.raises(InputError, match="40 evaluated members and 0 evaluated non-members"):
        attacks.LossAttack().fit(target.replace(members=np.ones((2, 20), bool)))
    with pytest.raises(InputError, match=r"probability in \(0, 1\]"):
        attacks.ConfidenceAttack(threshold=0.0).score(target)
    with pytest.raises(InputError, match="drop threshold="):
        attacks.LossAttack(per_class=True, threshold=1.0).fit(target)
    per_class = attacks.LossAttack(per_class=True)
    with pytest.raises(InputError, match="not fitted"):
        per_class.score(target)
    with pytest.raises(
        InputError, match="^LossAttack has thresholds for 4 classes, the target has 3"
    ):
        per_class.fit(target).score(gaussian_outputs(1, 20, 3, seed=0, leak=0.0))
    with pytest.raises(NotImplementedError):
        Attack().score(target)
