import numpy as np
import pytest
from gaussian import World, split, with_wild
from sklearn.metrics import roc_auc_score

from mia_utils.attacks.quantile import QuantileAttack
from mia_utils.errors import InputError


class Described(World):
    """Records whose difficulty and spread can be read off two features."""

    def __init__(self, records, *, seed, gap=1.0):
        super().__init__(records, seed=seed, gap=gap)
        self.features = self.rng.uniform(-1, 1, (records, 3))
        self.center = 3 * self.features[:, 0]
        self.deviation = np.where(self.features[:, 1] > 0, 2.0, 0.5)


def area(scores, target, model=0):
    return roc_auc_score(target.members[model], scores[model])


def test_approaches_the_optimum_that_the_features_allow():
    world = Described(6000, seed=0)
    population, target = split(world.targets(1), 4000)
    scores = QuantileAttack(features=world.features).fit(population=population).score(target)
    rows = target.ids
    x = (target.logits[0, :, 0] - world.center[rows]) / world.deviation[rows]
    np.testing.assert_allclose(np.corrcoef(x, scores[0])[0, 1], 1, atol=0.07)
    assert area(scores, target) > roc_auc_score(target.members[0], x) - 0.02
    assert area(scores, target) > roc_auc_score(target.members[0], target.logits[0, :, 0]) + 0.05


def test_shadow_models_can_describe_a_record():
    world = World(3000, seed=1, gap=1.5)
    population, target = split(world.targets(1), 1500)
    plain = QuantileAttack().fit(population=population).score(target)
    seen = QuantileAttack().fit(world.shadow(16), population).score(target)
    assert area(seen, target) > area(plain, target) + 0.05


def test_a_planted_member_scores_above_its_twin():
    world = Described(2000, seed=2, gap=8.0)
    twins = np.zeros((2, 2000), bool)
    twins[1, 1000:] = True
    both = world.draw(twins)
    population, target = split(both, 1000)
    attack = QuantileAttack(features=world.features).fit(population=population)
    scores = attack.score(target)
    assert (scores[1] > scores[0]).mean() > 0.97
    called = attack.predict(target)
    assert called[1].mean() > 0.8 and abs(called[0].mean() - 0.1) < 0.05


def test_nothing_is_found_in_noise():
    """The regressor sees records that are not audited; judged by its own, it would find itself."""
    for seed in range(3):
        world = Described(1600, seed=seed, gap=0.0)
        population, target = split(world.targets(1), 800)
        scores = QuantileAttack(features=world.features).fit(population=population).score(target)
        assert abs(area(scores, target) - 0.5) < 4 * 0.289 / np.sqrt(200)


def test_members_and_audited_answers_change_nothing():
    world = Described(700, seed=3)
    population, target = split(world.targets(1), 500)
    shadow = world.shadow(6)
    attack = QuantileAttack(features=world.features).fit(shadow, population)
    before = attack.score(target)
    other = QuantileAttack(features=world.features).fit(
        with_wild(shadow, shadow.members), with_wild(population, population.members)
    )
    np.testing.assert_array_equal(before, other.score(target))
    assert attack.threshold_ == other.threshold_
    logits = target.logits.copy()
    logits[0, 1:] += np.float32([9, 0])
    assert attack.score(target.replace(logits=logits))[0, 0] == before[0, 0]
    only = np.zeros_like(target.evaluated)
    only[0, 2] = True
    alone = attack.score(target.replace(evaluated=only))
    assert alone[0, 2] == before[0, 2] and np.isnan(alone).sum() == only.size - 1


def test_the_false_positive_rate_holds_on_records_that_no_tree_was_fitted_on():
    """Residuals of the rows that the mean was fitted on are too small, and so would the threshold
    be."""
    rates = []
    for seed in range(6):
        world = Described(1200, seed=seed)
        nobody = world.draw(np.zeros((1, 1200), bool))
        population, others = split(nobody, 200)
        attack = QuantileAttack(features=world.features, fpr=0.1).fit(population=population)
        rates.append(attack.predict(others).mean())
    assert 0.06 < np.mean(rates) < 0.14


@pytest.mark.parametrize("models", [1, 2])
def test_few_shadow_models_tell_no_spread(models):
    world = Described(400, seed=9)
    population, target = split(world.targets(1), 300)
    shadow = world.shadow(4).select(models=slice(models))
    scores = QuantileAttack().fit(shadow, population).score(target)
    assert np.isfinite(scores).all()
    assert roc_auc_score(target.members[0], scores[0]) > 0.6


def test_all_answers_tie():
    world = Described(300, seed=4)
    population, target = split(world.targets(1), 200)
    same = [part.replace(logits=np.ones_like(part.logits)) for part in (population, target)]
    scores = QuantileAttack().fit(population=same[0]).score(same[1])
    assert np.isfinite(scores).all() and np.unique(scores).size == 1


@pytest.mark.parametrize("classes", [3, 300])
def test_an_audited_class_that_the_population_lacks(classes):
    population, target = split(Described(300, seed=5).targets(1), 200)
    extra = ((0, 0), (0, 0), (0, classes - 2))
    wide = [part.replace(logits=np.pad(part.logits, extra)) for part in (population, target)]
    last = wide[1].replace(labels=target.labels + classes - 1)
    assert np.isfinite(QuantileAttack().fit(population=wide[0]).score(last)).all()


def test_mistaken_inputs_are_named():
    world = Described(200, seed=6)
    population, _target = split(world.targets(1), 150)
    with pytest.raises(InputError, match="got no population"):
        QuantileAttack().fit()
    with pytest.raises(InputError, match="the regression needs 50"):
        QuantileAttack().fit(population=population.select(records=slice(60)))
    with pytest.raises(InputError, match="features have 100 rows, the population holds record 149"):
        QuantileAttack(features=world.features[:100]).fit(population=population)
    with pytest.raises(InputError, match="the population holds record -1"):
        QuantileAttack(features=world.features).fit(
            population=population.replace(ids=population.ids - 150)
        )
    attack = QuantileAttack().fit(population=population)
    with pytest.raises(InputError, match="is audited and in the population"):
        attack.score(population)
    with pytest.raises(InputError, match="the shadow models were not queried on"):
        QuantileAttack().fit(world.shadow(4).select(records=slice(50, None)), population)
