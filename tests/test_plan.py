"""`mia plan`: counts and operations are exact, time is operations over speed."""

import itertools

import pytest

from mia_utils import InputError, TrainConfig, load_dataset, quarter_masks, train
from mia_utils.__main__ import main
from mia_utils.engine.plan import calibrate, plan, training_flops
from mia_utils.training.models import build, parameter_count

MLP = dict(records=1000, members=250, models=4, flops_per_second=1e9)


def test_operations_of_a_linear_network_by_hand():
    widths = [784, 512, 256, 128, 64, 10]
    forward = 2 * sum(a * b for a, b in itertools.pairwise(widths))
    config = TrainConfig(epochs=3)
    assert training_flops("mlp", (28, 28, 1), 10, config, 250) == 3 * forward * 250 * 3


def test_a_plan_adds_up():
    config = TrainConfig(epochs=3)
    whole = plan("mlp", (28, 28, 1), 10, config=config, **MLP)
    half = plan("mlp", (28, 28, 1), 10, config=config, stored=2, **MLP)
    assert (whole.missing, half.missing) == (4, 2) and half.hours == whole.hours / 2
    parameters = parameter_count(build("mlp", (28, 28, 1), 10))
    assert whole.disk == 4 * 4 * (1000 * 10 + parameters)
    scoring = whole.flops / 3 / 250 / 3 * 1000
    assert whole.hours == pytest.approx(4 * (whole.flops + scoring) / 1e9 / 3600)
    assert whole.memory > 1000 * 784 + 16 * parameters


@pytest.mark.parametrize(
    "change, word",
    [
        ({"members": 2000}, "members=2000"),
        ({"models": 0}, "models=0"),
        ({"stored": 5}, "stored=5"),
        ({"flops_per_second": 0.0}, "flops_per_second"),
    ],
)
def test_counts_that_make_no_sense(change, word):
    with pytest.raises(InputError, match=word):
        plan("mlp", (28, 28, 1), 10, **{**MLP, **change})


def test_calibration_is_a_speed():
    assert 1e7 < calibrate("mlp", (8, 8, 1), 10) < 1e15


def test_the_command_counts_what_the_store_has(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIA_STORE", str(tmp_path))
    monkeypatch.setenv("MIA_FLOPS", "1e10")
    pool = load_dataset("digits")
    target, _ = quarter_masks(pool.labels, seed=3, shadow_models=1)
    train(pool, target, "mlp", TrainConfig(epochs=1), seed=3, progress=False)
    ask = ["plan", "--dataset", "digits", "--architecture", "mlp", "--epochs", "1"]
    assert main([*ask, "--seed", "3"]) == 0
    assert "models      2, in the store 1, to train 1" in capsys.readouterr().out
    assert main([*ask, "--seed", "4"]) == 0
    assert "in the store 0, to train 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, word",
    [
        ([], "either --dataset"),
        (["--shape", "8", "8", "1"], "needs --classes"),
        (["--dataset", "mnist", "--records", "9", "--seed", "1"], "all of it"),
    ],
)
def test_questions_that_are_incomplete(arguments, word, capsys):
    assert main(["plan", *arguments]) == 2
    assert word in capsys.readouterr().err
