import numpy as np
import pytest
from gaussian import World, from_margins, split, with_wild
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from synthetic import balanced

from mia_utils import signals
from mia_utils.attacks.rmia import BASE, RMIA
from mia_utils.errors import InputError
from mia_utils.outputs import Outputs


def probability(outputs, temperature=1.0):
    """Softmax probability of the true class, (M, N), the plain way."""
    z = outputs.logits.astype(float) / temperature
    p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    return p[:, np.arange(outputs.labels.size), outputs.labels]


def slow_marginal(shadow, row, online, a, temperature):
    p, pairs = probability(shadow, temperature)[:, row], shadow.evaluated[:, row]
    out = p[pairs & ~shadow.members[:, row]].mean()
    held = p[pairs & shadow.members[:, row]]
    if not online:
        return ((1 + a) * out + (1 - a)) / 2
    return (out + held.mean()) / 2 if held.size else out


def slow_rmia(shadow, population, target, *, online, a=0.3, gamma=1.0, temperature=1.0):
    """The paper: for every record x, the share of the N x Z matrix's row that is at least gamma."""
    where = {int(record): row for row, record in enumerate(shadow.ids)}
    scores = np.full(target.members.shape, np.nan)
    for m in range(len(target)):
        ratio_z = np.array(
            [
                probability(population, temperature)[m, j]
                / slow_marginal(shadow, where[record], online, a, temperature)
                for j, record in enumerate(population.ids.tolist())
                if not population.members[m, j]
            ]
        )
        for i in np.flatnonzero(target.evaluated[m]):
            row = where[int(target.ids[i])]
            marginal = slow_marginal(shadow, row, online, a, temperature)
            ratio_x = probability(target, temperature)[m, i] / marginal
            scores[m, i] = np.mean(ratio_x / ratio_z >= gamma)
    return scores


def scene(seed=0, models=8, records=60, z=25, **options):
    """Shadow models, a population and targets of one world; z are the first records, shuffled."""
    world = World(records, seed=seed, **options)
    shadow, all_targets = world.shadow(models), world.targets(3)
    order = world.rng.permutation(records)
    population = all_targets.select(records=world.rng.permutation(z))
    return shadow, population, all_targets.select(records=order[order >= z])


@pytest.mark.parametrize(
    "options",
    [
        {"online": True},
        {"online": True, "gamma": 2.0},
        {"online": False},
        {"online": False, "a": 1.0},
        {"online": False, "a": 0.0, "gamma": 0.8},
        {"online": True, "temperature": 2.0},
        {"online": False, "temperature": 0.5},
    ],
)
def test_equals_the_matrix_of_all_pairs(options):
    shadow, population, target = scene()
    rng = np.random.default_rng(1)
    shadow = shadow.replace(evaluated=rng.random(shadow.members.shape) < 0.95)
    target = target.replace(evaluated=rng.random(target.members.shape) < 0.8)
    scores = RMIA(**options).fit(shadow, population).score(target)
    np.testing.assert_allclose(
        scores, slow_rmia(shadow, population, target, **options), rtol=0, atol=1e-12
    )
    assert np.unique(scores[~np.isnan(scores)]).size > 10


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6), online=st.booleans(), gamma=st.floats(0.5, 3), z=st.integers(4, 40)
)
def test_sorting_gives_the_share_of_the_matrix(seed, online, gamma, z):
    shadow, population, target = scene(seed=seed, models=4, records=z + 10, z=z)
    if population.members.all(axis=1).any():
        return
    scores = RMIA(online=online, gamma=gamma).fit(shadow, population).score(target)
    expected = slow_rmia(shadow, population, target, online=online, gamma=gamma)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attack", [BASE, RMIA])
@pytest.mark.parametrize("online", [True, False])
def test_probabilities_below_the_smallest_float_still_count(attack, online):
    # p = e^-2000 is 0 in float64. Members' p is e^1000 times larger than non-members'.
    members = balanced(8, 40, np.random.default_rng(0))
    shadow = from_margins(np.where(members, -1000.0, -2000.0), members)
    held = np.zeros((1, 40), bool)
    held[0, 30:] = True
    target = from_margins(np.where(held, -1000.0, -2000.0), held)
    fitted = attack(online=online).fit(shadow, target.select(records=np.arange(20)))
    scores = fitted.score(target.select(records=np.arange(20, 40)))[0]
    assert np.isfinite(scores).all() and scores[10:].min() >= scores[:10].max()
    if attack is BASE:
        assert scores[10:].min() > scores[:10].max() + 900


