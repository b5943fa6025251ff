import numpy as np
import pytest
from gaussian import World, from_margins, with_wild
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import roc_auc_score
from synthetic import balanced, gaussian_outputs

from mia_utils.attacks.leave_out import leave_out
from mia_utils.attacks.lira import LiRA
from mia_utils.errors import InputError

VARIANTS = [
    {"online": online, "variance": variance, "two_sided": two_sided}
    for online, two_sided in [(True, False), (False, False), (False, True)]
    for variance in ("fixed", "per_record")
]


def margins(outputs):
    return outputs.logits[..., 0].astype(float)


def slow_lira(queries, target_queries, online, variance, two_sided):
    """The paper, record by record: a double loop over scipy's normal distributions."""
    shadow, target = queries[0], target_queries[0]
    used = {held: shadow.evaluated & (shadow.members == held) for held in (False, True)}
    phi = np.stack([margins(query) for query in queries], axis=-1)
    phi_target = np.stack([margins(query) for query in target_queries], axis=-1)
    if not online and not two_sided:
        phi, phi_target = (a.mean(axis=-1, keepdims=True) for a in (phi, phi_target))
    pooled = {}
    for held, pairs in used.items():
        residuals, freedom = [], 0
        for i in range(phi.shape[1]):
            own = phi[pairs[:, i], i]
            residuals.extend(own - own.mean(axis=0))
            freedom += len(own) - 1
        residuals = np.array(residuals)
        pooled[held] = residuals.T @ residuals / freedom
    scores = np.full(target.members.shape, np.nan)
    for m in range(len(target)):
        for i in np.flatnonzero(target.evaluated[m]):
            row = int(np.flatnonzero(shadow.ids == target.ids[i])[0])
            log_density, tail = {}, None
            for held, pairs in used.items():
                own = phi[pairs[:, row], row]
                mean, x = own.mean(axis=0), phi_target[m, i]
                if variance == "fixed":
                    log_density[held] = multivariate_normal(mean, pooled[held]).logpdf(x)
                    deviation = np.sqrt(pooled[held][0, 0])
                else:
                    floor = np.diag(pooled[held]) / 100
                    spread = np.sqrt(np.maximum(own.var(axis=0, ddof=1), floor))
                    log_density[held] = norm.logpdf(x, mean, spread).sum()
                    deviation = spread[0]
                if not held:
                    tail = norm.logsf(x[0], mean[0], deviation)
            if online:
                scores[m, i] = log_density[True] - log_density[False]
            else:
                scores[m, i] = -log_density[False] if two_sided else -tail
    return scores


def shuffled_pair(queries):
    """Shadows and targets with gaps in `evaluated`, in different orders of the records."""
    worlds = [World(40, seed=seed, gap=1.5) for seed in range(queries)]
    rng = np.random.default_rng(7)
    members, held = balanced(12, 40, rng), rng.random((3, 40)) < 0.5
    order = rng.permutation(40)[:30]
    shadow_use, target_use = rng.random((12, 40)) < 0.9, rng.random((3, 40)) < 0.8
    shadows = [world.draw(members, evaluated=shadow_use) for world in worlds]
    targets = [world.draw(held, evaluated=target_use).select(records=order) for world in worlds]
    return shadows, targets


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("options", VARIANTS)
def test_equals_the_double_loop_over_records(options, queries):
    shadows, targets = shuffled_pair(queries)
    attack = LiRA(**options)
    scores = (
        attack.fit(shadows[0]).score(targets[0])
        if queries == 1
        else attack.fit(shadows).score(targets)
    )
    expected = slow_lira(shadows, targets, **options)
    assert np.isnan(scores).any()
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-7)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), models=st.sampled_from([4, 6, 10]), records=st.integers(1, 30))
def test_online_is_the_ratio_of_two_fitted_normals(seed, models, records):
    world = World(records, seed=seed)
    shadow, target = world.shadow(models), world.targets(2)
    expected = slow_lira([shadow], [target], True, "fixed", False)
    np.testing.assert_allclose(LiRA().fit(shadow).score(target), expected, rtol=1e-6, atol=1e-7)


