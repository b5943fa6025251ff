import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import euclidean, jensenshannon
from scipy.special import softmax
from scipy.stats import entropy
from synthetic import balanced, gaussian_outputs

from mia_utils.attacks import SimilarityAttack
from mia_utils.attacks.similarity import DISTANCES
from mia_utils.errors import InputError
from mia_utils.evaluation import auc
from mia_utils.outputs import Outputs
from mia_utils.signals import log_softmax

SCIPY = {"kl": entropy, "js": lambda p, q: jensenshannon(p, q) ** 2, "l2": euclidean}


@pytest.mark.parametrize("distance", SCIPY)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 12), scale=st.floats(0.1, 8))
def test_distances_are_those_of_scipy(distance, seed, classes, scale):
    p, q = log_softmax(np.random.default_rng(seed).normal(0, scale, (2, 5, classes)))
    expected = [SCIPY[distance](a, b) for a, b in zip(np.exp(p), np.exp(q), strict=True)]
    np.testing.assert_allclose(DISTANCES[distance](p, q), expected, rtol=1e-7, atol=1e-12)


def slow_scores(shadow, target, distance):
    """The definition, pair by pair, from float64 probabilities and scipy's distances."""
    p, q = (softmax(o.logits.astype(float), axis=2) for o in (target, shadow))
    scores = np.full(target.members.shape, np.nan)
    for m, i in np.argwhere(target.evaluated):
        row = int(np.flatnonzero(shadow.ids == target.ids[i])[0])
        far = {False: [], True: []}
        for s in np.flatnonzero(shadow.evaluated[:, row]):
            far[bool(shadow.members[s, row])].append(SCIPY[distance](p[m, i], q[s, row]))
        scores[m, i] = np.mean(far[False]) - np.mean(far[True])
    return scores


@pytest.mark.parametrize("distance", SCIPY)
def test_scores_are_the_definition(distance, monkeypatch):
    monkeypatch.setattr("mia_utils.attacks.similarity._CHUNK", 90)  # several chunks of records
    rng = np.random.default_rng(0)
    shadow = gaussian_outputs(6, 40, 5, seed=0, leak=1.0)
    shadow = shadow.replace(evaluated=rng.random((6, 40)) < 0.9)
    target = gaussian_outputs(2, 40, 5, seed=1, leak=1.0, masks="independent")
    known = (shadow.evaluated & shadow.members).any(0) & (shadow.evaluated & ~shadow.members).any(0)
    target = target.replace(evaluated=known & (rng.random((2, 40)) < 0.8))
    target = target.select(records=rng.permutation(40)[:30])
    scores = SimilarityAttack(distance=distance).fit(shadow).score(target)
    np.testing.assert_allclose(scores, slow_scores(shadow, target, distance), atol=1e-6)


def exact_design(k, audited, *, seed, leak):
    """k models without any audited record, and k more for each one that held it besides."""
    members = np.zeros((k * (audited + 1), audited), bool)
    for q in range(audited):
        members[k * (q + 1) : k * (q + 2), q] = True
    pool = gaussian_outputs(len(members), audited, seed=seed, leak=0.0)
    logits = pool.logits.copy()
    logits[:, np.arange(audited), pool.labels] += leak * members
    evaluated = members.copy()
    evaluated[:k] = True
    return pool.replace(logits=logits, members=members, evaluated=evaluated)


def test_the_exact_design_compares_with_its_own_k_models_alone():
    shadow = exact_design(3, 10, seed=2, leak=1.0)
    target = gaussian_outputs(2, 10, seed=3, leak=1.0, masks="independent")
    attack = SimilarityAttack().fit(shadow)
    scores = attack.score(target)
    p, q = (log_softmax(o.logits) for o in (target, shadow))
    for m in range(2):
        for i in range(10):
            far = [(np.exp(p[m, i]) * (p[m, i] - q[s, i])).sum() for s in range(len(shadow))]
            own = slice(3 * (i + 1), 3 * (i + 2))
            assert scores[m, i] == pytest.approx(np.mean(far[:3]) - np.mean(far[own]))
    everyone = shadow.replace(evaluated=np.ones_like(shadow.members))
    assert not np.allclose(SimilarityAttack().fit(everyone).score(target), scores)


