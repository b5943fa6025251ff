"""What each setting trains to, number by number; the parts of each architecture; who draws what."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from mia_utils import DPConfig, TrainConfig
from mia_utils.training import checkpoint, device, dp, loop
from mia_utils.training.accounting import MENDED, faults, noise_multiplier, spent, statement
from mia_utils.training.augment import crop_flip
from mia_utils.training.batches import Loader
from mia_utils.training.generators import Generators
from mia_utils.training.loop import fit
from mia_utils.training.models import ARCHITECTURES, build
from mia_utils.training.relax_loss import relaxed
from mia_utils.training.summary import layers
from mia_utils.training.worker import Worker, make_optimizer

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (40, 24, 32, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4
MEMBERS = RNG.random(40) < 0.7
SOFT = RNG.dirichlet(np.ones(4), 40).astype(np.float32)
ROWS = RNG.random((40, 6), dtype=np.float32)
NOISY = DPConfig(noise_multiplier=0.5, delta=1e-3, max_grad_norm=0.5)
COPIES = DPConfig(
    noise_multiplier=0.5, delta=1e-3, max_grad_norm=0.5, multiplicity=2, weight_standardisation=True
)
ONE_CYCLE = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.8, "nesterov": True}
TRAINED = {
    # Setting, architecture, then: epochs, last loss, two logits of one record, sum of all |logits|.
    "adam": ({}, "cnn", 2, 2.1546, -0.3198, 0.48277, 50.624),
    "crop_flip": ({"augmentation": "crop_flip"}, "cnn", 2, 1.3645, -0.28636, 0.15372, 40.108),
    "mixup": ({"mixup": 0.5}, "cnn", 2, 2.1201, -0.50597, 0.59986, 71.31),
    "smoothing": ({"label_smoothing": 0.2}, "cnn", 2, 2.1858, -0.29611, 0.43187, 44.563),
    "relax_loss": (
        {"relax_loss": 3.0, "epochs": 4},
        "cnn",
        4,
        1.3928,
        0.027546,
        0.03024,
        3.8406,
    ),
    "early_stopping": (
        {"early_stopping": 1, "epochs": 6, "lr": 0.02},
        "cnn",
        3,
        1.3909,
        -0.025619,
        0.29387,
        20.515,
    ),
    "soft_labels": ({"soft_labels": "x"}, "cnn", 2, 1.4426, 0.026359, 0.01403, 2.6979),
    "one_cycle": (
        ONE_CYCLE | {"schedule": "one_cycle"},
        "cnn",
        2,
        1.4026,
        -0.33914,
        -0.051741,
        27.902,
    ),
    "lr_drop": (
        {"optimizer": "sgd", "lr": 0.1, "lr_drop": 1, "weight_decay": 0.1},
        "mlp",
        2,
        1.3704,
        -0.1739,
        -0.044762,
        13.044,
    ),
    "private": (
        {"dp": NOISY, "optimizer": "sgd", "lr": 0.5},
        "cnn",
        0,
        0.0,
        1.8454,
        21.121,
        3111.1,
    ),
    "private_copies": (
        {"dp": COPIES, "augmentation": "crop_flip", "label_smoothing": 0.1},
        "cnn",
        0,
        0.0,
        6.1076,
        2.0084,
        420.0,
    ),
    "private_dropout": (
        {"dp": NOISY, "dropout": 0.2},
        "mlp",
        0,
        0.0,
        0.018587,
        -0.085143,
        11.102,
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_setting_trains_to_the_numbers_of_its_recipe(name):
    """Numbers of recipes 1 and, with dp, 3: where they change, published models are others."""
    changes, architecture, epochs, *expected = TRAINED[name]
    records = ROWS if architecture == "mlp" else IMAGES
    config = TrainConfig(**{"epochs": 2, "batch_size": 8, "lr": 0.01, **changes})
    soft = SOFT if config.soft_labels else None
    trained = fit(records, LABELS, 4, MEMBERS, architecture, config, seed=5, soft_labels=soft)
    found = [*(trained.losses[-1:] or [0.0]), *trained.logits[7, :2], abs(trained.logits).sum()]
    assert len(trained.losses) == epochs
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_a_private_model_says_what_was_spent_and_what_that_covers():
    promise = DPConfig(noise_multiplier=1.0, delta=1e-3)
    what = {"unit": "record", "not_covered": "no figure"}
    told = statement(promise, 1.0, 0.25, 4, **what)
    assert told == {
        "unit": "one record",
        "noise_multiplier": 1.0,
        "sampling_rate": 0.25,
        "steps": 4,
        "epsilon": spent(promise, 1.0, 0.25, 4).epsilon,
        "delta": 1e-3,
        "accountant": "prv",
        "adjacency": "add or remove one record; the number of members counts as known",
        "covers": "the weights, if nobody learns the seed; no figure",
    }
    nothing = statement(promise, 0.0, 0.25, 4, **what)
    assert nothing["epsilon"] is None
    assert nothing["why_no_epsilon"] == "so little noise promises nothing"
    assert set(nothing) == {*told, "why_no_epsilon"}
    config = TrainConfig(epochs=1, batch_size=40, dp=promise)
    trained = fit(ROWS, LABELS, 4, MEMBERS, "mlp", config, seed=0)
    covered = "no figure that was computed from members"
    assert trained.privacy == statement(promise, 1.0, 1.0, 1, unit="record", not_covered=covered)


@pytest.mark.parametrize(
    "promise, rate, steps, noise",
    [
        ({"epsilon": 2.0}, 0.1, 100, 2.2564449),
        ({"epsilon": 2.0, "accountant": "rdp"}, 0.1, 100, 2.4266505),
        ({"epsilon": 0.2, "delta": 1e-3}, 0.02, 60, 1.8534632),
        ({"epsilon": 50.0}, 1.0, 3, 0.25987885),
    ],
)
def test_the_noise_of_a_promise_is_that_of_its_recipe(promise, rate, steps, noise):
    assert noise_multiplier(DPConfig(**promise), rate, steps) == pytest.approx(noise, rel=1e-5)


def test_what_was_wrong_with_older_private_models_is_told_of_those_alone():
    newest = max(MENDED)
    assert faults(newest) == ""
    assert faults(newest - 1) == MENDED[newest]
    assert faults(None) == "; ".join(MENDED.values())


def test_relaxloss_goes_up_in_even_epochs_and_flattens_in_odd_ones():
    logits, y = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.5, 1.0]]), torch.tensor([0, 1])
    loss = torch.nn.functional.cross_entropy(logits, y)
    found = [float(relaxed(logits, y, 5.0, epoch)) for epoch in range(6)]
    assert found[0] == found[2] == found[4] == -float(loss)
    assert found[1] == found[3] == found[5] == pytest.approx(0.92, abs=0.01)
    assert float(relaxed(logits, y, float(loss), 0)) == -float(loss)  # at alpha it is below
    assert float(relaxed(logits, y, 0.1, 0)) == float(loss)


# ---- architectures -----------------------------------------------------------------------------

SIZES = {
    "mlp": [((8, 8, 1), 10), ((31, 11, 3), 10), ((32, 32, 1), 65), ((32, 32, 1), 64), ((7,), 200)],
    "cnn": [((8, 8, 1), 4), ((28, 30, 1), 10), ((17, 15, 2), 4)],
    "alexnet": [
        ((16, 16, 3), 4),
        ((63, 64, 3), 4),
        ((64, 64, 3), 4),
        ((65, 64, 1), 4),
        ((35, 18, 1), 4),
    ],
    "resnet": [((8, 8, 3), 4), ((127, 130, 1), 4), ((128, 128, 1), 4), ((128, 128, 3), 4)],
    "resnet9": [((8, 8, 3), 4), ((9, 8, 1), 4)],
    "efficientnet": [((32, 32, 3), 4), ((32, 33, 1), 4)],
}
LAID_OUT = {
    ("mlp", None): ["9c715473", "47257fb1", "5891e4e8", "6c4832aa", "d3dd6088"],
    ("mlp", 0.0): ["9c715473", "47257fb1", "5891e4e8", "6c4832aa", "d3dd6088"],
    ("mlp", 0.3): ["d1cdf09a", "3bdc7d2d", "90cd7d40", "ab44b963", "021903d7"],
    ("cnn", None): ["ce70a86d", "c1c07749", "6ee5c9c1"],
    ("cnn", 0.0): ["ce70a86d", "c1c07749", "6ee5c9c1"],
    ("cnn", 0.3): ["c93c013f", "ae57878b", "b195ed42"],
    ("alexnet", None): ["20998b2c", "85597c43", "db977d75", "d745db35", "be78418c"],
    ("alexnet", 0.0): ["c77baaeb", "5101ea37", "fa9d2024", "f64f8664", "599a604b"],
    ("alexnet", 0.3): ["2cf54869", "abe69a24", "e59b14eb", "e949b2ab", "b21482c9"],
    ("resnet", None): ["1b7ccf21", "046f86c6", "dc92180d", "abf465e6"],
    ("resnet", 0.0): ["1b7ccf21", "046f86c6", "dc92180d", "abf465e6"],
    ("resnet", 0.3): ["d9c92d6b", "7373ffe7", "e384b788", "1ff03c85"],
    ("resnet9", None): ["188953ae", "ab656fd0"],
    ("resnet9", 0.0): ["188953ae", "ab656fd0"],
    ("resnet9", 0.3): ["5ef27aa6", "e179540f"],
    ("efficientnet", None): ["144e7b1f", "068117c7"],
    ("efficientnet", 0.0): ["3782f264", "254d9ebc"],
    ("efficientnet", 0.3): ["e810bc82", "fadfd05a"],
}


def laid_out(architecture, shape, classes, dropout):
    """Every layer's kind and settings, as far as they decide what it computes."""
    with torch.device("meta"):
        model = build(architecture, shape, classes, dropout=dropout)
    told = []
    for name, layer in model.named_modules():
        sizes = [tuple(p.shape) for p in layer._parameters.values() if p is not None]
        known = ("kernel_size", "stride", "padding", "p", "scale", "output_size", "inplace", "eps")
        settings = [(key, getattr(layer, key)) for key in known if hasattr(layer, key)]
        told.append((name, type(layer).__name__, sizes, settings))
    return f"{zlib.crc32(repr(told).encode()):08x}"


