"""Masks: finite, label-preserving, no more informative than they may be; presets, stacking, SELENA."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_utils import (
    ConfidenceAttack,
    CorrectnessAttack,
    DPConfig,
    EntropyAttack,
    InputError,
    LossAttack,
    Outputs,
    Pool,
    Store,
    TrainConfig,
    auc,
    load_dataset,
    quarter_masks,
    signals,
    train,
)
from mia_utils.defenses import (
    label_only,
    names,
    noise,
    preset,
    rounding,
    temperature,
    top_k,
    train_defended,
    train_selena,
    train_stacked,
)
from mia_utils.defenses.masking import FLOOR
from mia_utils.defenses.selena import soft_labels, split
from mia_utils.defenses.stacking import parts
from mia_utils.signals import log_softmax


def outputs(seed=0, scale=5.0, classes=6, records=200):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (2, records, classes)).astype(np.float32)
    return Outputs(logits, rng.integers(0, classes, records), rng.random((2, records)) < 0.5)


MASKS = {
    "top1": lambda o: top_k(o, 1),
    "top3": lambda o: top_k(o, 3),
    "label": label_only,
    "rounded": lambda o: rounding(o, 1),
    "temperature": lambda o: temperature(o, 4.0),
    "noise": lambda o: noise(o, 2.0),
    "noise on p": lambda o: noise(o, 0.2, on="probabilities"),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 30.0, 300.0]))
def test_a_mask_is_finite_and_keeps_the_label(mask, seed, scale):
    before = outputs(seed, scale, records=40)
    after = mask(before)
    assert np.isfinite(after.logits).all() and after.logits.dtype == np.float32
    assert np.array_equal(after.logits.argmax(-1), before.logits.argmax(-1))
    assert np.array_equal(after.members, before.members)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 99), k=st.integers(1, 6), scale=st.sampled_from([0.1, 3.0, 100.0]))
def test_top_k_twice_is_top_k_once(seed, k, scale):
    once = top_k(outputs(seed, scale, records=40), k)
    np.testing.assert_allclose(top_k(once, k).logits, once.logits, rtol=1e-5, atol=1e-6)


def test_top_k_by_hand():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    given_ = Outputs(np.log(p)[None, None].astype(np.float32), np.array([0]), np.ones((1, 1), bool))
    np.testing.assert_allclose(np.exp(top_k(given_, 2).logits[0, 0]), [0.5, 0.3, 0.1, 0.1], 1e-6)
    np.testing.assert_allclose(np.exp(top_k(given_, 1).logits[0, 0]), [0.5] + [0.5 / 3] * 3, 1e-6)
    assert top_k(given_, 4) is given_


def test_top_k_keeps_what_a_sure_model_says():
    """1 - p is 1e-9 here, and 0 in float32: the mask must not turn it into the floor."""
    logits = np.array([[[21.0, 0.0, 0.1, -5.0]]], np.float32)
    sure = Outputs(logits, np.array([0]), np.ones((1, 1), bool))
    before, after = LossAttack().score(sure), LossAttack().score(top_k(sure, 1))
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_behind_a_label_all_metrics_are_correctness():
    masked = label_only(outputs())
    right = CorrectnessAttack().score(masked)
    for model in range(2):
        members = masked.members[model]
        best = auc(right[model], members)
        assert auc(LossAttack().score(masked)[model], members) == pytest.approx(best)
        for attack in (ConfidenceAttack(), EntropyAttack()):
            assert auc(attack.score(masked)[model], members) == 0.5


def test_a_masked_loss_never_exceeds_the_floor():
    worst = -LossAttack().score(label_only(outputs())).min()
    assert worst == pytest.approx(-np.log(FLOOR), rel=1e-3)


def test_rounding_by_hand():
    p = np.array([0.56, 0.26, 0.14, 0.04])
    given_ = Outputs(np.log(p)[None, None].astype(np.float32), np.array([0]), np.ones((1, 1), bool))
    np.testing.assert_allclose(
        np.exp(rounding(given_, 1).logits[0, 0]), [0.6, 0.3, 0.1, 0], atol=1e-6
    )


def test_asking_again_gives_the_same_noise_and_another_model_other_noise():
    given_ = outputs()
    np.testing.assert_array_equal(noise(given_, 1.0).logits, noise(given_, 1.0).logits)
    added = noise(given_, 0.01).logits - given_.logits
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.1
    assert added.std() == pytest.approx(0.01, rel=0.05)


def test_temperature_divides():
    np.testing.assert_allclose(temperature(outputs(), 4.0).logits, outputs().logits / 4)


@pytest.mark.parametrize(
    "mask, word",
    [
        (lambda o: top_k(o, 7), "k=7"),
        (lambda o: top_k(o, 0), "k=0"),
        (lambda o: temperature(o, 0.0), "temperature=0.0"),
        (lambda o: noise(o, -1.0), "scale=-1.0"),
        (lambda o: noise(o, 1.0, on="labels"), "on='labels'"),
        (lambda o: rounding(o, 0), "decimals=0"),
    ],
)
def test_masks_that_make_no_sense(mask, word):
    with pytest.raises(InputError, match=word):
        mask(outputs())


# ---- presets and stacking ----


@pytest.fixture(scope="module")
def digits():
    pool = load_dataset("digits")
    return pool, quarter_masks(pool.labels, seed=0, shadow_models=1)[0]


@pytest.mark.parametrize("name", names())
def test_every_preset_trains(name, digits, tmp_path_factory):
    pool, masks = digits
    store = tmp_path_factory.getbasetemp() / "presets"
    outputs = train_defended(
        pool, masks, "mlp", TrainConfig(epochs=1), name, store=store, jobs=1, progress=False
    )
    assert outputs.logits.shape == (1, len(pool), 10)
    assert preset(name).name == name and preset(name).title


def test_an_unknown_defense_names_the_known_ones():
    with pytest.raises(InputError, match="no defense is called 'magic'; expected one of none"):
        preset("magic")


def test_a_stack_has_three_disjoint_parts_and_learns(digits, tmp_path):
    pool, masks = digits
    cut = parts(masks.members[0], seed=0)
    assert np.array_equal(np.sum(cut, axis=0), masks.members[0].astype(int))
    stack = train_stacked(
        pool, masks, "mlp", TrainConfig(epochs=15), store=tmp_path, jobs=1, progress=False
    )
    outside = masks.evaluated[0] & ~masks.members[0]
    assert (stack.logits[0].argmax(-1) == pool.labels)[outside].mean() > 0.8
    np.testing.assert_allclose(np.exp(log_softmax(stack.logits)).sum(-1), 1)
    with pytest.raises(InputError, match="stacking cuts them"):
        parts(np.array([True, True]), seed=0)


# ---- SELENA ----


def test_each_member_is_missing_from_as_many_sub_models():
    members = np.array([True, False, True] * 20)
    cut = split(members, sub_models=5, left_out=2, seed=0)
    assert (cut.sum(axis=0) == np.where(members, 3, 0)).all()
    assert not np.array_equal(cut, split(members, sub_models=5, left_out=2, seed=1))
    with pytest.raises(InputError, match="left_out=5 with sub_models=5"):
        split(members, sub_models=5, left_out=5, seed=0)
    with pytest.raises(InputError, match="1 members are too few for 25 sub-models"):
        split(np.array([True]), sub_models=25, left_out=24, seed=0)


def test_soft_labels_are_what_models_without_the_record_say():
    rng = np.random.default_rng(0)
    members = rng.random(40) < 0.5
    cut = split(members, sub_models=4, left_out=1, seed=0)
    answers = Outputs(rng.normal(size=(4, 40, 3)).astype(np.float32), np.zeros(40, int), cut)
    found = soft_labels(answers, members)
    for record in np.flatnonzero(members):
        (model,) = np.flatnonzero(~cut[:, record])
        expected = np.exp(log_softmax(answers.logits[model, record]))
        np.testing.assert_allclose(found[record], expected, rtol=1e-6)
    assert not found[~members].any()


def test_selena_answers_without_its_members_labels(digits, tmp_path):
    """A member's label that is wrong reaches only models that never answer about it."""
    pool, masks = digits
    rng = np.random.default_rng(0)
    labels = pool.labels.copy()
    wrong = rng.permutation(np.flatnonzero(masks.members[0]))[:20]
    labels[wrong] = (labels[wrong] + 1 + rng.integers(0, 9, 20)) % 10
    noisy = Pool.from_arrays("noisy", pool.records, labels)
    settings = {"store": tmp_path, "jobs": 1, "progress": False}
    plain = train(noisy, masks, "mlp", TrainConfig(epochs=60), **settings)
    selena = train_selena(
        noisy, masks, "mlp", TrainConfig(epochs=60), sub_models=4, left_out=2, **settings
    )
    learned = [(o.logits[0].argmax(-1) == labels)[wrong].mean() for o in (plain, selena)]
    assert learned[0] > 0.9 and learned[1] < 0.3
    outside = masks.evaluated[0] & ~masks.members[0]
    assert (selena.logits[0].argmax(-1) == labels)[outside].mean() > 0.8
    assert selena.names[0] in Store(tmp_path)


