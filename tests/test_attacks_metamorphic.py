"""What must change nothing: the order of records, models and classes, their names and numbers."""

from __future__ import annotations

import numpy as np
import pytest
from factories import FACTORIES
from scipy.stats import rankdata, spearmanr
from synthetic import Scene, scene

from mia_utils import attacks
from mia_utils.evaluation import auc

ATTACKS = {**FACTORIES, "augmentation": attacks.AugmentationAttack}

# Sums over records or models, and products of matrices, are rounded in another order.
SUMS_OF_RECORDS = ("learned", "learned_sorted", "stacked", "lira", "lira_per_record")
ROUNDING = {"rtol": 1e-9, "atol": 1e-9}
SOLVER = {"rtol": 1e-3, "atol": 1e-3}  # an iteration that stops at a tolerance


@pytest.fixture(scope="module")
def given() -> Scene:
    """Half of the answers are rounded, so that many hold the same numbers in another order."""
    parts = scene(8, seed=5, shadow_leak=1.0, target_leak=1.0)
    return Scene(*(rounded(part) for part in parts))


def rounded(outputs):
    logits = outputs.logits.copy()
    some = outputs.ids % 2 == 0
    p = np.exp(logits[:, some]) / np.exp(logits[:, some]).sum(axis=-1, keepdims=True)
    logits[:, some] = np.log(np.maximum(p.round(1), 1e-6))
    return outputs.replace(logits=logits, names=tuple(f"m{i}" for i in range(len(outputs))))


def scores_of(name: str, scene: Scene) -> np.ndarray:
    shadow = scene.shadow.replace(names=tuple(f"shadow {n}" for n in scene.shadow.names))
    return ATTACKS[name]().fit(shadow, scene.population).score(scene.target)


@pytest.fixture(scope="module")
def expected(given):
    return {name: scores_of(name, given) for name in ATTACKS}


def equal_but_for_rounding(a: np.ndarray, b: np.ndarray) -> None:
    """The same scores to 1e-9, and with that the same ranks and ties."""
    np.testing.assert_allclose(a, b, **ROUNDING)
    a, b = (rankdata(s.round(8), axis=-1) for s in (a, b))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_order_of_records_changes_no_bit(name, given, expected):
    rng = np.random.default_rng(0)
    orders = [rng.permutation(part.labels.size) for part in given]
    moved = Scene(*(p.select(records=o) for p, o in zip(given, orders, strict=True)))
    found = scores_of(name, moved)
    if name in SUMS_OF_RECORDS:
        equal_but_for_rounding(found, expected[name][:, orders[2]])
    else:
        np.testing.assert_array_equal(found, expected[name][:, orders[2]])


@pytest.mark.parametrize("name", ATTACKS)
def test_the_order_of_models_changes_no_rank(name, given, expected):
    rng = np.random.default_rng(1)
    shadows, targets = rng.permutation(8), np.array([1, 0])
    moved = Scene(
        given.shadow.select(models=shadows),
        given.population.select(models=targets),
        given.target.select(models=targets),
    )
    if name == "random":  # a coin a place
        targets = np.arange(2)
    equal_but_for_rounding(scores_of(name, moved), expected[name][targets])


def in_class_order(scene: Scene, order: np.ndarray) -> Scene:
    labels = np.argsort(order)
    return Scene(*(p.replace(logits=p.logits[..., order], labels=labels[p.labels]) for p in scene))


NETWORKS = ("learned", "learned_sorted")


@pytest.mark.parametrize("name", [n for n in ATTACKS if n not in NETWORKS])
def test_the_order_of_classes_changes_no_bit(name, given, expected):
    found = scores_of(name, in_class_order(given, np.array([2, 0, 3, 1])))
    if name == "learned_per_class":
        np.testing.assert_allclose(found, expected[name], **SOLVER)
    else:
        np.testing.assert_array_equal(found, expected[name])


def test_the_order_of_classes_is_to_a_network_what_a_seed_is():
    """Its first weights are drawn class by class: another order is another draw, no other attack."""
    one = scene(8, seed=5, shadow_leak=2.0, target_leak=2.0)

    def area(given, seed):
        attack = attacks.LearnedAttack(hidden=(10,), epochs=20, seed=seed, features="sorted")
        scores = attack.fit(given.shadow).score(given.target)
        return np.mean([auc(*pair) for pair in zip(scores, given.target.members, strict=True)])

    seeds = np.array([area(one, seed) for seed in range(6)])
    for order in ([2, 0, 3, 1], [3, 2, 1, 0]):
        moved = area(in_class_order(one, np.array(order)), 0)
        assert abs(moved - seeds.mean()) < 4 * seeds.std(ddof=1)


@pytest.mark.parametrize("name", ATTACKS)
def test_names_and_numbers_change_no_bit(name, given, expected):
    moved = Scene(
        *(
            p.replace(
                ids=7 * p.ids + 1000,
                fingerprint="another name",
                names=tuple(f"{n} by another name" for n in p.names),
            )
            for p in given
        )
    )
    np.testing.assert_array_equal(scores_of(name, moved), expected[name])


DRAWN_BY_ID = ("random", "learned", "stacked", "quantile")


@pytest.mark.parametrize("name", [n for n in ATTACKS if not n.startswith(DRAWN_BY_ID)])
def test_ids_in_another_order_change_no_bit(name, given, expected):
    moved = Scene(*(p.replace(ids=1000 - p.ids) for p in given))
    np.testing.assert_array_equal(scores_of(name, moved), expected[name])


@pytest.mark.parametrize(
    "name", [n for n in ATTACKS if n.startswith(DRAWN_BY_ID) and n != "random"]
)
def test_ids_in_another_order_are_another_draw_of_the_same_attack(name, given, expected):
    moved = Scene(*(p.replace(ids=1000 - p.ids) for p in given))
    for a, b in zip(scores_of(name, moved), expected[name], strict=True):
        assert spearmanr(a, b)[0] > 0.8


@pytest.mark.parametrize("name", ATTACKS)
def test_a_constant_added_to_every_logit_changes_no_rank(name, given, expected):
    """Logits say the same whatever is added to all of them (here a power of 2, which is exact)."""
    moved = Scene(*(p.replace(logits=p.logits.astype(float) + 8) for p in given))
    for a, b in zip(scores_of(name, moved), expected[name], strict=True):
        assert spearmanr(a, b)[0] > 0.9999
