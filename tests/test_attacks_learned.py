import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier
from synthetic import gaussian_outputs

from mia_utils.attacks import LearnedAttack, LossAttack
from mia_utils.attacks.base import best_threshold
from mia_utils.attacks.learned import FEATURES, log_odds
from mia_utils.attacks.leave_out import draw_order
from mia_utils.attacks.mlp import MLP
from mia_utils.errors import InputError
from mia_utils.evaluation import auc, paired_auc_difference
from mia_utils.outputs import Outputs


def mean_auc(attack, target):
    scores = attack.score(target)
    return np.mean([auc(*pair) for pair in zip(scores, target.members, strict=True)])


class Recorder:
    """A classifier that remembers what it was fitted on and asked."""

    def get_params(self, deep=True):
        return {}

    def set_params(self):
        return self

    def fit(self, x, y):
        self.x, self.y, self.asked = x, y, []
        return self

    def predict_proba(self, x):
        self.asked.append(x)
        p = np.linspace(0, 1, len(x))
        return np.column_stack([1 - p, p])


def test_features_are_what_they_say():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (30, 5)).astype(np.float32), rng.integers(0, 5, 30)
    raw, ordered, free = (FEATURES[name](logits, labels) for name in FEATURES)
    for i in range(30):
        log_p = log_softmax(logits[i].astype(float))
        p = np.exp(log_p)
        y = labels[i]
        odds = np.log(p / (1 - p))
        others = sorted(np.delete(odds, y), reverse=True)
        np.testing.assert_allclose(raw[i], p, atol=1e-15)
        np.testing.assert_allclose(ordered[i], [odds[y], *others], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            free[i],
            [*sorted(log_p, reverse=True)[:3], log_p[y], -log_p[y], -(p * log_p).sum() / np.log(5)]
            + [float(p.argmax() == y)],
            rtol=1e-9,
            atol=1e-12,
        )
    assert FEATURES["class_free"](logits[:, :2], labels % 2).shape == (30, 7)