def test_what_cannot_be_distilled_is_refused_before_any_training(digits, tmp_path):
    pool, masks = digits
    with pytest.raises(InputError, match="soft_labels and mixup together"):
        train_selena(pool, masks, "mlp", TrainConfig(mixup=1.0), store=tmp_path)
    assert not Store(tmp_path).names()
    with pytest.raises(InputError, match="no soft labels nowhere"):
        train(pool, masks, "mlp", TrainConfig(soft_labels="nowhere"), store=tmp_path)
    name = Store(tmp_path).put_soft_labels(np.full((3, 10), 0.1))
    with pytest.raises(InputError, match=r"soft_labels have shape \(3, 10\)"):
        train(pool, masks, "mlp", TrainConfig(soft_labels=name), store=tmp_path)


def test_a_rounded_answer_does_not_tell_which_of_two_classes_comes_first():
    """The label's class is put above one that it ties with, before or behind it."""
    logits = np.log([[[0.42, 0.38, 0.2], [0.38, 0.42, 0.2], [0.2, 0.38, 0.42]]])
    two = Outputs(logits, [0, 1, 2], [[True, False, False]])
    p = signals.log_softmax(rounding(two, 1).logits[0])
    np.testing.assert_array_equal(np.sort(p), np.tile(np.sort(p[0]), (3, 1)))
    assert signals.correct(p, two.labels).all()


