import numpy as np
import pytest
from gaussian import World, from_margins, split, with_wild
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from synthetic import balanced

from mia_utils import signals
from mia_utils.attacks.reference import CalibratedAttack, PopulationAttack, ReferenceAttack
from mia_utils.errors import InputError


def losses(outputs):
    return signals.loss(outputs.logits, outputs.labels)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 20), z=st.integers(5, 40))
def test_population_attack_is_its_definition(seed, levels, z):
    """Share of the known non-members with a larger loss, ties half, by a double loop."""
    rng = np.random.default_rng(seed)
    margins = rng.integers(0, levels, (2, z + 15)).astype(float)
    members = rng.random(margins.shape) < 0.5
    members[:, 0] = False
    use = rng.random(margins.shape) < 0.8
    everyone = from_margins(margins, members, evaluated=use)
    population, target = split(everyone, z)
    scores = PopulationAttack().fit(population=population).score(target)
    for m in range(2):
        for i in range(15):
            x = losses(target)[m, i]
            known = losses(population)[m, ~population.members[m]]
            expected = np.mean([1.0 if z > x else 0.5 if z == x else 0.0 for z in known])
            if target.evaluated[m, i]:
                assert scores[m, i] == pytest.approx(expected, abs=1e-12)
            else:
                assert np.isnan(scores[m, i])


def test_population_attack_ranks_as_the_loss_and_calls_members_at_its_rate():
    world = World(8000, seed=0)
    population, target = split(world.targets(2), 4000)
    attack = PopulationAttack(fpr=0.2).fit(population=population)
    scores = attack.score(target)
    for one, loss in zip(scores, losses(target), strict=True):
        assert (np.diff(one[np.argsort(loss)]) <= 0).all()
    called = attack.predict(target)[~target.members]
    assert abs(called.mean() - 0.2) < 4 * np.sqrt(2 * 0.16 / 4000)
    assert PopulationAttack(threshold=0.3).fit(population=population).threshold_ == 0.3


def test_population_attack_does_not_tie_sure_answers():
    # Losses e^-800 and e^-900 are both 0 in float64.
    both = from_margins(np.array([[800.0, 900.0, 850.0]]), np.zeros((1, 3), bool))
    attack = PopulationAttack().fit(population=both.select(records=[0, 1]))
    assert attack.score(both.select(records=[2])).item() == 0.5


def test_population_attack_names_its_mistakes():
    population, target = split(World(200, seed=1).targets(2), 100)
    attack = PopulationAttack().fit(population=population)
    with pytest.raises(InputError, match="PopulationAttack.fit got no population"):
        PopulationAttack().fit()
    with pytest.raises(InputError, match="record 0 is audited and in the population"):
        attack.score(population)
    with pytest.raises(InputError, match="every population record is a member of target 0"):
        held = np.ones_like(population.members)
        PopulationAttack().fit(population=population.replace(members=held))
    with pytest.raises(InputError, match="different pools"):
        attack.score(target.replace(fingerprint="abc"))
    not_audited = population.replace(evaluated=np.zeros_like(population.members))
    assert np.isnan(attack.score(not_audited)).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 20), models=st.sampled_from([4, 10]))
def test_reference_attack_is_its_definition(seed, levels, models):
    """Share of out models with a larger loss on the record, ties half, by a double loop."""
    rng = np.random.default_rng(seed)
    margins = rng.integers(0, levels, (models + 2, 12)).astype(float)
    members = np.vstack([balanced(models, 12, rng), rng.random((2, 12)) < 0.5])
    everyone = from_margins(margins, members)
    shadow, target = everyone.select(models=slice(models)), everyone.select(models=[-2, -1])
    scores = ReferenceAttack().fit(shadow).score(target)
    for m in range(2):
        for i in range(12):
            x, out = losses(target)[m, i], losses(shadow)[~shadow.members[:, i], i]
            expected = np.mean([1.0 if r > x else 0.5 if r == x else 0.0 for r in out])
            assert scores[m, i] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("signal", ["loss", "margin"])