@pytest.mark.parametrize("dropout", [None, 0.0, 0.3])
@pytest.mark.parametrize("architecture", SIZES)
def test_an_architecture_keeps_its_layers_at_every_size_where_it_changes(architecture, dropout):
    """A published model's name says its architecture, not its layers."""
    found = [laid_out(architecture, *size, dropout) for size in SIZES[architecture]]
    assert found == LAID_OUT[architecture, dropout]


@pytest.mark.parametrize(
    "architecture, shape, kinds",
    [
        ("mlp", (7,), "dense"),
        ("resnet9", (8, 8, 3), "convolution 3x3, max-pooling, residual block, dense"),
        (
            "alexnet",
            (64, 64, 3),
            "convolution 11x11, stride 4, max-pooling, convolution 5x5, convolution 3x3, "
            "average pooling, dense",
        ),
        (
            "efficientnet",
            (32, 32, 3),
            "convolution 3x3, stride 2, fused MBConv, MBConv, convolution 1x1, average pooling, dense",
        ),
    ],
)
def test_layers_are_called_by_their_usual_names(architecture, shape, kinds):
    assert ", ".join(dict.fromkeys(layer.kind for layer in layers(architecture, shape, 4))) == kinds


def test_every_architecture_is_laid_out_here():
    assert set(SIZES) == set(ARCHITECTURES)