def test_converges_to_the_neyman_pearson_optimum():
    rng = np.random.default_rng(0)
    gap, deviation = rng.uniform(0.2, 3, 4000), rng.uniform(0.5, 2, 4000)
    world = World(4000, seed=1, gap=gap, deviation=deviation)
    target = world.targets(1)
    best = roc_auc_score(target.members[0], world.log_ratio(target)[0])

    def loss(models):
        attack = LiRA(variance="per_record").fit(world.shadow(models))
        return best - roc_auc_score(target.members[0], attack.score(target)[0])

    few, some, many = loss(8), loss(32), loss(256)
    assert few > some > many
    assert abs(many) < 0.005
    assert few > 0.02


def test_fixed_variance_converges_where_all_records_vary_alike():
    world = World(4000, seed=2, gap=1.0)
    target = world.targets(1)
    exact = world.log_ratio(target)[0]
    fitted = LiRA().fit(world.shadow(256)).score(target)[0]
    assert np.corrcoef(exact, fitted)[0, 1] > 0.97
    best, ours = (roc_auc_score(target.members[0], score) for score in (exact, fitted))
    assert abs(best - ours) < 0.005


@pytest.mark.parametrize("options", VARIANTS)
def test_a_planted_member_scores_above_its_twin(options):
    world = World(300, seed=3, gap=6.0)
    shadow = world.shadow(16)
    twins = np.zeros((2, 300), bool)
    twins[1] = True
    scores = LiRA(**options).fit(shadow).score(world.draw(twins))
    assert (scores[1] > scores[0]).mean() > 0.98


def test_one_sided_does_not_underflow_and_two_sided_fears_low_margins():
    world = World(50, seed=4)
    shadow = world.shadow(16)
    high = from_margins(
        np.stack([world.center + far for far in (50, 500, 5000, -50)]), np.zeros((4, 50), bool)
    )
    one = LiRA(online=False).fit(shadow).score(high)
    assert np.isfinite(one).all() and (np.diff(one[:3], axis=0) > 0).all()
    assert (one[3] < one[0]).all() and (one[3] >= 0).all()
    two = LiRA(online=False, two_sided=True).fit(shadow).score(high)
    assert (two[3] > 100).all()


def test_means_are_the_records_own_and_variance_is_not_the_spread_of_records():
    # Records 100 apart, answers 1 apart: the fixed deviation is that of the answers.
    world = World(2000, seed=5, gap=1.0)
    world.center *= 100
    attack = LiRA().fit(world.shadow(8))
    np.testing.assert_allclose(np.sqrt(attack.covariance_.ravel()), 1, atol=0.05)


def test_pairs_that_are_not_evaluated_change_nothing():
    world = World(60, seed=6)
    shadow, target = world.shadow(16), world.targets(2)
    use = np.random.default_rng(0).random(shadow.members.shape) < 0.8
    one = LiRA().fit(shadow.replace(evaluated=use))
    two = LiRA().fit(with_wild(shadow.replace(evaluated=use), ~use))
    np.testing.assert_array_equal(one.score(target), two.score(target))
    assert one.threshold_ == two.threshold_


def test_a_score_depends_on_its_own_answer_alone():
    world = World(60, seed=7)
    attack, target = LiRA().fit(world.shadow(8)), world.targets(3)
    logits = target.logits.copy()
    logits[1:] += np.float32([5, 0])
    logits[0, 1:] -= np.float32([5, 0])
    before, after = attack.score(target), attack.score(target.replace(logits=logits))
    assert before[0, 0] == after[0, 0]
    flipped = attack.score(target.replace(members=~target.members))
    np.testing.assert_array_equal(before, flipped)


def test_the_threshold_separates_new_targets():
    world = World(3000, seed=8, gap=3.0)
    attack, target = LiRA().fit(world.shadow(16)), world.targets(4)
    accuracy = (attack.predict(target) == target.members).mean()
    exact = ((world.log_ratio(target) > 0) == target.members).mean()
    assert accuracy > exact - 0.03 > 0.85
    assert LiRA(threshold=1.5).fit(world.shadow(4)).threshold_ == 1.5


