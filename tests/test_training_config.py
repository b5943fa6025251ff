"""Settings: read once, refused in one line, pinned to the recipe that they belong to."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch

from mia_utils import InputError, TrainConfig
from mia_utils.training import dp, loop
from mia_utils.training.config import as_seed

DEFAULTS = {
    # The recipe, then what a model is trained with where its name says nothing.
    1: {
        "epochs": 50,
        "batch_size": 128,
        "optimizer": "adam",
        "lr": 1e-3,
        "lr_drop": None,
        "weight_decay": 0.0,
        "dropout": None,
        "augmentation": "none",
        "mixup": 0.0,
        "label_smoothing": 0.0,
        "relax_loss": 0.0,
        "early_stopping": 0,
        "soft_labels": None,
        "dp": None,
        "momentum": 0.9,
        "nesterov": False,
        "schedule": "constant",
        "compile": False,
    },
}


def test_a_changed_default_without_a_raised_recipe_fails_here():
    """A model's name leaves defaults out: another default under one recipe is another model under
    the same name. Raise `loop.RECIPE` and add a table; never edit one."""
    defaults = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
    assert defaults == DEFAULTS[loop.RECIPE]
    assert {type(v) for v in defaults.values()} <= {int, float, str, bool, type(None)}


@pytest.mark.parametrize(
    "given, stored",
    [
        ({"epochs": 5.0}, {"epochs": 5}),
        ({"epochs": 1e1, "batch_size": np.int64(64)}, {"epochs": 10, "batch_size": 64}),
        ({"batch_size": 64.0}, {"batch_size": 64}),
        ({"epochs": np.array(3), "lr": np.float64(0.5)}, {"epochs": 3, "lr": 0.5}),
        ({"lr": torch.tensor(0.5), "lr_drop": torch.tensor(4)}, {"lr": 0.5, "lr_drop": 4}),
        (
            {"lr": 1, "mixup": 1, "weight_decay": Fraction(1, 2)},
            {"lr": 1.0, "mixup": 1.0, "weight_decay": 0.5},
        ),
        ({"dropout": 0}, {"dropout": 0.0}),
        ({"optimizer": "sgd", "nesterov": np.True_}, {"optimizer": "sgd", "nesterov": True}),
        ({"early_stopping": 5.0, "epochs": 50}, {"early_stopping": 5}),
    ],
)
def test_numbers_of_any_kind_are_one_model(given, stored):
    config = TrainConfig(**given)
    assert config == TrainConfig(**stored) and config.changed() == stored
    for name, value in config.changed().items():
        assert type(value) is type(stored[name])


@pytest.mark.parametrize(
    "given, message",
    [
        ({"lr": "1e-3"}, "lr='1e-3'; expected a positive number (YAML needs 1.0e-3)"),
        ({"lr": "5e30"}, "(YAML needs 5.0e+30)"),
        ({"lr": "0.001"}, "0.001 without quotes"),
        ({"epochs": "ten"}, "epochs='ten'; expected an integer >= 1"),
        ({"epochs": "5"}, "5 without quotes"),
        ({"epochs": float("inf")}, "epochs=inf; expected an integer >= 1"),
        ({"epochs": float("nan")}, "epochs=nan"),
        ({"epochs": 2.5}, "epochs=2.5; expected an integer >= 1"),
        ({"epochs": True}, "epochs=True"),
        ({"epochs": None}, "epochs=None"),
        ({"epochs": [3]}, "epochs=[3]"),
        ({"epochs": 10**400}, "expected an integer >= 1"),
        ({"batch_size": np.arange(2)}, "expected an integer >= 1"),
        ({"mixup": float("inf")}, "mixup=inf; expected alpha >= 0.01, or 0 for none"),
        ({"lr": 0}, "lr=0; expected a positive number"),
        ({"lr": complex(1, 2)}, "expected a positive number"),
        ({"relax_loss": np.nan}, "expected a loss > 0"),
        ({"label_smoothing": "0,1"}, "label_smoothing='0,1'; expected a number in [0, 1)"),
        ({"dropout": 1}, "dropout=1; expected a number in [0, 1) or None"),
        ({"lr_drop": 0.5}, "expected an epoch >= 1 or None"),
        ({"optimizer": "Adam"}, "optimizer='Adam'; expected one of ('adam', 'adamw', 'sgd')"),
        ({"optimizer": None}, "expected one of"),
        ({"augmentation": ["crop_flip"]}, "expected one of"),
        ({"soft_labels": 3}, "Store.put_soft_labels"),
        ({"dp": {"epsilon": 1}}, "expected a DPConfig"),
        ({"nesterov": 1.5, "optimizer": "sgd"}, "nesterov=1.5"),
        ({"compile": "yes"}, "compile='yes'"),
        ({"nesterov": True}, "expected optimizer='sgd' with it, not 'adam'"),
        ({"momentum": 0.5}, "expected optimizer='sgd' with it"),
        ({"optimizer": "sgd", "momentum": 0, "nesterov": True}, "nothing to look ahead with"),
        ({"schedule": "one_cycle", "lr_drop": 3}, "lr_drop and schedule='one_cycle' together"),
        ({"schedule": "cosine"}, "expected one of ('constant', 'one_cycle')"),
        ({"momentum": 1, "optimizer": "sgd"}, "momentum=1; expected a number in [0, 1)"),
    ],
)
def test_what_cannot_be_a_setting_is_refused_in_one_line(given, message):
    with pytest.raises(InputError) as caught:
        TrainConfig(**given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "other", ["mixup", "relax_loss", "early_stopping", "soft_labels", "compile"]
)
def test_what_an_accountant_does_not_count_is_refused_with_dp(other):
    from mia_utils import DPConfig

    value = "x" if other == "soft_labels" else True if other == "compile" else 1
    with pytest.raises(InputError, match=f"{other} and dp together"):
        TrainConfig(dp=DPConfig(noise_multiplier=1.0), **{other: value})


def test_every_pair_that_cannot_be_combined_is_refused_and_no_other():
    values = {
        "augmentation": "crop_flip",
        "mixup": 1.0,
        "label_smoothing": 0.1,
        "relax_loss": 0.5,
        "early_stopping": 2,
        "soft_labels": "x",
        "dropout": 0.5,
        "weight_decay": 0.1,
    }
    refused = set()
    for first in values:
        for second in values:
            if first < second:
                try:
                    TrainConfig(**{name: values[name] for name in (first, second)})
                except InputError:
                    refused.add((first, second))
    assert refused == {
        ("mixup", "relax_loss"),
        ("label_smoothing", "relax_loss"),
        ("mixup", "soft_labels"),
        ("label_smoothing", "soft_labels"),
        ("relax_loss", "soft_labels"),
    }


@pytest.mark.parametrize("seed", [0, 3, 3.0, np.int64(3), np.uint8(3), 2**40, 2**70 + 1])
def test_seeds_are_python_integers(seed):
    assert as_seed(seed) == int(seed) and type(as_seed(seed)) is int


@pytest.mark.parametrize("seed", [-1, "a", "3", None, 1.5, float("inf"), True, [1]])
def test_what_is_no_seed_is_refused(seed, tmp_path):
    with pytest.raises(InputError, match=r"seed=.*expected an integer >= 0"):
        as_seed(seed)


def test_the_rate_of_one_cycle_rises_for_a_fifth_and_falls_to_nothing():
    config = TrainConfig(epochs=20, lr=0.5, schedule="one_cycle")
    rates = [config.rate(epoch) for epoch in np.linspace(0, 20, 201)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0, abs=1e-12)
    assert max(rates) == rates[40] == 0.5
    assert np.allclose(np.diff(rates[:41]), 0.5 / 40) and np.allclose(
        np.diff(rates[40:]), -0.5 / 160
    )


def test_the_rate_drops_after_the_epoch_that_is_named():
    config = TrainConfig(epochs=5, lr=0.5, lr_drop=3)
    assert [config.rate(e) for e in (0, 2.99, 3, 4.5)] == [0.5, 0.5, 0.05, 0.05]


@pytest.mark.parametrize(
    "device, epochs, members, compiled",
    [("cpu", 10**6, 10**5, False), ("cuda", 50, 15_000, False), ("cuda", 100, 50_000, True)],
)
def test_whether_a_model_is_compiled_follows_from_itself_alone(device, epochs, members, compiled):
    config = TrainConfig(epochs=epochs, compile="auto").resolved(device, members)
    assert config.compile is compiled
    assert ("compile" in config.changed()) == compiled
    explicit = TrainConfig(compile=True)
    assert explicit.resolved(device, members) is explicit


def test_private_recipes_have_a_version_of_their_own():
    assert isinstance(dp.RECIPE, int) and dp.RECIPE != loop.RECIPE
