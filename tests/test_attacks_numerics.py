"""Logits as they come at the limits of numbers: every attack stays finite and keeps its order."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from factories import FACTORIES
from scipy.stats import spearmanr
from synthetic import Scene, scene

from mia_utils import attacks
from mia_utils.outputs import Outputs

ATTACKS = {**FACTORIES, "augmentation": attacks.AugmentationAttack}


def changed(given: Scene, change) -> Scene:
    """The scene with other logits, in the type that `change` gives them."""
    return Scene(*(part.replace(logits=change(part.logits)) for part in given))


def largest(logits: np.ndarray) -> np.ndarray:
    """Each answer's logits are 1e4 and -1e4, and nothing between."""
    return np.where(logits == logits.max(axis=-1, keepdims=True), 1e4, -1e4).astype(np.float32)


def mixed(logits: np.ndarray) -> np.ndarray:
    """Records of all scales, from denormal numbers to 1e4."""
    scales = np.float32(10.0) ** np.resize([-41, -20, 0, 3], logits.shape[1])
    return logits * scales[:, None].astype(np.float32)


few = scene(8, seed=3, shadow_leak=2.0, target_leak=2.0)
SCENES = {
    "1e4": changed(few, lambda z: z * np.float32(1e4 / np.abs(z).max())),
    "1e4 and nothing between": changed(few, largest),
    "float16": changed(few, lambda z: (z * 1e3).astype(np.float16)),
    "denormal": changed(few, lambda z: z * np.float32(1e-41)),
    "all scales": changed(few, mixed),
    "two classes": scene(8, seed=3, shadow_leak=2.0, target_leak=2.0, classes=2),
    "a thousand classes": scene(
        4, seed=3, shadow_leak=9.0, target_leak=9.0, classes=1000, records=190, population=120
    ),
}


@pytest.mark.parametrize("kind", SCENES)
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_finite(name, kind):
    shadow, population, target = SCENES[kind]
    with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise"):
        warnings.simplefilter("error", RuntimeWarning)
        attack = ATTACKS[name]().fit(shadow, population)
        scores = attack.score(target)
    assert np.isfinite(scores).all()
    assert attack.threshold_ is None or not np.isnan(attack.threshold_)


SURER_IS_LIKELIER = (
    "correctness",
    "loss",
    "loss_per_class",
    "modified_entropy",
    "margin",
    "population",
    "reference",
    "calibrated",
    "calibrated_margin",
    "lira_offline",
    "rmia",
    "rmia_offline",
    "base",
    "base_offline",
)
LADDER = np.concatenate([-np.geomspace(1e4, 1e-3, 15), [0], np.geomspace(1e-3, 1e4, 15)])


@pytest.mark.parametrize("kind", ["1e4", "denormal", "two classes", "a thousand classes"])
@pytest.mark.parametrize("name", SURER_IS_LIKELIER)
def test_a_surer_answer_is_never_a_less_likely_member(name, kind):
    """Targets that differ in the true class's logit alone, from -1e4 to 1e4."""
    shadow, population, target = SCENES[kind]

    def ladder(part: Outputs, rising: bool) -> Outputs:
        logits = np.repeat(part.logits[:1], LADDER.size, axis=0)
        if rising:
            logits[:, np.arange(part.labels.size), part.labels] = LADDER[:, None]
        members = np.repeat(part.members[:1], LADDER.size, axis=0)
        return Outputs(logits, part.labels, members, ids=part.ids, fingerprint=part.fingerprint)

    attack = ATTACKS[name]().fit(shadow, ladder(population, rising=False))
    scores = attack.score(ladder(target, rising=True))
    assert (np.diff(scores, axis=0) >= 0).all()
    assert (scores[-1] > scores[0]).all()


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "random"])
def test_single_precision_keeps_the_ranks_of_double(name):
    """`Outputs` keeps float32: what models answer. Ranks are those of answers kept in full."""
    rng = np.random.default_rng(0)
    single, double = [], []
    for part in few:
        exact = part.logits + rng.normal(0, 1e-6, part.logits.shape)
        single.append(part.replace(logits=exact.astype(np.float32)))
        double.append(part.judged_on(part.evaluated))
        object.__setattr__(double[-1], "logits", exact)
    assert double[0].logits.dtype == np.float64 and single[0].logits.dtype == np.float32

    def scores(shadow, population, target):
        return ATTACKS[name]().fit(shadow, population).score(target)

    for a, b in zip(scores(*single), scores(*double), strict=True):
        assert spearmanr(a, b)[0] > 1 - 1e-6


@pytest.mark.parametrize("name", ATTACKS)
def test_half_precision_is_read_as_the_same_numbers(name):
    half = changed(few, lambda z: z.astype(np.float16))
    full = changed(half, lambda z: z.astype(np.float32))
    assert half.shadow.logits.dtype == np.float16 and full.shadow.logits.dtype == np.float32
    scores = [
        ATTACKS[name]().fit(one.shadow, one.population).score(one.target) for one in (half, full)
    ]
    np.testing.assert_array_equal(*scores)
