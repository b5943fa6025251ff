import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from synthetic import gaussian_outputs, scene

from mia_utils.attacks import (
    RMIA,
    CalibratedAttack,
    ConfidenceAttack,
    LearnedAttack,
    LiRA,
    LossAttack,
    PopulationAttack,
    RandomAttack,
    SimilarityAttack,
    StackedAttack,
)
from mia_utils.attacks.base import Attack
from mia_utils.errors import InputError
from mia_utils.evaluation import auc


def mean_auc(scores, target):
    return np.mean([auc(*pair) for pair in zip(scores, target.members, strict=True)])


class Column(Attack):
    """The logit of one class: a score attack whose information a test controls."""

    def __init__(self, column):
        super().__init__()
        self.column = column

    def _score_records(self, logits, labels):
        return logits[:, self.column].astype(float)


def two_halves(models, seed):
    """Membership shows a little in two logits, independently."""
    pool = gaussian_outputs(models, 2000, 3, seed=seed, leak=0.0)
    logits = np.random.default_rng([seed, 2]).normal(size=pool.logits.shape).astype(np.float32)
    logits[..., 1:] += pool.members[..., None]
    return pool.replace(logits=logits)


def test_two_weak_scores_add_up_and_a_useless_one_weighs_nothing():
    shadow, target = two_halves(4, 0), two_halves(2, 1)
    attack = StackedAttack([Column(0), Column(1), Column(2), RandomAttack()]).fit(shadow)
    best = target.logits[..., 1] + target.logits[..., 2].astype(float)
    assert abs(mean_auc(attack.score(target), target) - mean_auc(best, target)) < 0.01
    assert mean_auc(best, target) > mean_auc(Column(1).score(target), target) + 0.05
    assert min(attack.weights_[1:3]) > 5 * max(abs(attack.weights_[[0, 3]]))
    right = (attack.predict(target) == target.members).mean()
    assert right > 0.72  # the best that two gaps of 1 allow is 0.76


def test_one_score_keeps_its_order():
    shadow, population, target = scene(8, seed=0, shadow_leak=2.0, target_leak=2.0)
    for attack in (LossAttack(), LiRA(), SimilarityAttack()):
        order = np.argsort(attack.fit(shadow, population).score(target)[0])
        stacked = StackedAttack([attack]).fit(shadow, population).score(target)[0]
        assert (np.diff(stacked[order]) >= 0).all()


def test_the_weights_come_from_models_that_the_attacks_have_not_seen(monkeypatch):
    shadow, population, _target = scene(8, seed=1, shadow_leak=2.0, target_leak=2.0)
    seen = []
    fit, score = CalibratedAttack.fit, CalibratedAttack.score
    monkeypatch.setattr(
        CalibratedAttack,
        "fit",
        lambda self, s, p=None: (seen.append(["fit", s, p]), fit(self, s, p))[1],
    )
    monkeypatch.setattr(
        CalibratedAttack, "score", lambda self, t: (seen.append(["score", t]), score(self, t))[1]
    )
    base = CalibratedAttack()
    StackedAttack([base, LossAttack()]).fit(shadow, population)
    assert not hasattr(base, "statistics_")  # copies were fitted
    assert [call[0] for call in seen] == ["fit", "score"] * 4 + ["fit"]
    for (_, others, own_population), (_, alone) in zip(seen[:-1:2], seen[1::2], strict=True):
        left_out = [m for m in range(8) if np.array_equal(shadow.logits[m, 130:], alone.logits[0])]
        assert len(left_out) == 1 and not others.evaluated[left_out[0]].any()
        held = (others.evaluated & others.members).sum(axis=0)
        free = (others.evaluated & ~others.members).sum(axis=0)
        np.testing.assert_array_equal(held, free)  # a count gives nothing away
        np.testing.assert_array_equal(own_population.ids, population.ids)
        np.testing.assert_array_equal(own_population.logits[0], shadow.logits[left_out[0], :130])
        assert not np.isin(alone.ids, own_population.ids).any()
    _, everyone, its_population = seen[-1]
    assert everyone is shadow and its_population is population


@pytest.mark.parametrize("models", [4, 8, 16])
def test_the_left_out_model_is_not_given_away(models, monkeypatch):
    """On noise the weights are fitted on scores that are noise too."""
    seen = {}
    monkeypatch.setattr(StackedAttack, "_set_threshold", lambda self, s, m: seen.update(s=s, m=m))
    shadow = gaussian_outputs(models, 4000, seed=2, leak=0.0)
    StackedAttack([SimilarityAttack(), CalibratedAttack(), LossAttack()]).fit(shadow)
    assert seen["m"].size == 16_000
    # Three weights fitted to 16,000 records of noise: an AUC of about 0.505.
    assert abs(auc(seen["s"], seen["m"]) - 0.5) < 0.015


def test_attacks_of_every_kind():
    shadow, population, target = scene(8, seed=3, shadow_leak=2.0, target_leak=2.0, targets=4)
    attacks = [
        LossAttack(per_class=True),
        ConfidenceAttack(),
        LiRA(),
        RMIA(),
        PopulationAttack(),
        SimilarityAttack(),
        LearnedAttack(estimator=LogisticRegression(), features="sorted"),
    ]
    stacked = StackedAttack(attacks).fit(shadow, population)
    found = mean_auc(stacked.score(target), target)
    each = [mean_auc(a.fit(shadow, population).score(target), target) for a in attacks]
    assert found > max(each) - 0.03 > 0.7
    assert stacked.weights_.shape == (7,)


def test_infinite_scores_are_taken(monkeypatch):
    def some_infinite(self, logits, labels):
        column = logits[:, 1].astype(float)
        return np.where(np.abs(column) > 2, np.sign(column) * np.inf, column)

    monkeypatch.setattr(Column, "_score_records", some_infinite)
    shadow = two_halves(4, 4)
    scores = StackedAttack([Column(1)]).fit(shadow).score(shadow)
    assert np.isfinite(scores).all() and mean_auc(scores, shadow) > 0.6


def test_disjoint_shadow_sets_for_attacks_that_take_them():
    pool = gaussian_outputs(3, 600, seed=5, leak=2.0)
    sets = np.arange(600) % 6
    shadow = pool.replace(
        members=pool.members & np.stack([sets // 2 == m for m in range(3)]),
        evaluated=np.stack([sets // 2 == m for m in range(3)]),
    )
    learned = LearnedAttack(estimator=LogisticRegression(), features="sorted")
    target = gaussian_outputs(2, 600, seed=6, leak=2.0, masks="independent")
    assert mean_auc(StackedAttack([LossAttack(), learned]).fit(shadow).score(target), target) > 0.7
    with pytest.raises(InputError, match="no shadow model can be left out"):
        StackedAttack([LossAttack(), SimilarityAttack()]).fit(shadow)


def test_a_threshold_by_hand_is_a_probability():
    shadow = two_halves(4, 7)
    attack = StackedAttack([Column(1)], threshold=0.8).fit(shadow)
    assert attack.threshold_ == pytest.approx(np.log(4))


def test_mistaken_inputs_are_named():
    shadow, _population, _target = scene(4, seed=8, shadow_leak=1.0, target_leak=1.0)
    with pytest.raises(InputError, match="needs at least 2"):
        StackedAttack([LossAttack()]).fit(shadow.select(models=[0]))
    with pytest.raises(InputError, match="RMIA.* no population"):
        StackedAttack([RMIA()]).fit(shadow)
    with pytest.raises(InputError, match="got NoneType"):
        StackedAttack([LossAttack()]).fit()
