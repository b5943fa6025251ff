"""Where there is nothing to find no attack finds anything; where there is, each one does."""

from functools import cache

import numpy as np
import pytest
from factories import FACTORIES
from scipy.stats import ttest_1samp
from synthetic import gaussian_outputs, scene

from mia_utils.attacks import Attack
from mia_utils.evaluation import auc

NOTHING = {
    "noise": {"shadow_leak": 0.0, "target_leak": 0.0},
    "neither_half": {"shadow_leak": 2.0, "target_leak": 0.0},  # the target saw none of the records
}
SHADOWS = (4, 8, 16)
SLOW = {"learned": 6, "learned_sorted": 6, "learned_per_class": 10, "quantile": 3, "stacked": 10}
SIMULATIONS = 16
scene = cache(scene)  # the same simulations for every attack
LEVEL = 0.01 / (len(FACTORIES) * len(NOTHING) * len(SHADOWS))


def areas(factory, simulations: int, shadows: int, **leaks) -> np.ndarray:
    """Mean AUC over the two targets of each simulation: the simulations are independent."""
    result = []
    for seed in range(simulations):
        shadow, population, target = scene(shadows, seed=seed, **leaks)
        scores = factory().fit(shadow, population).score(target)
        result.append(np.mean([auc(*pair) for pair in zip(scores, target.members, strict=True)]))
    return np.array(result)


def finds_something(areas: np.ndarray) -> bool:
    return ttest_1samp(areas, 0.5, alternative="greater").pvalue < LEVEL


@pytest.mark.parametrize("shadows", SHADOWS)
@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("name", FACTORIES)
def test_no_attack_finds_what_is_not_there(name, nothing, shadows):
    found = areas(FACTORIES[name], SLOW.get(name, SIMULATIONS), shadows, **NOTHING[nothing])
    assert not finds_something(found), f"AUC {found.mean():.4f} over {found.size} simulations"
    assert abs(found.mean() - 0.5) < 6 * 0.042 / np.sqrt(2 * found.size)  # nor the opposite


@pytest.mark.parametrize("name", [name for name in FACTORIES if name != "random"])
def test_every_attack_finds_a_planted_leak(name):
    found = areas(FACTORIES[name], SLOW.get(name, 10), 8, shadow_leak=2.0, target_leak=2.0)
    floor = 0.55 if name in ("correctness", "entropy", "confidence") else 0.6
    assert found.min() > 0.5 and found.mean() > floor, f"AUC {found}"


class CountAttack(Attack):
    """What an attack must not do: it never looks at an answer."""

    def fit(self, shadow=None, population=None):
        self.held_ = shadow.members.sum(axis=0)
        return self

    def score(self, target):
        return np.broadcast_to(-self.held_[target.ids].astype(float), target.members.shape)


def test_a_count_of_shadow_models_gives_targets_of_the_same_balanced_matrix_away():
    """Why targets are drawn independently of it."""
    found = []
    for seed in range(SIMULATIONS):
        pool = gaussian_outputs(8, 100, seed=seed, leak=0.0)
        shadow, target = pool.select(models=slice(1, None)), pool.select(models=[0])
        scores = CountAttack().fit(shadow).score(target)
        found.append(auc(scores[0], target.members[0]))
    assert np.array_equal(found, np.ones(SIMULATIONS))
    independent = areas(CountAttack, SIMULATIONS, 8, **NOTHING["noise"])
    assert np.array_equal(independent, np.full(SIMULATIONS, 0.5))
