"""What holds for every attack: sign, independence of what is audited, odd inputs."""

from dataclasses import replace

import numpy as np
import pytest
from factories import FACTORIES
from synthetic import Scene, gaussian_outputs, scene

from mia_utils import attacks
from mia_utils.errors import InputError

ONLINE = ("similarity", "lira", "rmia", "base", "stacked")
PER_RECORD = (*ONLINE, "reference", "calibrated")


@pytest.fixture(scope="module")
def leaky():
    return scene(8, seed=1, shadow_leak=2.0, target_leak=2.0)


def test_every_attack_is_tested_here_or_asks_models_anew():
    tested = {type(attack()) for attack in FACTORIES.values()}
    each = {value for value in vars(attacks).values() if isinstance(value, type)}
    each = {c for c in each if issubclass(c, attacks.Attack)}
    bases = {attacks.Attack, attacks.MetricAttack}
    anew = {attacks.AugmentationAttack, attacks.BoundaryAttack, attacks.GradientAttack}
    assert each - bases - anew == tested


@pytest.mark.parametrize("name", [name for name in FACTORIES if name != "random"])
def test_a_planted_member_scores_above_its_twin(name):
    # Two models, equal but that the second one is surer of the members.
    shadow, population, target = scene(8, seed=2, shadow_leak=3.0, target_leak=0.0)
    logits = target.logits.copy()
    logits[1] = logits[0]
    logits[1, np.arange(target.labels.size), target.labels] += 3
    held = np.repeat([[False], [True]], target.labels.size, axis=1)
    twins = target.replace(logits=logits, members=held)
    both = np.repeat(population.logits[:1], 2, axis=0)
    population = population.replace(
        logits=both, members=np.repeat(population.members[:1], 2, axis=0)
    )
    without, held = FACTORIES[name]().fit(shadow, population).score(twins)
    assert (held > without).mean() > (held < without).mean() + 0.2


@pytest.mark.parametrize("name", FACTORIES)
def test_no_fit_changes_when_audited_outputs_do(name, leaky):
    shadow, population, target = leaky
    attack = FACTORIES[name]().fit(shadow, population)
    before = attack.score(target)
    logits = target.logits.copy()
    logits[0, 1:] = logits[0, 1:][:, ::-1] * 3
    logits[1, :-1] += np.arange(4, dtype=np.float32)
    changed = target.replace(logits=logits, members=~target.members)
    after = attack.score(changed)
    assert after[0, 0] == before[0, 0] and after[1, -1] == before[1, -1]
    np.testing.assert_array_equal(attack.score(target), before)
    again = FACTORIES[name]().fit(shadow, population)
    assert again.threshold_ == attack.threshold_
    np.testing.assert_array_equal(again.score(target), before)


@pytest.mark.parametrize("name", FACTORIES)
def test_only_evaluated_pairs_are_scored_and_called(name, leaky):
    shadow, population, target = leaky
    attack = FACTORIES[name]().fit(shadow, population)
    everywhere, called = attack.score(target), attack.predict(target)
    assert everywhere.dtype == np.float64 and called.dtype == bool
    assert np.isfinite(everywhere).all()
    np.testing.assert_array_equal(called, everywhere >= attack.threshold_)
    used = np.random.default_rng(0).random(target.members.shape) < 0.5
    some = target.replace(evaluated=used)
    np.testing.assert_allclose(
        attack.score(some), np.where(used, everywhere, np.nan), rtol=1e-5, atol=1e-12
    )
    np.testing.assert_array_equal(attack.predict(some), called & used)
    nowhere = target.replace(evaluated=np.zeros_like(used))
    assert np.isnan(attack.score(nowhere)).all() and not attack.predict(nowhere).any()