def test_calibrated_attack_is_its_definition(signal):
    world = World(50, seed=2)
    shadow, target = world.shadow(8), world.targets(2)
    value = {"loss": lambda o: -losses(o), "margin": lambda o: o.logits[..., 0].astype(float)}
    own, others = value[signal](target), value[signal](shadow)
    expected = [
        [own[m, i] - others[~shadow.members[:, i], i].mean() for i in range(50)] for m in range(2)
    ]
    scores = CalibratedAttack(signal=signal).fit(shadow).score(target)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)


def test_calibrated_margin_converges_to_the_optimum_where_gaps_are_alike():
    world = World(5000, seed=3)
    target = world.targets(1)
    best = roc_auc_score(target.members[0], world.log_ratio(target)[0])
    attack = CalibratedAttack(signal="margin")
    few, many = (
        best - roc_auc_score(target.members[0], attack.fit(world.shadow(m)).score(target)[0])
        for m in (4, 128)
    )
    assert few > 0.02 and abs(many) < 0.005


ATTACKS = [ReferenceAttack(), CalibratedAttack(), CalibratedAttack(signal="margin")]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_planted_member_scores_above_its_twin(attack):
    world = World(300, seed=4, gap=6.0)
    twins = np.zeros((2, 300), bool)
    twins[1] = True
    scores = attack.fit(world.shadow(16)).score(world.draw(twins))
    # One in nine non-members ties: it is itself above all 8 reference models.
    assert (scores[1] >= scores[0]).mean() > 0.97 and (scores[1] > scores[0]).mean() > 0.8


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("models", [4, 8, 16])
def test_the_left_out_model_is_not_given_away(attack, models, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        type(attack), "_set_threshold", lambda self, s, members: seen.update(s=s, m=members)
    )
    world = World(20_000, seed=5, gap=0.0)
    shadow = world.shadow(models)
    shift = np.linspace(-2, 2, models)[:, None].astype(np.float32)
    attack.fit(shadow.replace(logits=shadow.logits + shift[..., None] * np.float32([1, 0])))
    for scores, members in zip(seen["s"], seen["m"], strict=True):
        assert abs(roc_auc_score(members, scores) - 0.5) < 4 * 0.289 / np.sqrt(5000)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_threshold_separates_new_targets(attack):
    world = World(2000, seed=6, gap=4.0)
    target = world.targets(3)
    accuracy = (attack.fit(world.shadow(16)).predict(target) == target.members).mean()
    scores = attack.score(target)
    grid = np.quantile(scores, np.linspace(0, 1, 101))
    best = max(((scores >= threshold) == target.members).mean() for threshold in grid)
    assert accuracy > best - 0.02 > 0.68


@pytest.mark.parametrize("attack", ATTACKS)
def test_pairs_that_are_not_evaluated_change_nothing(attack):
    world = World(60, seed=7)
    shadow, target = world.shadow(16), world.targets(2)
    use = np.random.default_rng(0).random(shadow.members.shape) < 0.8
    shadow = shadow.replace(evaluated=use)
    before = attack.fit(shadow).score(target)
    np.testing.assert_array_equal(before, attack.fit(with_wild(shadow, ~use)).score(target))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_record_that_every_shadow_model_held_is_named(attack):
    world = World(20, seed=8)
    members = balanced(8, 20, world.rng)
    members[:, 3] = True
    with pytest.raises(InputError, match="record 3 has 0 shadow models that did not"):
        attack.fit(world.draw(members)).score(world.targets(1))


def test_all_scores_tie_where_all_answers_do():
    members = balanced(8, 20, np.random.default_rng(0))
    same = from_margins(np.ones((8, 20)), members)
    target = from_margins(np.ones((1, 20)), members[:1])
    assert (ReferenceAttack().fit(same).score(target) == 0.5).all()
    assert (CalibratedAttack().fit(same).score(target) == 0).all()
    other = target.replace(ids=target.ids + 20)
    assert (PopulationAttack().fit(population=other).score(target) == 0.5).all()