@pytest.mark.parametrize("models", [4, 8, 16])
def test_leaving_one_out_equalises_the_counts(models):
    rng = np.random.default_rng(models)
    shadow = World(500, seed=9).draw(balanced(models, 500, rng))
    for left_out in (0, models - 1):
        use = leave_out(shadow, left_out, rng)
        assert not use[left_out].any()
        assert ((use & shadow.members).sum(axis=0) == models // 2 - 1).all()
        assert ((use & ~shadow.members).sum(axis=0) == models // 2 - 1).all()


def test_leaving_one_out_drops_each_model_equally_often():
    shadow = World(6000, seed=10).shadow(6)
    use = leave_out(shadow, 2, np.random.default_rng(0))
    others = np.delete(np.arange(6), 2)
    kept = use[others].mean(axis=1)
    assert np.abs(kept - 0.8).max() < 4 * np.sqrt(0.16 / 6000)


@pytest.mark.parametrize("models", [4, 8, 16])
@pytest.mark.parametrize("variance", ["fixed", "per_record"])
def test_the_left_out_model_is_not_given_away(models, variance, monkeypatch):
    """Noise: the pairs that the threshold is fitted on have an AUC of one half."""
    seen = {}
    monkeypatch.setattr(
        LiRA, "_set_threshold", lambda self, scores, members: seen.update(s=scores, m=members)
    )
    world = World(20_000, seed=11, gap=0.0)
    shadow = world.shadow(models)
    # Models of different confidence: who was dropped must not matter either.
    shift = np.linspace(-2, 2, models)[:, None]
    LiRA(variance=variance).fit(from_margins(margins(shadow) + shift, shadow.members))
    if models == 4 and variance == "per_record":
        assert np.isnan(seen["s"]).all()  # one in and one out model have no spread
        return
    for scores, members in zip(seen["s"], seen["m"], strict=True):
        assert abs(roc_auc_score(members, scores) - 0.5) < 4 * 0.289 / np.sqrt(5000)


def test_records_without_in_or_out_models_are_named():
    world = World(10, seed=12)
    members = balanced(8, 10, world.rng)
    members[:, 4] = False
    shadow, target = world.draw(members, ids=np.arange(10) + 100), world.targets(1)
    target = target.replace(ids=np.arange(10) + 100)
    with pytest.raises(InputError, match="record 104 has 8 .* did not hold it and 0 that did"):
        LiRA().fit(shadow).score(target)
    assert np.isfinite(LiRA(online=False).fit(shadow).score(target)).all()
    skipped = np.ones((1, 10), bool)
    skipped[0, 4] = False
    scores = LiRA().fit(shadow).score(target.replace(evaluated=skipped))
    assert np.isnan(scores[0, 4]) and np.isfinite(np.delete(scores[0], 4)).all()
    with pytest.raises(InputError, match="record 104 has 0 shadow models that did not"):
        LiRA(online=False).fit(shadow.replace(members=~members)).score(target)


def test_mistaken_inputs_are_named():
    world = World(10, seed=13)
    shadow, target = world.shadow(8), world.targets(1)
    attack = LiRA().fit(shadow)
    for nothing, found in (None, "NoneType"), ([], "no queries"), ([shadow, 3], "int"):
        with pytest.raises(InputError, match=f"LiRA.fit\\(shadow\\) got {found}"):
            LiRA().fit(nothing)
    with pytest.raises(InputError, match="not fitted"):
        LiRA().score(target)
    with pytest.raises(InputError, match="another pool"):
        attack.score(target.replace(fingerprint="abc"))
    with pytest.raises(InputError, match="holds record 55"):
        attack.score(target.replace(ids=np.array([55, *range(1, 10)])))
    with pytest.raises(InputError, match="record 0 has different labels"):
        attack.score(target.replace(labels=np.eye(1, 10, dtype=int)[0]))
    with pytest.raises(InputError, match="2 of the target"):
        attack.score([target, target])
    with pytest.raises(InputError, match="disagree in members"):
        LiRA().fit([shadow, shadow.replace(members=~shadow.members)])
    with pytest.raises(InputError, match="different record ids"):
        LiRA().fit([shadow, shadow.replace(ids=np.arange(10)[::-1])])
    with pytest.raises(InputError, match="model b is audited and among the shadow models"):
        named = LiRA().fit(shadow.replace(names=tuple("abcdefgh")))
        named.score(target.replace(names=("b",)))
    with pytest.raises(InputError, match="at least 4 shadow models"):
        LiRA().fit(world.shadow(2))
    with pytest.raises(InputError, match="needs 2 of each"):
        lonely = shadow.members.copy()
        lonely[:, 5] = np.arange(8) == 0
        LiRA(variance="per_record").fit(shadow.replace(members=lonely)).score(target)


def test_all_scores_tie_where_all_answers_do():
    members = balanced(8, 20, np.random.default_rng(0))
    same = from_margins(np.ones((8, 20)), members)
    target = from_margins(np.ones((1, 20)), members[:1])
    for options in VARIANTS:
        scores = LiRA(**options).fit(same).score(target)
        assert np.isfinite(scores).all() and np.unique(scores).size == 1


def test_a_record_s_own_variance_is_at_least_a_hundredth_of_the_pooled_one():
    world = World(400, seed=20)
    shadow = world.shadow(16)
    logits = shadow.logits.copy()
    logits[:, 0, 0] = 2.0  # sixteen equal answers: luck, not certainty
    attack = LiRA(variance="per_record").fit(shadow.replace(logits=logits))
    for group in (0, 1):
        own, pooled = (
            attack._deviation(attack.statistics_, group, np.array([0]))[0, 0],
            np.sqrt(attack.covariance_[group, 0, 0]),
        )
        assert own == pytest.approx(0.1 * pooled, rel=1e-9)


@pytest.mark.parametrize("online", [True, False])
def test_the_ridge_of_the_covariance_is_no_more_than_rounding(online):
    world = World(50, seed=21)
    shadow = world.shadow(8)
    attack = LiRA(online=online).fit(shadow)
    for group in (0, 1):
        if group == 1 and not online:
            assert (attack.covariance_[1] == 0).all()
            continue
        residuals = []
        for i in range(50):
            own = margins(shadow)[shadow.members[:, i] == group, i]
            residuals.extend(own - own.mean())
        pooled = np.square(residuals).sum() / (len(residuals) - 50)
        assert attack.covariance_[group, 0, 0] == pytest.approx(pooled, rel=1e-8)
    ties = from_margins(np.ones((8, 20)), balanced(8, 20, np.random.default_rng(0)))
    assert LiRA(online=online).fit(ties).covariance_[0, 0, 0] == pytest.approx(1e-12)


def test_equal_queries_leave_the_ranking_as_it_is():
    world = World(200, seed=14)
    shadow, target = world.shadow(8), world.targets(1)
    one = LiRA().fit(shadow).score(target)
    two = LiRA().fit([shadow, shadow]).score([target, target])
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


def test_a_target_with_one_evaluated_record():
    world = World(30, seed=15)
    one = np.zeros((1, 30), bool)
    one[0, 3] = True
    attack, target = LiRA().fit(world.shadow(8)), world.targets(1)
    alone = attack.score(target.replace(evaluated=one))
    assert alone[0, 3] == attack.score(target)[0, 3] and np.isnan(alone).sum() == 29


@pytest.mark.parametrize("held", [1, 2])
def test_a_side_without_two_models_of_any_record_is_named(held):
    """Of three shadow models one or two hold each record: the other side shows no spread."""
    outputs = gaussian_outputs(3, 60, seed=1, leak=1.0)
    first = np.arange(60) % 3
    alone = np.arange(3)[:, None] == first
    shadow = outputs.replace(members=alone if held == 1 else ~alone)
    side = "held" if held == 1 else "did not hold"
    with pytest.raises(InputError, match=f"two shadow models that {side} it"):
        LiRA(threshold=0.0).fit(shadow)