def test_base_is_the_loss_minus_the_log_of_the_mean_probability():
    shadow, _, target = scene()
    target = target.select(records=np.argsort(target.ids))
    p, out = probability(shadow)[:, target.ids], ~shadow.members[:, target.ids]
    loss = signals.loss(target.logits, target.labels)
    online = -loss - np.log(p.mean(axis=0))  # balanced: the mean over all shadow models
    np.testing.assert_allclose(BASE().fit(shadow).score(target), online, rtol=1e-9)
    mean_out = (p * out).sum(axis=0) / out.sum(axis=0)
    np.testing.assert_allclose(
        BASE(online=False, scale=0.5).fit(shadow).score(target), -loss - 0.5 * np.log(mean_out)
    )


def test_base_and_rmia_rank_alike():
    shadow, population, target = scene(records=4000, z=3000)
    base = BASE().fit(shadow).score(target)
    rmia = RMIA().fit(shadow, population).score(target)
    for one, other in zip(base, rmia, strict=True):
        order = np.argsort(one)
        assert (np.diff(other[order]) >= 0).all()


def test_converges_to_the_ratio_with_exact_means():
    world = World(3000, seed=1, gap=1.5)
    target = world.targets(1)
    grid, weight = np.polynomial.hermite_e.hermegauss(40)
    center = world.center[:, None] + grid
    mean = (expit(center) + expit(center + 1.5)) @ weight / (2 * weight.sum())
    exact = np.log(probability(target)[0]) - np.log(mean)

    def distance(models):
        return 1 - spearmanr(exact, BASE().fit(world.shadow(models)).score(target)[0])[0]

    assert distance(8) > distance(64) > distance(256)
    assert distance(256) < 0.004 < distance(64)


@pytest.mark.parametrize("attack", [BASE, RMIA])
@pytest.mark.parametrize("online", [True, False])
def test_a_planted_member_scores_above_its_twin(attack, online):
    world = World(600, seed=3, gap=6.0)
    twins = np.zeros((2, 600), bool)
    twins[1, 300:] = True
    both = world.draw(twins)
    population, target = split(both, 300)
    scores = attack(online=online).fit(world.shadow(16), population).score(target)
    assert (scores[1] > scores[0]).mean() > 0.93  # the easiest leave little to gain


def test_one_minus_the_score_is_the_false_positive_rate():
    world = World(6000, seed=4, gap=2.0)
    nobody = world.draw(np.zeros((1, 6000), bool))
    population, target = split(nobody, 3000)
    scores = RMIA().fit(world.shadow(16), population).score(target)[0]
    for rate in (0.5, 0.1, 0.01):
        found = (scores > 1 - rate).mean()
        assert abs(found - rate) < 4 * np.sqrt(2 * rate * (1 - rate) / 3000)


def test_population_records_that_no_shadow_model_held():
    world = World(400, seed=5, gap=3.0)
    members = balanced(8, 400, world.rng)
    members[:, :200] = False
    held = np.zeros((2, 400), bool)
    held[:, 300:] = True
    shadow, targets = world.draw(members), world.draw(held)
    population, target = split(targets, 200)
    for online in (True, False):
        attack = RMIA(online=online).fit(shadow, population)
        scores = attack.score(target)
        expected = slow_rmia(shadow, population, target, online=online)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
        assert (attack.predict(target) == target.members).mean() > 0.75


