"""Quarters and masks: disjoint, exact, balanced, seeded, independent of the records' order."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_utils.data import (
    balanced_masks,
    independent_masks,
    load_dataset,
    quarter_masks,
    quarters,
    single_record_masks,
)
from mia_utils.errors import InputError

PROPERTY = settings(max_examples=50, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32)
COUNTS = st.lists(st.integers(4, 30), min_size=1, max_size=6)


def sorted_labels(counts) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


@PROPERTY
@given(COUNTS, SEEDS, st.booleans())
def test_quarters_are_disjoint_equal_and_seeded(counts, seed, stratify):
    labels = sorted_labels(counts)
    parts = quarters(labels, seed=seed, stratify=stratify)
    assert list(parts) == ["target_train", "target_test", "shadow_train", "shadow_test"]
    assert {len(part) for part in parts.values()} == {len(labels) // 4}
    used = np.concatenate(list(parts.values()))
    assert used.dtype == np.int64 and len(np.unique(used)) == len(used)
    again = quarters(labels, seed=seed, stratify=stratify)
    for name, part in parts.items():
        np.testing.assert_array_equal(part, again[name])


@PROPERTY
@given(COUNTS, SEEDS)
def test_stratified_quarters_share_every_class(counts, seed):
    labels = sorted_labels(counts)[np.random.default_rng(0).permutation(sum(counts))]
    parts = quarters(labels, seed=seed).values()
    table = np.array([np.bincount(labels[part], minlength=len(counts)) for part in parts])
    assert np.ptp(table, axis=0).max() <= 1 and table.min() >= 1
    # at most N % 4 records are dropped, and a class always fills its rounds
    assert (table.sum(axis=0) >= np.array(counts) // 4 * 4).all()


@PROPERTY
@given(
    st.lists(st.integers(9, 30), min_size=1, max_size=5), SEEDS, st.integers(1, 4), st.booleans()
)
def test_quarter_masks(counts, seed, k, stratify):
    counts = [4 * count for count in counts]
    labels = sorted_labels(counts)
    target, shadow = quarter_masks(labels, seed=seed, shadow_models=k, stratify=stratify)
    n = len(labels)
    assert target.members.shape == (1, n) and shadow.members.shape == (k, n)
    assert target.members.dtype == target.evaluated.dtype == bool
    parts = quarters(labels, seed=seed, stratify=stratify)
    assert set(np.flatnonzero(target.members[0])) == set(parts["target_train"])
    inside = [*shadow.members, *(shadow.evaluated & ~shadow.members)]
    assert {row.sum() for row in inside} == {n // 4 * 2 // (2 * k)}
    outside = target.evaluated & ~target.members
    assert outside.sum() == n // 4
    together = np.sum([*inside, *target.members, *outside], axis=0)
    assert together.max() == 1  # 2k sets, the target's members and non-members: all disjoint
    if k == 1:
        assert set(np.flatnonzero(shadow.members[0])) == set(parts["shadow_train"])
        assert set(np.flatnonzero(inside[1])) == set(parts["shadow_test"])
    if stratify:
        table = np.array([np.bincount(labels[row], minlength=len(counts)) for row in inside])
        assert np.ptp(table, axis=0).max() <= 1 and table.min() >= 1


def test_the_target_does_not_depend_on_the_shadow_models():
    labels = sorted_labels([40] * 5)
    targets = [quarter_masks(labels, seed=3, shadow_models=k)[0] for k in (1, 2, 5)]
    for one, other in itertools.pairwise(targets):
        np.testing.assert_array_equal(one.members, other.members)
        np.testing.assert_array_equal(one.evaluated, other.evaluated)


@PROPERTY
@given(st.integers(1, 60), st.integers(1, 10), SEEDS)
def test_balanced_masks(n, half, seed):
    masks = balanced_masks(n, models=2 * half, seed=seed)
    assert masks.members.shape == masks.evaluated.shape == (2 * half, n)
    assert (masks.members.sum(axis=0) == half).all() and masks.evaluated.all()
    np.testing.assert_array_equal(
        masks.members, balanced_masks(n, models=2 * half, seed=seed).members
    )


@PROPERTY
@given(st.integers(2, 60), st.integers(1, 10), SEEDS)
def test_independent_masks(n, models, seed):
    masks = independent_masks(n, models=models, seed=seed)
    assert masks.members.shape == (models, n)
    assert (masks.members.sum(axis=1) == n // 2).all() and masks.evaluated.all()
    np.testing.assert_array_equal(
        masks.members, independent_masks(n, models=models, seed=seed).members
    )


def bits(*masks) -> str:
    digest = hashlib.sha256()
    for array in itertools.chain(*masks):
        digest.update(f"{array.shape}".encode() + np.packbits(array).tobytes())
    return digest.hexdigest()[:16]


PUBLISHED = {
    # seed: quarters of cifar10-mini; of digits with 4 shadow models, and not stratified; balanced,
    # independent, single-record masks
    0: "33d31041848000c7 f9ab80b2e489543d 76ccfdcc952592e5 "
    "d386ee6cff93ac07 fb5fe8e34a080c8a 9216439fd6f64284",
    1: "b30a07145fe9d3a5 a3eb1f421f524842 100a54ee13800b0d "
    "271a3eace22bf67e 57bcbf81b65a9b8c cb257cc3351000c9",
    2**40: "6528ec50304e3b12 7c97f000c632d6bf 77506907d1fb4486 "
    "d70b6965908e9f76 e494a1bcdc98fe15 90dde7b7d76337b0",
}


@pytest.mark.parametrize("seed", PUBLISHED)
def test_published_masks_keep_their_bits(seed):
    """Stored models and committed records rest on them."""
    mini, digits = load_dataset("cifar10-mini").labels, load_dataset("digits").labels
    drawn = (
        quarter_masks(mini, seed=seed),
        quarter_masks(digits, seed=seed, shadow_models=4),
        quarter_masks(digits, seed=seed, stratify=False),
        [balanced_masks(500, models=8, seed=seed)],
        [independent_masks(501, models=3, seed=seed)],
        [single_record_masks(60, [3, 9], k=4, seed=seed)],
    )
    assert " ".join(bits(*masks) for masks in drawn) == PUBLISHED[seed]


def test_another_seed_is_another_draw():
    labels = sorted_labels([40] * 5)
    for draw in (
        lambda seed: quarter_masks(labels, seed=seed)[0].members,
        lambda seed: quarter_masks(labels, seed=seed, shadow_models=4)[1].members,
        lambda seed: balanced_masks(200, models=4, seed=seed).members,
        lambda seed: independent_masks(200, models=4, seed=seed).members,
    ):
        assert len({draw(seed).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize("stratify", [True, False])
def test_a_pool_sorted_by_class_gives_mixed_quarters(stratify):
    labels = sorted_labels([400] * 5)
    for part in quarters(labels, seed=0, stratify=stratify).values():
        assert np.bincount(labels[part], minlength=5).min() > 60
        # and in mixed order: the head of a quarter is no class by itself
        assert np.bincount(labels[part[:100]], minlength=5).min() > 5


@pytest.mark.parametrize("stratify", [True, False])
def test_every_record_falls_everywhere_equally_often(stratify):
    """Over 4,000 seeds each record of a sorted, uneven pool is in each quarter equally often."""
    labels = sorted_labels([5, 6, 8])
    hits = np.zeros((4, len(labels)))
    for seed in range(4000):
        for row, part in zip(
            hits, quarters(labels, seed=seed, stratify=stratify).values(), strict=True
        ):
            row[part] += 1
    share = hits / hits.sum(axis=0)
    assert abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 3000)
    in_class = [hits.sum(axis=0)[labels == label] for label in range(3)]
    # which record of a class is dropped does not depend on its place (5 standard errors)
    assert max(np.ptp(counts) for counts in in_class) < 10 * np.sqrt(4000 * 0.25)


def test_no_quarter_has_the_surplus_of_a_class_by_rule():
    labels = sorted_labels([5, 7])
    surplus = {
        name: np.mean([(labels[quarters(labels, seed=s)[name]] == 0).sum() for s in range(800)])
        for name in ("target_train", "target_test", "shadow_train", "shadow_test")
    }
    assert np.ptp(list(surplus.values())) < 0.1  # a mean of 1.25 each; by a fixed rule 1 and 2


def test_targets_are_independent_of_the_shadows_with_the_same_seed():
    """Else membership shows in how many shadow models hold the record."""
    shadow = balanced_masks(20, models=20, seed=0).members
    assert (independent_masks(20, models=20, seed=0).members != shadow.T).any()
    rows = independent_masks(20_000, models=4, seed=0).members
    for one, other in itertools.combinations(rows, 2):
        assert abs((one == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(20_000)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: quarters([0, 0, 0, 0, 1, 1, 1], seed=0), "class 1 has 3 records.*at least 4"),
        (
            lambda: quarters([0, 0, 0], seed=0, stratify=False),
            "3 records cannot fill four quarters",
        ),
        (lambda: quarters([], seed=0), "labels have type"),
        (lambda: quarters(np.zeros(0, int), seed=0), "0 records cannot fill"),
        (lambda: quarters([[0, 1]], seed=0), "labels have type"),
        (lambda: quarters([0.5] * 9, seed=0), "labels have type float64"),
        (lambda: quarters([0] * 9, seed=-1), "seed=-1"),
        (lambda: quarters([0] * 9, seed=None), "seed=None"),
        (
            lambda: quarter_masks([0] * 40 + [1] * 10, seed=0, shadow_models=4),
            "class 1 has . records, too few for the 8 disjoint sets of 4 shadow models",
        ),
        (
            lambda: quarter_masks([0] * 12, seed=0, shadow_models=4, stratify=False),
            "6 records cannot fill the 8 disjoint sets",
        ),
        (lambda: quarter_masks([0] * 12, seed=0, shadow_models=0), "shadow_models=0"),
        (lambda: balanced_masks(10, models=3, seed=0), "models=3.*even"),
        (lambda: balanced_masks(10, models=0, seed=0), "models=0"),
        (lambda: balanced_masks(0, models=2, seed=0), "n=0"),
        (lambda: independent_masks(1, models=2, seed=0), "n=1"),
        (lambda: independent_masks(10, models=1.5, seed=0), "models=1.5"),
        (lambda: independent_masks(10, models=True, seed=0), "models=True"),
        (lambda: quarters(load_dataset("digits"), seed=0), "pass pool.labels"),
    ],
)
def test_what_cannot_be_split_is_one_line(call, words):
    with pytest.raises(InputError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_one_seed_gives_every_function_of_splits_another_draw():
    """Membership of the quarters' shadows, of balanced and of independent models agree by chance."""
    n = 4000
    target, shadow = quarter_masks([0] * n, seed=0, stratify=False)
    rows = [
        target.members[0] | (shadow.evaluated[0] & shadow.members[0]),
        balanced_masks(n, models=2, seed=0).members[0],
        independent_masks(n, models=2, seed=0).members[0],
    ]
    for one, other in itertools.combinations(rows, 2):
        assert abs((one == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(n)


def test_models_for_one_record_begin_with_the_balanced_ones_of_their_seed():
    base = single_record_masks(40, [7], k=3, seed=0).members[:3]
    balanced = balanced_masks(40, models=6, seed=0).members[:3]
    assert (np.delete(base, 7, axis=1) == np.delete(balanced, 7, axis=1)).all()


def test_models_for_one_record_differ_in_that_record_alone():
    masks = single_record_masks(40, [7, 31], k=3, seed=0)
    members, base = masks.members, masks.members[:3]
    assert members.shape == (9, 40) and not base[:, [7, 31]].any()
    for number, record in enumerate([7, 31], 1):
        own = slice(3 * number, 3 * number + 3)
        assert (members[own] ^ base).sum() == 3 and members[own, record].all()
        assert masks.evaluated[own].sum() == 3 and masks.evaluated[own, record].all()
    assert (np.flatnonzero(masks.evaluated[0]) == [7, 31]).all()


@pytest.mark.parametrize(
    "records, words",
    [([], "records are"), ([1, 1], "records are"), ([10], "0..9"), (range(10), "none left")],
)
def test_records_that_cannot_be_set_aside(records, words):
    with pytest.raises(InputError, match=words):
        single_record_masks(10, list(records), k=1, seed=0)