def test_exact_and_amortised_find_the_same_leak():
    target = gaussian_outputs(8, 50, seed=5, leak=4.0, masks="independent")
    both = {
        "exact": exact_design(4, 50, seed=4, leak=4.0),
        "amortised": gaussian_outputs(8, 50, seed=4, leak=4.0),
    }
    for design, shadow in both.items():
        attack = SimilarityAttack(distance="js").fit(shadow)
        found = np.mean(
            [auc(*pair) for pair in zip(attack.score(target), target.members, strict=True)]
        )
        assert found > 0.8, design
        assert (attack.predict(target) == target.members).mean() > 0.7, design


def test_members_score_above_zero_where_models_differ():
    # With the record a model answers (8, 0), without it (0, 8).
    members = balanced(6, 50, np.random.default_rng(0))
    logits = np.where(members[..., None], [8.0, 0.0], [0.0, 8.0])
    shadow = Outputs(logits, np.zeros(50, int), members)
    target = shadow.select(models=[0, 1])
    for distance in DISTANCES:
        attack = SimilarityAttack(distance=distance).fit(shadow)
        np.testing.assert_array_equal(attack.score(target) > 0, target.members)
        np.testing.assert_array_equal(attack.predict(target), target.members)


def test_extreme_logits_stay_finite():
    logits = np.float32([[[3e37, -3e37]], [[-3e37, 3e37]], [[0, 0]]])
    outputs = Outputs(logits, np.array([0]), np.array([[True], [False], [True]]))
    for distance in DISTANCES:
        scores = SimilarityAttack(distance=distance, threshold=0).fit(outputs).score(outputs)
        assert np.isfinite(scores).all() and scores[0, 0] > 0 > scores[1, 0]


@pytest.mark.parametrize("models", [4, 8, 16])
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_left_out_model_is_not_given_away(distance, models, monkeypatch):
    """Without equal numbers of models with and without the record, their count would tell."""
    seen = {}
    monkeypatch.setattr(
        SimilarityAttack, "_set_threshold", lambda self, s, m: seen.update(s=s, m=m)
    )
    shadow = gaussian_outputs(models, 8000, seed=6, leak=0.0)
    SimilarityAttack(distance=distance).fit(shadow)
    found = []
    for scores, members in zip(seen["s"], seen["m"], strict=True):
        known = ~np.isnan(scores)
        assert known.all()
        found.append(auc(scores, members))
    assert len(found) == 4
    assert abs(np.mean(found) - 0.5) < 4 * np.sqrt(1 / 12 * 2 / 4000 / 4)


def test_mistaken_inputs_are_named():
    shadow = gaussian_outputs(4, 20, seed=7, leak=1.0)
    target = gaussian_outputs(1, 20, seed=8, leak=1.0, masks="independent")
    with pytest.raises(InputError, match=r"fit\(shadow\) got NoneType"):
        SimilarityAttack().fit()
    held = shadow.members.copy()
    held[:, 6] = True
    attack = SimilarityAttack().fit(shadow.replace(members=held))
    with pytest.raises(InputError, match="record 6 was in 4 shadow models and out of 0"):
        attack.score(target)
    evaluated = np.ones((1, 20), bool)
    evaluated[0, 6] = False
    assert np.isnan(attack.score(target.replace(evaluated=evaluated))[0, 6])
    named = SimilarityAttack().fit(shadow.replace(names=tuple("abcd")))
    with pytest.raises(InputError, match="model c is audited and among the shadow models"):
        named.score(target.replace(names=("c",)))
    apart = shadow.members[0] != shadow.members[1]
    two = SimilarityAttack().fit(shadow.select(models=[0, 1], records=apart))
    with pytest.raises(InputError, match="no threshold"):
        two.predict(target.select(records=apart))