@pytest.mark.parametrize("attack", [BASE, RMIA])
@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("models", [4, 8, 16])
def test_the_left_out_model_is_not_given_away(attack, online, models, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        attack, "_set_threshold", lambda self, scores, members: seen.update(s=scores, m=members)
    )
    world = World(12_000, seed=11, gap=0.0)
    shadow, nobody = world.shadow(models), world.draw(np.zeros((1, 12_000), bool))
    shift = np.linspace(-2, 2, models)[:, None].astype(np.float32)
    shadow = shadow.replace(logits=shadow.logits + shift[..., None] * np.float32([1, 0]))
    attack(online=online).fit(shadow, nobody.select(records=slice(2000)))
    for scores, members in zip(seen["s"], seen["m"], strict=True):
        good = ~np.isnan(scores)
        assert good.sum() == (10_000 if attack is RMIA else 12_000)
        area = roc_auc_score(members[good], scores[good])
        assert abs(area - 0.5) < 4 * 0.289 / np.sqrt(2500)


def test_members_among_the_population_change_nothing():
    shadow, population, target = scene(models=12, records=300, z=200)
    held = shadow.members & np.isin(shadow.ids, population.ids)
    one = RMIA(online=False).fit(shadow, population)
    two = RMIA(online=False).fit(with_wild(shadow, held), with_wild(population, population.members))
    np.testing.assert_array_equal(one.score(target), two.score(target))
    assert one.threshold_ == two.threshold_


@pytest.mark.parametrize("attack", [BASE(), BASE(online=False), RMIA(), RMIA(online=False)])
def test_two_shadow_models_give_scores_but_no_threshold(attack):
    shadow, population, target = scene(models=2)
    assert np.isfinite(attack.fit(shadow, population).score(target)).all()
    assert attack.threshold_ is None
    with pytest.raises(InputError, match="has no threshold"):
        attack.predict(target)


def test_changing_a_target_changes_no_other():
    shadow, population, target = scene()
    attack = RMIA().fit(shadow, population)
    logits = target.logits.copy()
    logits[1:] += np.float32([5, 0])
    logits[0, 1:] -= np.float32([5, 0])
    before, after = attack.score(target), attack.score(target.replace(logits=logits))
    assert before[0, 0] == after[0, 0]
    np.testing.assert_array_equal(before, attack.score(target.replace(members=~target.members)))


def test_mistaken_inputs_are_named():
    shadow, population, target = scene()
    attack = RMIA().fit(shadow, population)
    with pytest.raises(InputError, match="got no population"):
        RMIA().fit(shadow)
    with pytest.raises(InputError, match="is audited and in the population"):
        attack.score(population)
    with pytest.raises(InputError, match="outputs of 3 models, the target of 1"):
        attack.score(target.select(models=[0]))
    named = RMIA().fit(shadow, population.replace(names=("a", "b", "c")))
    with pytest.raises(InputError, match="different models"):
        named.score(target.replace(names=("a", "b", "d")))
    with pytest.raises(InputError, match="member of target 1"):
        held = population.members.copy()
        held[1] = True
        RMIA().fit(shadow, population.replace(members=held))
    with pytest.raises(InputError, match="the population holds record 999"):
        ids = population.ids.copy()
        ids[3] = 999
        RMIA().fit(shadow, population.replace(ids=ids))
    with pytest.raises(InputError, match="member of every shadow"):
        held = shadow.members.copy()
        held[:, population.ids[2]] = True
        RMIA().fit(shadow.replace(members=held), population)
    with pytest.raises(InputError, match="needs 1 of each"):
        held = shadow.members.copy()
        held[:, target.ids[2]] = False
        RMIA().fit(shadow.replace(members=held), population).score(target)
    with pytest.raises(InputError, match="one query"):
        RMIA().fit([shadow, shadow], population)


def test_all_scores_tie_where_all_answers_do():
    shadow, population, target = scene()
    same = [
        outputs.replace(logits=np.ones_like(outputs.logits))
        for outputs in (shadow, population, target)
    ]
    for online in (True, False):
        assert (RMIA(online=online).fit(*same[:2]).score(same[2]) == 1).all()
        assert np.unique(BASE(online=online).fit(same[0]).score(same[2])).size == 1


def test_more_classes_use_the_true_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 30)
    pools = [
        Outputs(rng.normal(size=(m, 30, 5)).astype(np.float32), labels, members)
        for m, members in ((8, balanced(8, 30, rng)), (2, np.zeros((2, 30), bool)))
    ]
    population, target = split(pools[1], 12)
    scores = RMIA().fit(pools[0], population).score(target)
    np.testing.assert_allclose(scores, slow_rmia(pools[0], population, target, online=True))
