"""A target among its own shadow models is refused, counts that tell memberships are warned of."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from factories import FACTORIES
from synthetic import gaussian_outputs, scene

from mia_utils import attacks
from mia_utils.attacks.design import answer_keys
from mia_utils.defenses import label_only, rounding
from mia_utils.errors import DesignWarning, InputError

RECORD_BY_RECORD = [
    name
    for name in FACTORIES
    if name.startswith(("similarity", "reference", "calibrated", "lira", "rmia", "base"))
]
ALL = [*RECORD_BY_RECORD, "stacked", "quantile"]


@pytest.fixture(scope="module")
def noise():
    return scene(8, seed=3, shadow_leak=0.0, target_leak=0.0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("named", [False, True])
def test_a_target_among_its_shadow_models_is_refused_whatever_its_name(name, named, noise):
    """On noise it was worth an AUC of 0.89 to the similarity attack, of 0.71 to LiRA."""
    shadow = noise.shadow.replace(names=tuple("abcdefgh")) if named else noise.shadow
    own = shadow.select(models=[5])
    own = own.replace(names=("z",)) if named else own
    population, own = own.select(records=slice(130)), own.select(records=slice(130, None))
    attack = FACTORIES[name]().fit(shadow, population)
    with pytest.raises(InputError, match=r"very logits of shadow model 5: .* independent_masks"):
        attack.score(own)
    others = shadow.select(models=[0, 1, 2, 3, 4, 6, 7])
    with pytest.warns(DesignWarning):  # leaving it out alone is no sound design
        FACTORIES[name]().fit(others, population).score(own)


@pytest.mark.parametrize("name", ALL)
def test_a_name_among_the_shadow_models_is_refused(name, noise):
    shadow = noise.shadow.replace(names=tuple("abcdefgh"))
    target = noise.target.replace(names=("x", "c"))
    population = noise.population.replace(names=("x", "c"))
    with pytest.raises(InputError, match="model c is audited and among the shadow models"):
        FACTORIES[name]().fit(shadow, population).score(target)


def test_a_copy_is_found_in_another_order_in_part_and_among_several(noise):
    attack = attacks.LiRA().fit(noise.shadow)
    rng = np.random.default_rng(0)
    copy = noise.shadow.select(models=[2], records=rng.permutation(260)[:50])
    logits = copy.logits.copy()
    logits[0, :3] += 1
    for target in (copy, copy.replace(logits=logits), copy.select(records=slice(3))):
        with pytest.raises(InputError, match="shadow model 2"):
            attack.score(target)
    both = np.concatenate([noise.target.logits[:1], noise.shadow.logits[2:3, 130:]])
    with pytest.raises(InputError, match=r"target 1 gives 130 of 130 records .* shadow model 2"):
        attack.score(noise.target.replace(logits=both))


@pytest.mark.parametrize("mask", [label_only, lambda o: rounding(o, 1)])
@pytest.mark.parametrize("classes", [2, 4, 40])
def test_models_that_agree_are_no_copies(mask, classes):
    """Labels, and rounded probabilities, of sure models are alike without being the same model's."""
    shadow = gaussian_outputs(8, 60, classes, seed=0, leak=0.0)
    target = gaussian_outputs(2, 60, classes, seed=1, leak=0.0, masks="independent")
    sure = [mask(o.replace(logits=o.logits * 4)) for o in (shadow, target)]
    assert np.isfinite(attacks.LiRA().fit(sure[0]).score(sure[1])).all()
    same = [o.replace(logits=np.ones_like(o.logits)) for o in (shadow, target)]
    assert np.isfinite(attacks.LiRA().fit(same[0]).score(same[1])).all()


@pytest.mark.parametrize("name", ALL)
def test_a_row_of_the_balanced_masks_is_warned_of_and_an_independent_mask_is_not(name):
    pool = gaussian_outputs(9, 260, seed=4, leak=0.0)
    shadow, left_out = pool.select(models=slice(1, None)), pool.select(models=[0])
    population, target = (
        left_out.select(records=slice(130)),
        left_out.select(records=slice(130, 260)),
    )
    attack = FACTORIES[name]().fit(shadow, population)
    with pytest.warns(DesignWarning, match=r"AUC 0\.00.*independent_masks"):
        attack.score(target)
    independent = np.random.default_rng(0).random((1, 260)) < 0.5
    sound = left_out.replace(members=independent)
    attack = FACTORIES[name]().fit(shadow, sound.select(records=slice(130)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DesignWarning)
        attack.score(sound.select(records=slice(130, 260)))


def test_members_that_no_shadow_model_could_hold_are_warned_of():
    """Shadow models trained on the target's training set alone: the count tells who was in it."""
    shadow = gaussian_outputs(8, 300, seed=0, leak=0.0)
    inside = np.arange(300) < 150
    shadow = shadow.replace(members=shadow.members & inside)
    target = gaussian_outputs(1, 300, seed=1, leak=0.0).replace(members=inside[None])
    with pytest.warns(DesignWarning, match=r"AUC 1\.00"):
        attacks.LiRA(online=False).fit(shadow).score(target)


def test_sound_designs_are_hardly_ever_warned_of():
    for seed in range(20):
        shadow, _, target = scene(8, seed=seed, shadow_leak=0.0, target_leak=0.0, targets=10)
        with warnings.catch_warnings():
            warnings.simplefilter("error", DesignWarning)
            attacks.ReferenceAttack().fit(shadow).score(target)


def test_answers_have_keys_of_their_own():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 3)).astype(np.float32)
    z[1] = z[0][[1, 0, 2]]
    z[2] = np.nextafter(z[0], np.float32(9))
    keys = answer_keys(z)
    assert np.unique(keys).size == 20_000 and keys.min() > 0
    order = rng.permutation(20_000)
    np.testing.assert_array_equal(answer_keys(np.asfortranarray(z[order])), keys[order])
    np.testing.assert_array_equal(
        answer_keys(z.astype(np.float16)[:5]),
        answer_keys(z.astype(np.float16)[:5].astype(np.float32)),
    )
