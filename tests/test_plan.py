"""`mia plan`: counts and operations are exact, time is operations over speed."""

import itertools

import pytest

from mia_utils import InputError, TrainConfig, load_dataset, quarter_masks, train
from mia_utils.__main__ import main
from mia_utils.data import write_archive
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


def test_memory_and_disk_by_hand():
    """Pool, four copies of the parameters, answers, and a batch's outputs of every layer."""
    widths = [512, 256, 128, 64]
    parameters = parameter_count(build("mlp", (28, 28, 1), 10))
    outputs = 784 + 2 * sum(widths) + 10  # each hidden layer and its ReLU
    config = TrainConfig(batch_size=32)
    cost = plan("mlp", (28, 28, 1), 10, config=config, **MLP)
    assert cost.memory == 1000 * 784 + 16 * parameters + 4 * 1000 * 10 + 4 * 32 * outputs
    rows = plan("mlp", (784,), 10, config=config, **MLP)
    assert rows.memory == cost.memory + 3 * 1000 * 784, "features take four bytes, pixels one"


def test_a_plan_at_its_limits():
    whole = plan("mlp", (4,), 2, records=1, members=1, models=1, stored=1, flops_per_second=1.0)
    assert (whole.missing, whole.hours, whole.disk) == (0, 0.0, 0)
    assert whole.flops == training_flops("mlp", (4,), 2, TrainConfig(), 1)


def test_costs_are_those_of_the_architecture_as_configured():
    dropped = TrainConfig(dropout=0.5)
    assert (
        plan("mlp", (28, 28, 1), 10, config=dropped, **MLP).memory
        > plan("mlp", (28, 28, 1), 10, **MLP).memory
    ), "dropout layers have outputs too"


def printed(capsys, *arguments):
    assert main(["plan", *arguments]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())


def test_small_numbers_are_not_zero(monkeypatch, capsys):
    monkeypatch.setenv("MIA_FLOPS", "1e13")
    said = printed(
        capsys,
        "--shape",
        "8",
        "8",
        "1",
        "--classes",
        "2",
        "--records",
        "40",
        "--architecture",
        "mlp",
        "--epochs",
        "1",
        "--workers",
        "2",
    )
    words = said["time"].split()
    hours, seconds = float(words[0]), float(words[2])
    assert words[3] == "s" and seconds == pytest.approx(3600 * hours / 2, rel=0.6)
    assert "2 workers" in said["time"] and said["training"].startswith("mlp, 10 members, 1 epochs")
    assert float(said["memory"].split()[0]) > 0 and float(said["disk"].split()[0]) > 0


def test_data_and_store_may_lie_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MIA_FLOPS", "1e10")
    few = load_dataset("digits").subset(range(120))
    write_archive(few, tmp_path / "own.npz")
    pool = load_dataset("own", tmp_path)
    target, shadow = quarter_masks(pool.labels, seed=0, shadow_models=2)
    for masks in (target, shadow):
        train(
            pool, masks, "mlp", TrainConfig(epochs=1), store=tmp_path / "s", jobs=1, progress=False
        )
    ask = ["--dataset", "own", "--data", str(tmp_path), "--architecture", "mlp", "--epochs", "1"]
    ask += ["--seed", "0", "--models", "3"]
    said = printed(capsys, *ask, "--store", str(tmp_path / "s"))
    assert said["models"] == "3, in the store 3, to train 0"
    assert printed(capsys, *ask)["models"] == "3, in the store 0, to train 3"


def test_models_of_a_gpu_are_planned_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ask = ["--dataset", "digits", "--architecture", "mlp", "--device", "cuda"]
    monkeypatch.setenv("MIA_FLOPS", "1e12")
    assert "(bf16, MIA_FLOPS)" in printed(capsys, *ask, "--precision", "auto")["one"]
    monkeypatch.delenv("MIA_FLOPS")
    assert main(["plan", *ask]) == 2 and "no CUDA device" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast"])
def test_speeds_that_make_no_sense(speed, monkeypatch, capsys):
    monkeypatch.setenv("MIA_FLOPS", speed)
    assert main(["plan", "--dataset", "digits", "--architecture", "mlp"]) == 2
    assert f"MIA_FLOPS='{speed}'" in capsys.readouterr().err


def test_a_layer_that_returns_several_things_is_passed_over_in_the_memory():
    from torch import nn

    from mia_utils.engine.plan import _activations

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.lstm(x[:, :, None])[0][:, -1])

    assert _activations(Recurrent(), (6,)) == 3