def test_log_odds_are_exact_near_one():
    odds = log_odds(np.array([[700.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(odds, [[700, -700], [0, 0]])


@pytest.mark.parametrize("features", FEATURES)
def test_trained_and_judged_on_evaluated_shadow_pairs_of_other_records(features):
    shadow = gaussian_outputs(4, 50, 3, seed=0, leak=1.0)
    shadow = shadow.replace(evaluated=np.random.default_rng(0).random((4, 50)) < 0.8)
    attack = LearnedAttack(estimator=Recorder(), features=features).fit(shadow)
    fitted = attack.pooled_.estimator
    assert not hasattr(attack.estimator, "x")  # a clone was fitted
    held = attack.held_out_
    assert held.sum() == 10
    expected, truth, judged = [], [], []
    order = draw_order(shadow)[0]
    for m in order:
        for i in np.flatnonzero(shadow.evaluated[m]):
            row = FEATURES[features](shadow.logits[m][[i]], shadow.labels[[i]])[0]
            one_hot = [] if features == "class_free" else np.eye(3)[shadow.labels[i]]
            (judged if held[i] else expected).append(np.concatenate([row, one_hot]))
            if not held[i]:
                truth.append(shadow.members[m, i])
    expected, judged = np.array(expected), np.array(judged)
    if features != "raw":
        d = FEATURES[features](shadow.logits[0][:1], shadow.labels[:1]).shape[1]
        mean, deviation = expected[:, :d].mean(axis=0), expected[:, :d].std(axis=0)
        for rows in (expected, judged):
            rows[:, :d] = (rows[:, :d] - mean) / deviation
    np.testing.assert_allclose(fitted.x, expected, atol=1e-4)
    np.testing.assert_array_equal(fitted.y, truth)
    np.testing.assert_allclose(fitted.asked[0], judged, atol=1e-4)
    members = np.concatenate([shadow.members[m][shadow.evaluated[m] & held] for m in order])
    cut = best_threshold(np.linspace(0, 1, len(judged)), members)
    if 0 < cut < 1:
        assert expit(attack.threshold_) == pytest.approx(cut, abs=1 / len(judged))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("features", FEATURES)
def test_not_below_the_mlp_of_scikit_learn(features):
    shadow = gaussian_outputs(4, 1000, 5, seed=0, leak=1.5)
    target = gaussian_outputs(1, 1000, 5, seed=1, leak=1.5, masks="independent")
    sizes = {"hidden": (20,), "features": features}
    ours = LearnedAttack(**sizes).fit(shadow).score(target)[0]
    theirs = LearnedAttack(estimator=MLPClassifier((20,), max_iter=50), **sizes)
    theirs = theirs.fit(shadow).score(target)[0]
    difference = paired_auc_difference(ours, theirs, target.members[0])
    assert difference.high > 0, difference
    assert auc(ours, target.members[0]) > 0.65


def test_a_network_of_several_sizes_trains_each_as_if_alone():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = (x**2).sum(axis=1) > 3.4
    both = MLP((3, 8), epochs=3, seed=0)
    both.fit(x[:200], y[:200], x[200:], y[200:])
    # By hand: the second network alone, from the same first weights and order of rows.
    rng = np.random.default_rng(0)
    first, bias, second = (rng.uniform(-1, 1, shape) for shape in ((4, 11), 11, 11))
    alone = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    with torch.no_grad():
        alone[0].weight.copy_(torch.tensor(first[:, 3:].T / 2))
        alone[0].bias.copy_(torch.tensor(bias[3:] / 2))
        alone[2].weight.copy_(torch.tensor(second[None, 3:] / np.sqrt(8)))
        alone[2].bias.zero_()
    optimizer = torch.optim.Adam(alone.parameters(), lr=3e-3)
    loss = torch.nn.BCEWithLogitsLoss()
    held, step = [], 0
    for _ in range(3):
        for rows in np.split(rng.permutation(200), range(32, 200, 32)):
            optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 21)
            optimizer.zero_grad()
            loss(alone(torch.from_numpy(x[rows]))[:, 0], torch.tensor(y[rows]).float()).backward()
            optimizer.step()
            step += 1
        with torch.no_grad():
            rest = alone(torch.from_numpy(x[200:]))[:, 0]
            held.append(loss(rest, torch.tensor(y[200:]).float()).item())
    np.testing.assert_allclose(both.held_out_[:, 1], held, rtol=1e-4)
    assert both.held_out_.min() == both.held_out_[both.epoch_ - 1, (3, 8).index(both.size_)]
    log_p = both.log_odds(x[200:])
    assert np.logaddexp(0, np.where(y[200:], -log_p, log_p)).mean() == pytest.approx(
        both.held_out_.min(), rel=1e-5
    )


def test_held_out_rows_choose_the_size():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 2)).astype(np.float32)
    y = np.sin(4 * x[:, 0]) * np.sin(4 * x[:, 1]) > 0  # one unit cannot draw that
    model = MLP((1, 100), epochs=30, seed=0).fit(x[:2400], y[:2400], x[2400:], y[2400:])
    assert model.size_ == 100
    noise = rng.random(300) < 0.5  # nothing to learn: the longer, the worse
    short = MLP((200,), epochs=100, seed=0).fit(x[:200], noise[:200], x[200:300], noise[200:])
    assert short.epoch_ < 30


def test_seeds_decide_everything():
    shadow = gaussian_outputs(2, 200, seed=2, leak=1.0)
    options = {"hidden": (5,), "epochs": 3}
    one, same, other = (
        LearnedAttack(seed=seed, **options).fit(shadow).score(shadow) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    torch.manual_seed(5)
    np.testing.assert_array_equal(one, LearnedAttack(**options).fit(shadow).score(shadow))
    forest = LearnedAttack(estimator=DecisionTreeClassifier(max_features=1), seed=3).fit(shadow)
    assert forest.pooled_.estimator.random_state == 3 and forest.estimator.random_state is None


def test_the_choice_of_pairs_when_there_are_too_many():
    shadow = gaussian_outputs(4, 200, seed=3, leak=1.0)
    attack = LearnedAttack(estimator=Recorder(), max_pairs=100).fit(shadow)
    used = len(attack.pooled_.estimator.x) + len(attack.pooled_.estimator.asked[0])
    assert used == 100


def class_dependent(models, seed, masks="balanced"):
    """Members of class 0 have larger margins, those of class 1 smaller ones."""
    pool = gaussian_outputs(models, 600, 2, seed=seed, leak=0.0, masks=masks)
    sign = np.where(pool.labels == 0, 2.5, -2.5)
    logits = pool.logits.copy()
    logits[:, np.arange(600), pool.labels] += pool.members * sign
    return pool.replace(logits=logits)


def test_a_classifier_for_each_class():
    shadow, target = class_dependent(4, 0), class_dependent(2, 1, "independent")
    straight = {"estimator": LogisticRegression(), "features": "sorted"}
    pooled = LearnedAttack(**straight).fit(shadow)
    by_class = LearnedAttack(per_class=True, **straight).fit(shadow)
    assert mean_auc(by_class, target) > 0.75 > mean_auc(pooled, target) + 0.1
    assert set(by_class.by_class_) == {0, 1} and by_class.pooled_ is None
    assert pooled.by_class_ == {}
    # A class without members falls back on the pooled classifier.
    some = shadow.replace(members=shadow.members & (shadow.labels == 0))
    by_class = LearnedAttack(per_class=True, **straight).fit(some)
    assert set(by_class.by_class_) == {0}
    own, fallback = target.labels == 0, LearnedAttack(**straight).fit(some).score(target)
    scores = by_class.score(target)
    np.testing.assert_array_equal(scores[:, ~own], fallback[:, ~own])
    assert not np.allclose(scores[:, own], fallback[:, own])


def test_transfer_between_data_sets_needs_class_free_features():
    shadow = gaussian_outputs(4, 500, 4, seed=4, leak=3.0)
    target = gaussian_outputs(1, 500, 10, seed=5, leak=3.0, masks="independent")
    small = {"hidden": (10,), "epochs": 5}
    for features in ("raw", "sorted"):
        with pytest.raises(InputError, match='target has 10 classes, .*features="class_free"'):
            LearnedAttack(features=features, **small).fit(shadow).score(target)
    with pytest.raises(InputError, match="per_class=False"):
        LearnedAttack(features="class_free", per_class=True, **small).fit(shadow).score(target)
    attack = LearnedAttack(features="class_free", **small).fit(shadow)
    assert mean_auc(attack, target) > 0.75


def test_disjoint_shadow_sets():
    """Each of k models is evaluated on its own two sets alone, as in the report."""
    pool = gaussian_outputs(3, 600, seed=6, leak=2.0)
    sets = np.arange(600) % 6
    members = np.stack([sets == 2 * m for m in range(3)])
    evaluated = np.stack([sets // 2 == m for m in range(3)])
    logits = gaussian_outputs(3, 600, seed=6, leak=0.0).logits
    logits[:, np.arange(600), pool.labels] += 2 * members
    shadow = pool.replace(logits=logits, members=members, evaluated=evaluated)
    attack = LearnedAttack(hidden=(10,), epochs=10, features="sorted").fit(shadow)
    target = gaussian_outputs(2, 600, seed=7, leak=2.0, masks="independent")
    assert mean_auc(attack, target) > mean_auc(LossAttack(), target) - 0.02
    changed = logits.copy()
    changed[~evaluated] = 9.0
    again = LearnedAttack(hidden=(10,), epochs=10, features="sorted")
    again.fit(shadow.replace(logits=changed, members=members | ~evaluated))
    np.testing.assert_array_equal(again.score(target), attack.score(target))


def test_extreme_answers_stay_finite():
    shadow = gaussian_outputs(2, 100, seed=8, leak=1.0)
    target = shadow.replace(logits=np.sign(shadow.logits) * np.float32(1e38))
    for features in FEATURES:
        attack = LearnedAttack(hidden=(5,), epochs=2, features=features).fit(shadow)
        assert np.isfinite(attack.score(target)).all()
        extreme = LearnedAttack(hidden=(5,), epochs=2, features=features).fit(target)
        assert np.isfinite(extreme.score(shadow)).all()
    certain = LearnedAttack(estimator=DecisionTreeClassifier()).fit(shadow)
    assert np.isfinite(certain.score(target)).all()  # probabilities 0 and 1


def test_a_threshold_by_hand_is_a_probability():
    shadow = gaussian_outputs(2, 100, seed=9, leak=2.0)
    attack = LearnedAttack(estimator=LogisticRegression(), threshold=0.7).fit(shadow)
    np.testing.assert_array_equal(attack.predict(shadow), expit(attack.score(shadow)) >= 0.7)


def test_mistaken_inputs_are_named():
    shadow = gaussian_outputs(2, 100, seed=10, leak=1.0)
    with pytest.raises(InputError, match=r"fit\(shadow\) got NoneType"):
        LearnedAttack().fit()
    with pytest.raises(InputError, match=r"hidden=\(\)"):
        LearnedAttack(hidden=()).fit(shadow)
    few = np.zeros((2, 100), bool)
    few[0, [int(shadow.members[0].argmax()), int(shadow.members[0].argmin())]] = True
    with pytest.raises(InputError, match="1 evaluated shadow members and 1 non-members are too"):
        LearnedAttack().fit(shadow.replace(evaluated=few))
    with pytest.raises(InputError, match="0 evaluated non-members"):
        LearnedAttack().fit(shadow.replace(members=np.ones((2, 100), bool)))


def test_constant_features_do_no_harm():
    flat = Outputs(np.zeros((2, 60, 3)), np.arange(60) % 3, np.arange(120).reshape(2, 60) % 2 == 0)
    attack = LearnedAttack(hidden=(5,), epochs=2, features="class_free").fit(flat)
    assert np.isfinite(attack.score(gaussian_outputs(1, 60, 3, seed=0, leak=0.0))).all()
    np.testing.assert_array_equal(attack.deviation_[:6], 1)  # equal but for rounding
