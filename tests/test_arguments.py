"""What is refused says the name, the value (however strange) and what was expected."""

from fractions import Fraction

import numpy as np
import pytest
from synthetic import scene

from mia_utils import (
    InputError,
    arguments,
    attacks,
    balanced_masks,
    defenses,
    evaluate,
    evaluation,
    load_dataset,
    quarter_masks,
)
from mia_utils.arrays import as_array
from mia_utils.audit import audit
from mia_utils.data import independent_masks, quarters, single_record_masks
from mia_utils.errors import shown
from mia_utils.parameters import check
from mia_utils.text import blind_scores, canaries

HUGE = 10**5000  # more digits than Python writes out


class Silent:
    def __repr__(self):
        raise RuntimeError("nothing to say")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (True, "True"),
        ("two\nlines", r"'two\nlines'"),
        (float("nan"), "nan"),
        (10**50, str(10**50)),
        (-HUGE, "an integer of 5001 digits"),
        ([HUGE], "a value of type list"),
        (Fraction(1, HUGE), "a value of type Fraction"),
        (Silent(), "a value of type Silent"),
        (np.eye(2), "array([[1., 0.], [0., 1.]])"),
        ("x" * 1000, "'" + "x" * 199 + "..."),
    ],
    ids=shown,  # pytest cannot write it out either
)
def test_every_value_can_be_shown_on_one_line(value, text):
    assert shown(value) == text


SCORES, MEMBERS = np.arange(6.0), np.arange(6) % 2 == 0


@pytest.mark.parametrize(
    "refused",
    [
        lambda: evaluation.bentley_bound(0.5, 0.5, HUGE),
        lambda: evaluation.attaining_attack(HUGE, 0.5, 0.5),
        lambda: evaluation.dp_curve(0.1, -HUGE),
        lambda: as_array([0.5, HUGE], "x"),
        lambda: arguments.as_number("x", HUGE, "a number"),
        lambda: arguments.count("x", HUGE),
        lambda: arguments.one_of("x", HUGE, ("a", "b")),
        lambda: arguments.text("x", HUGE),
        lambda: arguments.several("x", HUGE, "several"),
        lambda: defenses.preset(HUGE),
        lambda: evaluate(SCORES, members=MEMBERS, level=HUGE),
        lambda: evaluate(SCORES, members=MEMBERS, seed=HUGE),
        lambda: attacks.LossAttack(threshold=[HUGE]).fit(),
        lambda: check({"epochs": 1}, {"epochs": -HUGE}),
    ],
)
def test_a_number_too_long_to_be_written_out_is_refused_by_name_and_size(refused):
    with pytest.raises(InputError, match=r"an integer of 5001 digits|a value of type list"):
        refused()


POOL = load_dataset("digits")
SHADOW, POPULATION, TARGET = scene(4, seed=0, shadow_leak=1.0, target_leak=1.0, targets=1)


SEEDS = [-1, 1.5, "1", True, None]


@pytest.mark.parametrize("seed", [*SEEDS, 2**32])
@pytest.mark.parametrize(
    "called",
    [
        lambda seed: attacks.RandomAttack(seed=seed).fit(SHADOW),
        lambda seed: attacks.LearnedAttack(seed=seed).fit(SHADOW),
        lambda seed: audit(TARGET, seed=seed),
        lambda seed: POOL.sample(3, seed=seed),
        lambda seed: defenses.noise(TARGET, 1.0, seed=seed),
        lambda seed: defenses.memguard(TARGET, seed=seed),
        lambda seed: evaluate(SCORES, members=MEMBERS, seed=seed),
        lambda seed: evaluation.ratio_interval(MEMBERS, MEMBERS, seed=seed),
        lambda seed: blind_scores(["a"] * 4, [1, 0, 1, 0], seed=seed),
        lambda seed: canaries(2, seed=seed),
    ],
)
def test_every_seed_is_refused_alike(called, seed):
    with pytest.raises(InputError, match=r"^seed=.*; expected an integer of at least 0, below 2"):
        called(seed)


@pytest.mark.parametrize("seed", [*SEEDS, 2**63])
@pytest.mark.parametrize(
    "called",
    [
        lambda seed: quarters(POOL.labels, seed=seed),
        lambda seed: quarter_masks(POOL.labels, seed=seed),
        lambda seed: balanced_masks(9, models=2, seed=seed),
        lambda seed: independent_masks(9, models=2, seed=seed),
        lambda seed: single_record_masks(9, [1], k=1, seed=seed),
    ],
)
def test_a_seed_of_masks_may_be_wider_and_is_refused_alike(called, seed):
    with pytest.raises(InputError, match=r"^seed=.*; expected an integer of at least 0, below 2"):
        called(seed)
    called(2**32)


def test_the_largest_seed_is_taken_by_every_generator():
    seed = 2**32 - 1
    for attack in (attacks.LearnedAttack(seed=seed, epochs=1), attacks.RandomAttack(seed=seed)):
        assert np.isfinite(attack.fit(SHADOW).score(TARGET)).all()
    assert attacks.QuantileAttack(seed=seed).fit(population=POPULATION).score(TARGET).size
    assert check({"seed": 0}, {"seed": str(seed)}) == {"seed": seed}
    with pytest.raises(InputError, match="parameter seed = 4294967296: .*below 2"):
        check({"seed": 0}, {"seed": 2**32})
