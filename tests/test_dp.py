"""DP-SGD: exact per-record gradients, the clipping bound, the accountant, and clear refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from mia_utils import (
    DPConfig,
    InputError,
    Pool,
    Store,
    TrainConfig,
    balanced_masks,
    load_model,
    train,
)
from mia_utils.training.dp import (
    WeightStandardisation,
    epsilon_of,
    fit_private,
    noise_multiplier,
    private_layers,
    sampling,
)
from mia_utils.training.loop import Loader, fit
from mia_utils.training.models import build

NOISY = DPConfig(noise_multiplier=1.0, delta=1e-3)
FAST = TrainConfig(epochs=2, batch_size=16, dp=NOISY)


@pytest.fixture(scope="module")
def pool():
    records = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3), dtype=np.uint8)
    return Pool.from_arrays("toy", records, np.arange(120) % 4)


def private(pool, config, members=None, seed=0, architecture="cnn"):
    members = np.arange(len(pool)) < 60 if members is None else members
    return fit_private(pool.records, pool.labels, 4, members, architecture, config, seed=seed)


def test_standardised_kernels_have_mean_0_and_the_variance_of_the_paper(pool):
    layer = private_layers(build("cnn", pool.shape, 4), True)[0]
    kernels = layer.weight.flatten(1)
    fan_in = kernels.shape[1]
    torch.testing.assert_close(kernels.mean(dim=1), torch.zeros(32), rtol=0, atol=1e-6)
    variance = torch.full((32,), 2 / (1 - 1 / math.pi) / fan_in)
    torch.testing.assert_close(kernels.var(dim=1, unbiased=False), variance)
    constant = WeightStandardisation()(torch.ones(2, 3, 3, 3))
    assert torch.equal(constant, torch.zeros_like(constant))


def test_a_standardised_model_comes_back_from_the_store(pool, tmp_path):
    dp = replace(NOISY, weight_standardisation=True)
    masks = balanced_masks(pool.labels.size, models=2, seed=0)
    outputs = train(pool, masks, "cnn", replace(FAST, dp=dp), store=tmp_path, progress=False)
    model, record = load_model(outputs.names[0], tmp_path)
    assert record["config"]["dp"]["weight_standardisation"]
    x = Loader(pool.records, pool.labels, "cpu")(torch.arange(20))
    with torch.no_grad():
        torch.testing.assert_close(model(x).numpy(), outputs.logits[0][:20], rtol=1e-4, atol=1e-5)
    plain = train(pool, masks, "cnn", FAST, store=tmp_path, progress=False)
    assert not np.array_equal(plain.logits, outputs.logits)


def test_copies_spend_no_privacy_and_need_an_augmentation(pool):
    several = TrainConfig(
        epochs=1, batch_size=16, augmentation="crop_flip",
        dp=DPConfig(noise_multiplier=1.0, delta=1e-3, multiplicity=3),
    )  # fmt: skip
    one = replace(several, dp=replace(several.dp, multiplicity=1))
    a, b = private(pool, several), private(pool, one)
    assert a.privacy == b.privacy and not np.array_equal(a.logits, b.logits)
    with pytest.raises(InputError, match="multiplicity=3 without augmentation"):
        replace(several, augmentation="none")
    with pytest.raises(InputError, match="multiplicity=0"):
        DPConfig(epsilon=1.0, multiplicity=0)


@pytest.mark.parametrize("optimizer, physical", [("sgd", 256), ("sgd", 5), ("adam", 256)])
def test_one_step_is_the_clipped_sum_of_the_paper(pool, optimizer, physical, monkeypatch):
    """Algorithm 1 without noise, written out; in one part and gathered from several."""
    monkeypatch.setattr("mia_utils.dp._PHYSICAL", physical)
    config = TrainConfig(
        epochs=1, batch_size=60, optimizer=optimizer, lr=0.5,
        dp=DPConfig(noise_multiplier=0.0, max_grad_norm=0.3, delta=1e-3),
    )  # fmt: skip
    trained = private(pool, config)  # sampling rate 1: every member in the one step
    torch.manual_seed(0)
    model = build("cnn", pool.shape, 4)
    loader = Loader(pool.records, pool.labels, "cpu")
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for i in range(60):
        loss = functional.cross_entropy(model(loader(torch.tensor([i]))), loader.labels[i : i + 1])
        gradient = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum((g**2).sum() for g in gradient))
        for t, g in zip(total, gradient, strict=True):
            t += g * min(1.0, 0.3 / norm)
    for p, t, q in zip(parameters, total, trained.model.parameters(), strict=True):
        expected = p - 0.5 * t / 60
        if optimizer == "adam":  # its first step divides rounding by rounding where t is nearly 0
            mean = t / 60
            expected = torch.where(mean.abs() > 1e-5, p - 0.5 * mean / (mean.abs() + 1e-8), q)
        torch.testing.assert_close(q, expected, rtol=1e-4, atol=1e-5)
    assert trained.privacy["epsilon"] == math.inf


def test_no_record_moves_the_sum_by_more_than_the_bound(pool):
    config = TrainConfig(
        epochs=1, batch_size=60, optimizer="sgd", lr=1.0,
        dp=DPConfig(noise_multiplier=0.0, max_grad_norm=0.3, delta=1e-3),
    )  # fmt: skip
    everyone = np.arange(120) < 60
    without = everyone.copy()
    without[7] = False
    a, b = (private(pool, config, members).model.parameters() for members in (everyone, without))
    # Both steps divide by their own expected size, 60 and 59.
    initial = list(build_seeded(pool).parameters())
    sums = [
        torch.cat([((p0 - p) * n).ravel() for p0, p in zip(initial, after, strict=True)])
        for after, n in ((a, 60), (b, 59))
    ]
    assert (sums[0] - sums[1]).norm() <= 0.3 * (1 + 1e-3)


def build_seeded(pool):
    torch.manual_seed(0)
    return build("cnn", pool.shape, 4)


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_epsilon_is_that_of_another_accountant(accountant):
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    noise, rate, steps = 1.1, 0.02, 500
    dp = DPConfig(noise_multiplier=noise, delta=1e-5, accountant=accountant)
    event = dp_event.SelfComposedDpEvent(
        dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), steps
    )
    other = (PLDAccountant if accountant == "prv" else RdpAccountant)()
    expected = other.compose(event).get_epsilon(1e-5)
    assert epsilon_of(dp, noise, rate, steps) == pytest.approx(expected, rel=0.02)


def test_the_noise_keeps_the_promise():
    dp = DPConfig(epsilon=3.0, delta=1e-4)
    noise = noise_multiplier(dp, 0.1, 60)
    assert 2.9 < epsilon_of(dp, noise, 0.1, 60) <= 3.0


def test_training_is_repeatable_and_its_noise_is_there(pool):
    a, b, c = private(pool, FAST), private(pool, FAST), private(pool, FAST, seed=1)
    np.testing.assert_array_equal(a.logits, b.logits)
    assert not np.array_equal(a.logits, c.logits)
    rate, steps = sampling(FAST, 60)
    assert (rate, steps) == (16 / 60, 8) and a.privacy["steps"] == 8
    assert 0 < a.privacy["epsilon"] < math.inf


def test_an_empty_batch_still_takes_a_step(pool):
    config = TrainConfig(epochs=40, batch_size=1, dp=NOISY)
    trained = private(pool, config, np.arange(120) < 2)
    assert np.isfinite(trained.logits).all() and trained.privacy["steps"] == 80


def test_through_the_engine_and_back(pool, tmp_path):
    masks = balanced_masks(len(pool), models=2, seed=0)
    with pytest.warns(UserWarning, match="GroupNorm takes its place"):
        outputs = train(
            pool, masks, "resnet", TrainConfig(epochs=1, batch_size=30, dp=NOISY),
            store=tmp_path, jobs=1, progress=False,
        )  # fmt: skip
    model, record = load_model(outputs.names[0], tmp_path)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    assert record["privacy"]["delta"] == 1e-3 and record["config"]["dp"]["noise_multiplier"] == 1.0
    with torch.no_grad():
        again = model(Loader(pool.records, pool.labels, "cpu")(torch.arange(120)))
    np.testing.assert_allclose(again.numpy(), outputs.logits[0], atol=1e-4)


def test_plain_training_is_named_as_before():
    assert TrainConfig(epochs=3).changed() == {"epochs": 3}
    assert FAST.changed()["dp"]["noise_multiplier"] == 1.0


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: DPConfig(), "exactly one"),
        (lambda: DPConfig(epsilon=1.0, noise_multiplier=1.0), "exactly one"),
        (lambda: DPConfig(epsilon=-1.0), "epsilon=-1.0"),
        (lambda: DPConfig(noise_multiplier=1.0, delta=1.0), "delta=1.0"),
        (lambda: DPConfig(noise_multiplier=1.0, max_grad_norm=0.0), "max_grad_norm=0.0"),
        (lambda: DPConfig(noise_multiplier=1.0, accountant="x"), "accountant='x'"),
        (lambda: TrainConfig(dp=NOISY, mixup=1.0), "dp and mixup"),
        (lambda: TrainConfig(dp=NOISY, early_stopping=3), "dp and early_stopping"),
    ],
)
def test_settings_that_break_the_promise(make, word):
    with pytest.raises(InputError, match=word):
        make()


FACTORY = """
from torch import nn
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat, self.line = nn.Flatten(), nn.Linear(192, 4)
        self.norm = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)
    def forward(self, x):
        return self.norm(self.line(self.flat(x))[..., None])[..., 0]
def net(shape, classes):
    return Odd()
"""


@pytest.mark.parametrize(
    "architecture, dp, precision, word",
    [
        ("odd_net:net", NOISY, "fp32", "cannot be trained with dp"),
        ("cnn", DPConfig(epsilon=1e-6, delta=1e-3), "fp32", "cannot be reached"),
        (
            "cnn",
            DPConfig(noise_multiplier=1.0, delta=0.5),
            "fp32",
            "with 5[0-9] members|with 6[0-9] members",
        ),
        ("cnn", NOISY, "bf16", "trains in fp32"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    architecture, dp, precision, word, pool, tmp_path, monkeypatch
):
    (tmp_path / "odd_net.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    masks = balanced_masks(len(pool), models=2, seed=0)
    config = TrainConfig(epochs=1, batch_size=16, dp=dp)
    with pytest.raises(InputError, match=word):
        train(
            pool, masks, architecture, config, precision=precision, store=tmp_path, progress=False
        )
    assert Store(tmp_path).names() == []


def test_the_branch_is_taken(pool):
    members = np.arange(len(pool)) < 60
    a = fit(pool.records, pool.labels, 4, members, "cnn", FAST, seed=0)
    np.testing.assert_array_equal(a.logits, private(pool, FAST).logits)
