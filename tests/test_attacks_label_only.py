"""Label-only attacks: known boundaries, counted queries, and nothing but labels looked at."""

import numpy as np
import pytest
from synthetic import scene

from mia_utils import TrainConfig, load_dataset, quarter_masks, query, train
from mia_utils.attacks import AugmentationAttack, BoundaryAttack, CorrectnessAttack
from mia_utils.attacks.boundary import boundary_distance
from mia_utils.engine.oracle import Oracle
from mia_utils.errors import InputError
from mia_utils.evaluation import auc


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pool = load_dataset("digits")
    target, _ = quarter_masks(pool.labels, seed=0, shadow_models=1)
    store = tmp_path_factory.mktemp("store")
    outputs = train(pool, target, "cnn", TrainConfig(epochs=2), store=store, progress=False)
    return pool, outputs, store


# ---- the oracle ----


def test_an_oracle_tells_labels_and_counts(trained):
    pool, outputs, store = trained
    oracle = Oracle.of_stored(outputs.names[0], store)
    records = np.asarray(pool.records[:700], np.float32)
    np.testing.assert_array_equal(oracle.labels(records), outputs.logits[0, :700].argmax(axis=1))
    assert oracle.queries == 700
    oracle.labels(records[:3])
    assert oracle.queries == 703


def test_an_oracle_that_does_not_tell_labels_is_refused():
    with pytest.raises(InputError, match="one integer label a record"):
        Oracle(lambda records: np.zeros(len(records))).labels(np.zeros((3, 2), np.float32))


# ---- robustness ----


def test_robustness_is_the_share_of_right_answers():
    _, _, target = scene(4, seed=0, shadow_leak=1.0, target_leak=1.0)
    other = target.replace(logits=target.logits[..., ::-1].copy())
    scores = AugmentationAttack().score([target, other, target])
    right = [(o.logits.argmax(axis=2) == o.labels).astype(float) for o in (target, other, target)]
    np.testing.assert_allclose(scores, np.mean(right, axis=0))
    one = AugmentationAttack().score(target)
    np.testing.assert_array_equal(one, CorrectnessAttack().score(target))


def test_robustness_looks_at_labels_alone_and_is_fitted_on_shadows():
    shadow, _, target = scene(4, seed=0, shadow_leak=2.0, target_leak=2.0)
    attack = AugmentationAttack().fit([shadow, shadow])
    hard = target.replace(logits=np.eye(4, dtype=np.float32)[target.logits.argmax(axis=2)])
    np.testing.assert_array_equal(attack.score([hard, hard]), attack.score([target, target]))
    np.testing.assert_array_equal(attack.predict(target), attack.score(target) >= attack.threshold_)
    with pytest.raises(InputError, match="disagree in members"):
        attack.score([target, target.replace(members=~target.members)])
    with pytest.raises(InputError, match="no shadow models"):
        AugmentationAttack().fit()
    assert AugmentationAttack(threshold=0.5).fit().predict(target).any()


# ---- the boundary ----


@pytest.mark.parametrize("dimension", [2, 20])
def test_the_distance_to_a_plane_is_found(dimension):
    rng = np.random.default_rng(0)
    normal = rng.normal(size=dimension)
    normal /= np.linalg.norm(normal)
    records = rng.normal(size=(200, dimension)).astype(np.float32)
    truth = records @ normal

    def answer(x):
        return (x @ normal > 0).astype(int)

    labels = answer(records)
    oracle = Oracle(answer)
    ids = np.arange(0, 200, 4)
    found = boundary_distance(oracle, records, labels[ids], ids, iterations=8, probes=100)
    exact = np.abs(truth[ids])
    assert (found >= exact * (1 - 1e-4) - 1e-5).all()  # an upper bound
    assert np.median(found / exact) < 1.1
    assert oracle.queries > 50 * 8 * 100


def test_more_queries_come_closer():
    rng = np.random.default_rng(1)
    records = rng.normal(size=(60, 30)).astype(np.float32)

    def answer(x):
        return (np.linalg.norm(x, axis=1) > 5.5).astype(int)

    ids = np.flatnonzero(answer(records) == 0)
    labels = np.zeros(len(ids), int)
    far, near = (
        boundary_distance(Oracle(answer), records, labels, ids, iterations=t, probes=p).mean()
        for t, p in ((1, 5), (8, 200))
    )
    exact = (5.5 - np.linalg.norm(records[ids], axis=1)).mean()
    assert exact < near < far


def test_wrong_answers_are_at_the_boundary_and_constant_answers_have_none():
    records = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    oracle = Oracle(lambda x: np.zeros(len(x), int))
    ids = np.arange(4)
    found = boundary_distance(oracle, records, np.array([0, 1, 0, 1]), ids)
    np.testing.assert_array_equal(found, [np.inf, 0, np.inf, 0])
    with pytest.raises(InputError, match="iterations=0"):
        boundary_distance(oracle, records, np.zeros(4, int), ids, iterations=0)


def test_boundary_of_a_stored_model(trained):
    pool, outputs, store = trained
    keep = np.flatnonzero(outputs.evaluated[0])[:12]
    some = outputs.select(records=keep)
    used = some.evaluated.copy()
    used[0, 3] = False
    attack = BoundaryAttack(pool, store=store, iterations=2, probes=10, threshold=0.1).fit()
    scores = attack.score(some.replace(evaluated=used))
    assert np.isnan(scores[0, 3]) and np.isfinite(scores[0, used[0]]).all()
    right = some.logits[0].argmax(axis=1) == some.labels
    np.testing.assert_array_equal(scores[0, used[0]] > 0, right[used[0]])
    assert scores[0, used[0]].max() < 8  # 64 pixels in 0..1
    assert 20 < attack.queries_ < 500
    again = BoundaryAttack(pool, store=store, iterations=2, probes=10, threshold=0.1)
    np.testing.assert_array_equal(again.score(some.replace(evaluated=used)), scores)


def test_a_planted_member_is_further_from_the_boundary():
    """Members that a model was made sure about: their part of space is wider."""
    rng = np.random.default_rng(3)
    records = rng.uniform(size=(40, 6)).astype(np.float32)
    members = np.arange(40) < 20

    def answer(x):
        near = np.linalg.norm(x[:, None] - records[None], axis=2) / np.where(members, 2.0, 1.0)
        return near.argmin(axis=1)

    labels = np.arange(40)
    assert (answer(records) == labels).all()
    found = boundary_distance(Oracle(answer), records, labels, labels, iterations=3, probes=30)
    assert auc(found, members) > 0.8


def test_what_is_not_stored_is_refused(trained):
    pool, outputs, store = trained
    with pytest.raises(InputError, match="without names"):
        BoundaryAttack(pool, store=store).score(outputs.replace(names=()))
    with pytest.raises(InputError, match="come from pool"):
        BoundaryAttack(load_dataset("cifar10-mini"), store=store).score(outputs)


def test_robustness_of_a_stored_model(trained):
    pool, outputs, store = trained
    queries = [outputs, *(query(outputs, pool, ("shift", 0, d), store=store) for d in (1, -1))]
    scores = AugmentationAttack().score(queries)
    levels = np.unique(scores[outputs.evaluated])
    assert np.isin(np.round(levels * 3), [0, 1, 2, 3]).all() and levels.size > 2


def test_what_is_no_array_of_records_is_told_so():
    with pytest.raises(InputError, match="expected the records of a pool$"):
        boundary_distance(None, "digits", np.zeros(1, int), np.zeros(1, int))