@pytest.mark.parametrize("defense", ["stacking", "memguard"])
def test_a_defense_that_learns_from_members_takes_no_promise(defense):
    pool = load_dataset("digits").subset(np.arange(60), "few")
    config = TrainConfig(epochs=1, dp=DPConfig(epsilon=1.0))
    masks = quarter_masks(pool.labels, seed=0)[0]
    with pytest.raises(InputError, match=f"(?i){defense} and dp together: .* no epsilon"):
        train_defended(pool, masks, "mlp", config, defense)


@pytest.mark.parametrize("scale", [2.0, 1e4, 1e8])
def test_noise_of_any_size_leaves_the_label(scale):
    logits = np.random.default_rng(0).normal(size=(1, 2000, 10)).astype(np.float32)
    plain = Outputs(logits, np.zeros(2000, int), np.arange(2000) < 9, fingerprint="x")
    for on in ("logits", "probabilities"):
        masked = noise(plain, scale, on=on)
        np.testing.assert_array_equal(masked.logits.argmax(-1), logits.argmax(-1))


def test_a_temperature_that_leaves_nothing_is_refused():
    plain = Outputs(np.eye(3, dtype=np.float32)[None], np.arange(3), [1, 0, 0], fingerprint="x")
    with pytest.raises(
        InputError, match="temperature=10000000.0; expected a positive number up to"
    ):
        temperature(plain, 1e7)