# ---- where it lies -----------------------------------------------------------------------------


def test_a_loader_and_its_crops_stay_on_the_device():
    """On torch's device without numbers, which computes with nothing of the processor's."""
    loader = Loader(IMAGES, LABELS, "meta")
    assert {t.device.type for t in vars(loader).values() if torch.is_tensor(t)} == {"meta"}
    batch = loader(torch.arange(5, device="meta"))
    assert batch.device.type == crop_flip(batch, None).device.type == "meta"


@pytest.mark.parametrize("private", [False, True])
def test_images_of_a_training_keep_their_channels_last(private):
    config = TrainConfig(epochs=1, batch_size=8, dp=NOISY if private else None)
    if private:
        place, _ = dp.prepare(IMAGES, LABELS, 4, "cnn", config, noise=1.0, expected=8.0, seed=0)
    else:
        with Worker().place(IMAGES, LABELS, 4, "cnn", config, seed=0) as place:
            pass
    kernels = [p for p in place.model.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    batch = place.loader(torch.arange(4))
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("private", [False, True])
def test_a_checkpoint_is_read_onto_the_device_of_the_training(private, tmp_path, monkeypatch):
    config = TrainConfig(epochs=1, batch_size=8, dp=NOISY if private else None)
    path, read = tmp_path / "checkpoint", []
    checkpoint.save_checkpoint(path, {"epoch": 0})

    def onto(file, *, weights_only, map_location):
        assert weights_only  # a checkpoint from elsewhere runs no code
        read.append(map_location)
        raise InterruptedError

    monkeypatch.setattr(checkpoint.torch, "load", onto)
    with pytest.raises(InterruptedError):
        fit(IMAGES, LABELS, 4, MEMBERS, "cnn", config, seed=0, checkpoint=path)
    assert read == ["cpu"]


def test_a_private_training_is_prepared_on_the_device_that_was_asked_for(monkeypatch):
    asked = []

    def prepare(*arguments, **options):
        asked.append(options["device"])
        raise InterruptedError

    monkeypatch.setattr(dp, "prepare", prepare)
    config = TrainConfig(epochs=1, batch_size=8, dp=NOISY)
    for place in ("cuda", "cpu"):
        with pytest.raises(InterruptedError):
            fit(IMAGES, LABELS, 4, MEMBERS, "cnn", config, seed=0, device=place)
    assert asked == ["cuda", "cpu"]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_an_optimizer_for_a_recording_keeps_its_rate_in_a_tensor(kind):
    config = TrainConfig(optimizer=kind, lr=0.25, weight_decay=0.125)
    model = nn.Linear(2, 2)
    plain, graphed = (make_optimizer(model, config, "cpu", graphed=g) for g in (False, True))
    for optimizer in (plain, graphed):
        (group,) = optimizer.param_groups
        assert group["weight_decay"] == 0.125 and group["lr"] == 0.25 and group["fused"] is True
        if kind != "sgd":
            assert group["capturable"] is (optimizer is graphed)
    assert type(plain.param_groups[0]["lr"]) is float
    assert torch.is_tensor(graphed.param_groups[0]["lr"])


def test_one_generator_on_a_processor_and_its_state_is_all_of_it():
    one = Generators.of_seed(7, "cpu")
    assert one.device is one.cpu and one.cpu.initial_seed() == 7
    state, first = one.state(), torch.rand(3, generator=one.device)
    assert set(state) == {"cpu", "device"}
    other = Generators.of_seed(8, "cpu")
    other.load_state(state)
    assert torch.equal(torch.rand(3, generator=other.cpu), first)


def test_the_seed_of_what_is_held_out_is_that_of_the_model():
    config = TrainConfig(early_stopping=2)
    members = np.arange(200) < 100
    first, again, other = (loop.holdout(members, config, seed) for seed in (0, 0, 1))
    assert first.sum() == 10 and not (first & ~members).any()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# ---- what is said of the machine ---------------------------------------------------------------

CPUINFO = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Some CPU @ 2 GHz: fast\n"


@pytest.mark.parametrize(
    "text, name",
    [
        (CPUINFO + "\nprocessor\t: 1\nmodel name\t: another\n", "Some CPU @ 2 GHz: fast (6/143)"),
        ("model name : Alone\n", "Alone"),
        ("model name : One\nmodel : 3\n", "One (3)"),
        ("Hardware : board\n", "the platform's"),
        (None, "the platform's"),
    ],
)
def test_a_processor_is_named_with_the_numbers_of_its_family(text, name, monkeypatch):
    def read(path, *, encoding):
        assert (path, encoding) == ("/proc/cpuinfo", "utf-8")
        if text is None:
            raise FileNotFoundError(path)
        return io.StringIO(text)

    monkeypatch.setattr(device, "open", read, raising=False)
    monkeypatch.setattr("platform.processor", lambda: "the platform's")
    assert device.describe("cpu") == name


@pytest.mark.parametrize("there", [False, True])
def test_auto_is_the_gpu_where_there_is_one(there, monkeypatch):
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: there)
    assert device.resolve_device("auto") == ("cuda" if there else "cpu")
    assert device.resolve_device("cpu") == "cpu"
    if there:
        assert device.resolve_device("cuda") == "cuda"


@pytest.mark.parametrize("native", [False, True])
def test_auto_is_bf16_where_the_processor_multiplies_it(native, monkeypatch):
    monkeypatch.setattr(device.torch.cuda, "is_bf16_supported", lambda: native)
    monkeypatch.setattr(device, "_multiplies_bf16", lambda: not native)
    assert device.resolve_precision("auto", "cuda") == ("bf16" if native else "fp32")
    assert device.resolve_precision("auto", "cpu") == ("fp32" if native else "bf16")
    for given in ("fp32", "bf16"):
        assert device.resolve_precision(given, "cpu") == device.resolve_precision(given, "cuda")
        assert device.resolve_precision(given, "cpu") == given


@pytest.mark.parametrize("vector, tile", [(False, False), (True, False), (False, True)])
def test_either_of_two_instructions_multiplies_bf16(vector, tile, monkeypatch):
    monkeypatch.setattr(device.torch.cpu, "_is_avx512_bf16_supported", lambda: vector)
    monkeypatch.setattr(device.torch.cpu, "_is_amx_tile_supported", lambda: tile)
    assert device._multiplies_bf16() is (vector or tile)