@pytest.mark.parametrize("name", FACTORIES)
def test_shadow_pairs_that_are_not_evaluated_change_nothing(name, leaky):
    """Neither the fit nor the threshold, which comes from models that are left out in turn."""
    shadow, population, target = leaky
    # Every record lacks one of its eight models.
    use = np.random.default_rng(0).random(shadow.members.shape).argsort(axis=0) > 0
    logits = np.where(use[..., None], shadow.logits, shadow.logits[:, ::-1] * 3 + 50 * np.eye(4)[0])
    plain = FACTORIES[name]().fit(shadow.replace(evaluated=use), population)
    wild = FACTORIES[name]().fit(
        shadow.replace(
            evaluated=use,
            logits=logits.astype(np.float32),
            members=np.where(use, shadow.members, ~shadow.members),
        ),
        population,
    )
    assert wild.threshold_ == plain.threshold_
    np.testing.assert_array_equal(wild.score(target), plain.score(target))


@pytest.mark.parametrize("name", FACTORIES)
def test_one_evaluated_record_a_model(name, leaky):
    shadow, population, target = leaky
    used = np.zeros_like(target.members)
    used[[0, 1], [3, 7]] = True
    attack = FACTORIES[name]().fit(shadow, population)
    scores = attack.score(target.replace(evaluated=used))
    np.testing.assert_allclose(scores[used], attack.score(target)[used], rtol=1e-5, atol=1e-12)
    few = shadow.evaluated.copy()
    few[0] = False
    few[0, 5] = True
    fitted = FACTORIES[name]().fit(shadow.replace(evaluated=few), population)
    assert np.isfinite(fitted.score(target)).all()


@pytest.mark.parametrize("name", FACTORIES)
def test_where_all_answers_tie_all_scores_do(name, leaky):
    same = Scene(*(o.replace(logits=np.ones_like(o.logits)) for o in leaky))
    attack = FACTORIES[name]().fit(same.shadow, same.population)
    scores = attack.score(same.target)
    assert not np.isnan(scores).any()
    assert attack.predict(same.target).shape == scores.shape
    if name == "correctness":  # a tie is not right
        np.testing.assert_array_equal(scores, 0)
    elif name != "random":
        for label in range(4):  # the class is all that an attack can go by
            own = scores[:, same.target.labels == label]
            np.testing.assert_allclose(own, own[0, 0], rtol=1e-9)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_class_without_members(name, leaky):
    shadow, population, target = (o.replace(members=o.members & (o.labels != 2)) for o in leaky)
    if name.startswith(ONLINE) and not name.endswith(("offline", "two_sided")):
        # No shadow model held those records: they cannot be compared.
        attack = FACTORIES[name]()
        with pytest.raises(InputError, match="record .* shadow models"):
            attack.fit(shadow, population).score(target)
        known = target.labels != 2
        assert np.isfinite(attack.score(target.select(records=known))).all()
    else:
        scores = FACTORIES[name]().fit(shadow, population).score(target)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", [n for n in FACTORIES if n.startswith(PER_RECORD)])
def test_other_records_or_pools_are_refused(name, leaky):
    shadow, population, target = leaky
    attack = FACTORIES[name]().fit(shadow, population)
    with pytest.raises(InputError, match="pool"):
        attack.score(target.replace(fingerprint="another"))
    with pytest.raises(InputError, match="record"):
        attack.score(target.replace(ids=target.ids + 1000))
    with pytest.raises(InputError, match="pool|classes"):
        attack.score(
            replace(target, logits=np.concatenate([target.logits, target.logits[..., :1]], axis=2))
        )


@pytest.mark.parametrize("name", [n for n in FACTORIES if n.startswith((*PER_RECORD, "learned"))])
def test_not_fitted(name, leaky):
    with pytest.raises(InputError, match="not fitted"):
        FACTORIES[name]().score(leaky.target)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_never_reach_an_attack(value):
    outputs = gaussian_outputs(2, 10, seed=0, leak=0.0)
    logits = outputs.logits.copy()
    logits[1, 3, 0] = value
    with pytest.raises(InputError, match="model 1 .* record 3"):
        outputs.replace(logits=logits)
