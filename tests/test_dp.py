"""DP-SGD from outside: what a record moves, what the noise is, what the accountant counts."""

import json
import math
import threading
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from private_zoo import AT_RANDOM, REFUSED, TAKEN
from scipy import stats
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
from mia_utils.defenses import preset
from mia_utils.training import dp, epochs
from mia_utils.training.accounting import sampling
from mia_utils.training.batches import Loader
from mia_utils.training.dp import WeightStandardisation, check_private, fit_private, private_layers
from mia_utils.training.epochs import Diverged
from mia_utils.training.loop import fit
from mia_utils.training.models import build
from mia_utils.training.worker import Stopped, Worker

NOISY = DPConfig(noise_multiplier=1.0, delta=1e-3)
FAST = TrainConfig(epochs=2, batch_size=16, dp=NOISY)
CLIPPED = TrainConfig(
    epochs=1,
    batch_size=200,
    optimizer="sgd",
    lr=1.0,
    weight_decay=0.1,
    dp=DPConfig(noise_multiplier=0.0, max_grad_norm=0.3, delta=1e-3),
)
BUILT_IN = ("cnn", "mlp", "resnet")
MODELS = (*BUILT_IN, *(f"private_zoo:{name}" for name in TAKEN))
RANDOM = tuple(f"private_zoo:{name}" for name in AT_RANDOM)


@pytest.fixture(scope="module")
def pool():
    records = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3), dtype=np.uint8)
    return Pool.from_arrays("toy", records, np.arange(120) % 4)


def private(pool, config, members=None, seed=0, architecture="cnn"):
    members = np.arange(len(pool)) < 60 if members is None else members
    return fit_private(pool.records, pool.labels, 4, members, architecture, config, seed=seed)


def begun(pool, architecture="cnn"):
    """The model that a training with seed 0 begins with."""
    torch.manual_seed(0)
    return private_layers(build(architecture, pool.shape, 4))


@pytest.fixture
def released(monkeypatch):
    """The gradients that every step of a training hands to its optimizer, by parameter name."""
    steps = []

    def watched(model, *arguments, **options):
        optimizer = make(model, *arguments, **options)

        def look(*_):
            steps.append(
                {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
            )

        optimizer.register_step_pre_hook(look)
        return optimizer

    make = dp.make_optimizer
    monkeypatch.setattr(dp, "make_optimizer", watched)
    return steps


def noise_of(step, size=1.0):
    """All gradients of a step as one vector."""
    return torch.cat([g.ravel() * size for g in step.values() if g is not None]).numpy()


def correlation(a, b):
    return abs(np.corrcoef(a, b)[0, 1]) * math.sqrt(len(a))  # about normal if there is none


# ---- the bound ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer, physical", [("sgd", 256), ("sgd", 5), ("adam", 256)])
def test_one_step_is_the_clipped_sum_of_the_paper(pool, optimizer, physical, monkeypatch):
    """Algorithm 1 without noise, written out; in one part and gathered from several."""
    monkeypatch.setattr(dp, "_PHYSICAL", physical)
    config = replace(CLIPPED, batch_size=60, optimizer=optimizer, lr=0.5, weight_decay=0.0)
    trained = private(pool, config)  # sampling rate 1: every member in the one step
    model = begun(pool)
    loader = Loader(pool.records, pool.labels, "cpu")
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for i in range(60):
        loss = functional.cross_entropy(model(loader(torch.tensor([i]))), loader.labels[i : i + 1])
        gradient = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum((g**2).sum() for g in gradient))
        for t, g in zip(total, gradient, strict=True):
            t += g * min(1.0, 0.3 / norm)
    for p, t, q in zip(parameters, total, trained.weights.values(), strict=True):
        expected = p - 0.5 * t / 60
        if optimizer == "adam":  # its first step divides rounding by rounding where t is nearly 0
            mean = t / 60
            expected = torch.where(mean.abs() > 1e-5, p - 0.5 * mean / (mean.abs() + 1e-8), q)
        torch.testing.assert_close(q, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", MODELS)
def test_no_record_moves_the_sum_by_more_than_the_bound_and_nothing_moves_what_is_frozen(
    architecture, pool, released
):
    """Of everything that is trained together; one of the records stands out by far."""
    loud = pool.records.copy()
    loud[7] = 255 * (np.indices((8, 8, 3)).sum(axis=0) % 2)
    everyone = np.arange(120) < 24
    after = []
    for kept in (everyone, everyone & (np.arange(120) != 7)):
        trained = fit_private(loud, pool.labels, 4, kept, architecture, CLIPPED, seed=0)
        after.append(trained.weights)
    sums = [noise_of(step, n) for step, n in zip(released, (24, 23), strict=True)]
    moved = np.linalg.norm(sums[0] - sums[1])
    assert 0.5 * 0.3 < moved <= 0.3 * (1 + 1e-4)
    fresh = begun(pool, architecture)
    frozen = [name for name, p in fresh.named_parameters() if not p.requires_grad]
    assert ("frozen" in architecture) == bool(frozen)
    for name in frozen:
        before = fresh.get_parameter(name)
        assert all(torch.equal(weights[name], before) for weights in after)
        assert all(step[name] is None for step in released)
    assert any(not torch.equal(after[0][name], after[1][name]) for name in after[0])


@pytest.mark.parametrize("architecture", [*MODELS, *RANDOM])
def test_a_record_alone_is_no_longer_than_the_bound(architecture, pool, released):
    private(pool, CLIPPED, np.arange(120) == 7, architecture=architecture)
    assert 0.5 * 0.3 < np.linalg.norm(noise_of(released[0])) <= 0.3 * (1 + 1e-4)


@pytest.mark.parametrize("architecture", [*MODELS, *RANDOM])
def test_every_trained_parameter_gets_the_promised_noise(architecture, pool, released):
    """Standard deviation 50 x 0.5, where two records move the sum by 1 at most."""
    config = replace(
        CLIPPED, epochs=2, dp=DPConfig(noise_multiplier=50.0, max_grad_norm=0.5, delta=1e-3)
    )
    trained = private(pool, config, np.arange(120) < 2, architecture=architecture)
    assert len(released) == trained.privacy["steps"] == 2
    fresh = begun(pool, architecture)
    names = [name for name, p in fresh.named_parameters() if p.requires_grad]
    assert names
    for step in released:
        assert [name for name, g in step.items() if g is not None] == names
        for name in names:
            z = step[name].numpy().ravel() * 2 / 25
            low, high = stats.chi2.ppf([1e-7, 1 - 1e-7], z.size)
            assert low * 0.8 < (z**2).sum() < high * 1.2 and abs(z.sum()) < 6 * z.size**0.5 + 1
    assert correlation(*(noise_of(step) for step in released)) < 5
    drawn = np.concatenate([released[0][name].numpy().ravel()[:2000] for name in names])
    assert len(np.unique(drawn)) > 0.99 * drawn.size  # no parameter repeats another's noise


def test_copies_of_a_record_do_not_move_the_sum_by_more_than_the_bound(pool, released):
    config = replace(CLIPPED, augmentation="crop_flip", dp=replace(CLIPPED.dp, multiplicity=3))
    private(pool, config, np.arange(120) == 7)
    assert 0.15 < np.linalg.norm(noise_of(released[0])) <= 0.3 * (1 + 1e-4)


def test_a_record_beyond_all_numbers_counts_for_nothing(released):
    """Features of 1e30 have gradients of infinity, and infinity times zero is no number."""
    features = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    members, labels = np.ones(20, bool), np.arange(20) % 4
    for loud in (1.0, 1e30, 3e38, None):
        features[4] = loud or 0
        members[4] = loud is not None
        with suppress(Diverged):  # what is said of such a record is no number either
            fit_private(features, labels, 4, members, "mlp", CLIPPED, seed=0)
    usual, *loud, without = (
        noise_of(s, n) for s, n in zip(released, (20, 20, 20, 19), strict=True)
    )
    assert 0 < np.linalg.norm(usual - without) <= 0.3 * (1 + 1e-4)
    for each in loud:
        np.testing.assert_allclose(each, without, atol=1e-6)


# ---- the noise is known to nobody --------------------------------------------------------------


def first_noise(pool, released, config=FAST, members=None, **options):
    """Of the first step, where noise is all but everything."""
    config = replace(config, dp=replace(config.dp, noise_multiplier=100.0))
    released.clear()
    private(pool, config, members, **options)
    return noise_of(released[0])


def test_the_noise_does_not_follow_from_the_initial_weights(pool, released):
    """The normal numbers that torch makes of the uniform ones that the weights were made of."""
    found = first_noise(pool, released)
    model = begun(pool)
    weights = torch.cat([p.ravel() for p in model.parameters()]).detach().numpy()
    assert correlation(found, weights) < 5
    first = model[0].weight.detach().ravel()
    uniform = (first / (1 / math.sqrt(27)) + 1) / 2
    a, b = uniform.view(-1, 2, 8).double().unbind(dim=1)  # Box and Muller, sixteen at a time
    radius, angle = (-2 * torch.log(1 - a)).sqrt(), 2 * math.pi * b
    guessed = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1).ravel()
    seeded = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    assert correlation(guessed.numpy(), seeded.numpy()) > 0.99 * math.sqrt(len(guessed))
    assert correlation(found[: len(guessed)], guessed.numpy()) < 5


def test_the_noise_is_no_stream_that_the_seed_starts_elsewhere(pool, released):
    found = first_noise(pool, released)
    known = [torch.randn(found.size, generator=torch.Generator().manual_seed(0)).numpy()]
    known += [np.random.default_rng(s).standard_normal(found.size) for s in (0, [0, 0, 0], [0, 4])]
    assert all(correlation(found, stream) < 5 for stream in known)


def test_no_two_models_share_their_noise_or_their_draws(pool, released, monkeypatch):
    """Else the difference of two of them, with the same noise of two sizes, shows the records."""
    drawn = []

    def looked_at(loader, index, *others):
        drawn.append(tuple(index.tolist()))
        return batch(loader, index, *others)

    batch = dp.training_batch
    monkeypatch.setattr(dp, "training_batch", looked_at)
    members = np.arange(len(pool)) < 60
    other = Pool.from_arrays("toy", pool.records.copy(), pool.labels)
    other.records[3, 0, 0, 0] ^= 1
    relabelled = Pool.from_arrays("toy", pool.records, np.roll(pool.labels, 1))
    outsider = Pool.from_arrays("toy", pool.records.copy(), pool.labels)
    outsider.records[80] ^= 1
    cases = {
        "same": {},
        "seed": {"seed": 1},
        "wide seed": {"seed": 2**40},
        "rate": {"config": replace(FAST, lr=2e-3)},
        "epochs": {"config": replace(FAST, epochs=3)},
        "promise": {"config": replace(FAST, dp=replace(NOISY, delta=2e-3))},
        "bound": {"config": replace(FAST, dp=replace(NOISY, max_grad_norm=2.0))},
        "one record less": {"members": members & (np.arange(len(pool)) != 3)},
        "one pixel": {"pool": other},
        "labels": {"pool": relabelled},
        "layers of the same sizes": {"architecture": "mlp"},
    }
    noises, batches = {}, {}
    for name, options in cases.items():
        drawn.clear()
        noises[name] = first_noise(**{"pool": pool, "released": released} | options)[:5000]
        batches[name] = tuple(drawn[:4])
    again = first_noise(pool, released)[:5000]
    np.testing.assert_array_equal(again, noises["same"])
    np.testing.assert_array_equal(first_noise(outsider, released)[:5000], again)  # no member
    names = list(cases)
    for i, name in enumerate(names):
        for earlier in names[:i]:
            assert correlation(noises[name], noises[earlier]) < 5, (name, earlier)
            assert batches[name] != batches[earlier], (name, earlier)


def test_steps_and_epochs_have_noise_of_their_own(pool, released):
    config = replace(FAST, epochs=3, dp=replace(NOISY, noise_multiplier=100.0))
    private(pool, config)
    noises = np.array([noise_of(step) for step in released])
    assert len(noises) == 12
    between = np.corrcoef(noises) - np.eye(12)
    assert abs(between).max() * math.sqrt(noises.shape[1]) < 5.5


# ---- the accountant counts what ran ------------------------------------------------------------


def test_the_accountant_counts_the_steps_and_the_rate_that_ran(pool, released, monkeypatch):
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    batches = []

    def counted(model, x, y, *arguments):
        batches.append(len(y))
        return clipped(model, x, y, *arguments)

    clipped = dp.clipped_sum
    monkeypatch.setattr(dp, "clipped_sum", counted)
    config = TrainConfig(epochs=60, batch_size=12, dp=replace(NOISY, noise_multiplier=2.0))
    privacy = private(pool, config, architecture="private_zoo:frozen_layer").privacy
    steps, members = len(released), 60
    assert privacy["steps"] == steps == 300 and privacy["sampling_rate"] == 0.2
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], steps * members, 0.2)
    assert low <= sum(batches) <= high
    sizes = np.array(batches + [0] * (steps - len(batches)))
    spread = sizes.var() / (members * 0.2 * 0.8)  # of Poisson sampling: batches of all sizes
    assert 0.7 < spread < 1.4
    event = dp_event.SelfComposedDpEvent(
        dp_event.PoissonSampledDpEvent(
            sum(batches) / steps / members, dp_event.GaussianDpEvent(2.0)
        ),
        steps,
    )
    counted = PLDAccountant().compose(event).get_epsilon(1e-3)
    assert privacy["epsilon"] == pytest.approx(counted, rel=0.05)
    assert privacy["accountant"] == "prv" and privacy["delta"] == 1e-3
    assert privacy["noise_multiplier"] == 2.0


def test_every_member_is_drawn_as_often_and_nobody_else(pool, monkeypatch):
    taken = np.zeros(len(pool), int)

    def looked_at(loader, index, *others):
        assert len(np.unique(index)) == len(index)
        np.add.at(taken, index.numpy(), 1)
        return batch(loader, index, *others)

    batch = dp.training_batch
    monkeypatch.setattr(dp, "training_batch", looked_at)
    members = np.arange(len(pool)) % 2 == 0
    config = TrainConfig(epochs=60, batch_size=12, dp=NOISY)
    private(pool, config, members, architecture="private_zoo:frozen_layer")
    assert (taken[~members] == 0).all()
    low, high = stats.binom.ppf([1e-5, 1 - 1e-5], 300, 0.2)
    assert (low <= taken[members]).all() and (taken[members] <= high).all()


def test_the_promise_is_kept_by_the_noise_that_was_added(pool, released):
    config = TrainConfig(epochs=2, batch_size=30, dp=DPConfig(epsilon=0.1, delta=1e-3))
    privacy = private(pool, config).privacy
    assert 0.09 < privacy["epsilon"] <= 0.1
    spread = noise_of(released[0], 30).std()
    assert spread == pytest.approx(privacy["noise_multiplier"], rel=0.01)


def test_the_record_holds_no_figure_that_nothing_has_noised_and_is_strict_json(pool):
    trained = private(pool, replace(FAST, dp=DPConfig(noise_multiplier=0.0)))
    assert trained.losses == []
    assert (
        trained.privacy["epsilon"] is None
        and "promises nothing" in trained.privacy["why_no_epsilon"]
    )
    assert json.loads(json.dumps(trained.privacy, allow_nan=False)) == trained.privacy
    noised = private(pool, FAST).privacy
    assert "why_no_epsilon" not in noised and 0 < noised["epsilon"] < math.inf
    assert "seed" in noised["covers"] and "members" in noised["covers"]
    assert noised["unit"] == "one record"


@pytest.mark.parametrize("architecture", ["cnn", "private_zoo:dropouts"])
def test_a_killed_training_goes_on_with_the_same_bits_and_the_same_account(
    architecture, pool, released, tmp_path, monkeypatch
):
    """Weights, moments, draws, dropout, augmentation, noise, and the number of steps."""
    config = replace(FAST, epochs=5, augmentation="crop_flip", lr_drop=3)
    whole = private(pool, config, architecture=architecture)
    steps = [noise_of(step) for step in released]
    path, save = tmp_path / "model.pt", epochs.save_checkpoint

    def dies_after_the_second(path, state):
        save(path, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    released.clear()
    members = np.arange(len(pool)) < 60
    options = {"seed": 0, "checkpoint": path, "checkpoint_every": 0.0}
    arguments = (pool.records, pool.labels, 4, members, architecture, config)
    monkeypatch.setattr(epochs, "save_checkpoint", dies_after_the_second)
    with pytest.raises(KeyboardInterrupt):
        fit(*arguments, **options)
    assert len(released) == 8
    monkeypatch.setattr(epochs, "save_checkpoint", save)
    resumed = fit(*arguments, **options)
    assert len(released) == 20  # 8 before the kill, 12 after it: none twice
    for mine, theirs in zip(released, steps, strict=True):
        np.testing.assert_array_equal(noise_of(mine), theirs)
    np.testing.assert_array_equal(resumed.logits, whole.logits)
    assert all(torch.equal(resumed.weights[name], value) for name, value in whole.weights.items())
    assert resumed.privacy == whole.privacy and resumed.privacy["steps"] == 20


def test_looking_at_every_epoch_changes_nothing(pool):
    seen = {}
    members = np.arange(len(pool)) < 60
    arguments = (pool.records, pool.labels, 4, members, "cnn", FAST)
    watched = fit(*arguments, seed=0, observe=lambda epoch, logits: seen.update({epoch: logits}))
    assert list(seen) == [1, 2]
    np.testing.assert_array_equal(seen[2], watched.logits)
    np.testing.assert_array_equal(watched.logits, private(pool, FAST).logits)


# ---- what is trained ---------------------------------------------------------------------------


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
    standardised = replace(NOISY, weight_standardisation=True)
    masks = balanced_masks(pool.labels.size, models=2, seed=0)
    outputs = train(
        pool, masks, "cnn", replace(FAST, dp=standardised), store=tmp_path, progress=False
    )
    model, record = load_model(outputs.names[0], tmp_path)
    assert record["config"]["dp"]["weight_standardisation"]
    x = Loader(pool.records, pool.labels, "cpu")(torch.arange(20))
    with torch.no_grad():
        torch.testing.assert_close(model(x).numpy(), outputs.logits[0][:20], rtol=1e-4, atol=1e-5)
    plain = train(pool, masks, "cnn", FAST, store=tmp_path, progress=False)
    assert not np.array_equal(plain.logits, outputs.logits)


def test_copies_spend_no_privacy_and_need_an_augmentation(pool):
    several = TrainConfig(
        epochs=1,
        batch_size=16,
        augmentation="crop_flip",
        dp=DPConfig(noise_multiplier=1.0, delta=1e-3, multiplicity=3),
    )
    one = replace(several, dp=replace(several.dp, multiplicity=1))
    a, b = private(pool, several), private(pool, one)
    assert a.privacy == b.privacy and not np.array_equal(a.logits, b.logits)
    with pytest.raises(InputError, match="multiplicity=3 without augmentation"):
        replace(several, augmentation="none")
    with pytest.raises(InputError, match="multiplicity=0"):
        DPConfig(epsilon=1.0, multiplicity=0)


def test_training_is_repeatable(pool):
    a, b, c = private(pool, FAST), private(pool, FAST), private(pool, FAST, seed=1)
    np.testing.assert_array_equal(a.logits, b.logits)
    assert not np.array_equal(a.logits, c.logits)
    rate, steps = sampling(FAST, 60)
    assert (rate, steps) == (16 / 60, 8) and a.privacy["steps"] == 8


def test_an_empty_batch_still_takes_a_noised_step(pool, released):
    config = TrainConfig(epochs=40, batch_size=1, dp=NOISY)
    trained = private(pool, config, np.arange(120) < 2)
    assert np.isfinite(trained.logits).all() and trained.privacy["steps"] == 80
    assert len(released) == 80
    assert all(0.9 < noise_of(step).std() < 1.1 for step in released)


def test_through_the_engine_and_back(pool, tmp_path):
    masks = balanced_masks(len(pool), models=2, seed=0)
    with pytest.warns(UserWarning, match="GroupNorm takes its place"):
        outputs = train(
            pool,
            masks,
            "resnet",
            TrainConfig(epochs=1, batch_size=30, dp=NOISY),
            store=tmp_path,
            jobs=1,
            progress=False,
        )
    model, record = load_model(outputs.names[0], tmp_path)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    assert record["privacy"]["delta"] == 1e-3 and record["config"]["dp"]["noise_multiplier"] == 1.0
    assert record["losses"] == [] and record["recipe"] == dp.RECIPE == 3
    with torch.no_grad():
        again = model(Loader(pool.records, pool.labels, "cpu")(torch.arange(120)))
    np.testing.assert_allclose(again.numpy(), outputs.logits[0], atol=1e-4)


def test_plain_training_is_named_as_before():
    assert TrainConfig(epochs=3).changed() == {"epochs": 3}
    assert FAST.changed()["dp"] == {"noise_multiplier": 1.0, "delta": 1e-3}


def test_the_same_promise_in_other_types_is_the_same_model():
    plain = DPConfig(epsilon=8.0, multiplicity=2, weight_standardisation=True)
    other = DPConfig(
        epsilon=np.int64(8), multiplicity=2.0, max_grad_norm=1, weight_standardisation=np.True_
    )
    assert plain == other and repr(plain) == repr(other)


def test_the_rate_of_a_step_is_that_of_its_place_in_the_schedule(pool, released, monkeypatch):
    asked = []
    rate = TrainConfig.rate
    monkeypatch.setattr(
        TrainConfig, "rate", lambda self, epoch: asked.append(epoch) or rate(self, epoch)
    )
    private(pool, replace(FAST, schedule="one_cycle"), architecture="private_zoo:frozen_layer")
    assert asked == [(i + 0.5) / 4 for i in range(8)]


def test_a_model_without_noise_is_recorded_in_strict_json(pool, tmp_path):
    """The preset "dp_clip": no epsilon, rather than an infinite one that no JSON reader takes."""

    def refuse(constant):
        raise AssertionError(constant)

    settings = preset("dp_clip").changes["dp"]
    config = replace(FAST, epochs=1, dp=replace(settings, delta=1e-3))
    masks = balanced_masks(len(pool), models=2, seed=0)
    train(pool, masks, "private_zoo:frozen_layer", config, store=tmp_path, jobs=1, progress=False)
    (path, _) = tmp_path.glob("models/*/record.json")
    record = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert record["privacy"]["epsilon"] is None and record["privacy"]["why_no_epsilon"]


def test_a_training_that_nobody_waits_for_ends(pool):
    gone = threading.Event()
    gone.set()
    worker = Worker(stopped=gone)
    members = np.arange(len(pool)) < 60
    with pytest.raises(Stopped):
        fit(pool.records, pool.labels, 4, members, "cnn", FAST, seed=0, worker=worker)


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: DPConfig(), "exactly one"),
        (lambda: DPConfig(epsilon=1.0, noise_multiplier=1.0), "exactly one"),
        (lambda: DPConfig(epsilon=-1.0), "epsilon=-1.0"),
        (lambda: DPConfig(noise_multiplier=1.0, delta=1.0), "delta=1.0"),
        (lambda: DPConfig(noise_multiplier=1.0, max_grad_norm=0.0), "max_grad_norm=0.0"),
        (lambda: DPConfig(noise_multiplier=1.0, accountant="x"), "accountant='x'"),
        (lambda: DPConfig(noise_multiplier=1.0, accountant=["prv"]), "accountant="),
        (lambda: DPConfig(epsilon="8"), "epsilon='8'.*without quotes"),
        (lambda: DPConfig(epsilon="1e3"), "epsilon='1e3'.*1.0e.3"),
        (lambda: DPConfig(epsilon=math.inf), "epsilon=inf"),
        (lambda: DPConfig(epsilon=0), "epsilon=0"),
        (lambda: DPConfig(epsilon=True), "epsilon=True"),
        (lambda: DPConfig(noise_multiplier=math.nan), "noise_multiplier=nan"),
        (lambda: DPConfig(noise_multiplier=-0.1), "noise_multiplier=-0.1"),
        (lambda: DPConfig(noise_multiplier=1.0, delta=0.0), "delta=0.0"),
        (lambda: DPConfig(noise_multiplier=1.0, max_grad_norm=math.inf), "max_grad_norm=inf"),
        (lambda: DPConfig(noise_multiplier=1.0, multiplicity=1.5), "multiplicity=1.5"),
        (lambda: DPConfig(noise_multiplier=1.0, weight_standardisation="no"), "True or False"),
        (lambda: TrainConfig(dp=NOISY, mixup=1.0), "dp and mixup|mixup and dp"),
        (
            lambda: TrainConfig(dp=NOISY, early_stopping=3),
            "dp and early_stopping|early_stopping and dp",
        ),
    ],
)
def test_settings_that_break_the_promise(make, word):
    with pytest.raises(InputError, match=word):
        make()


@pytest.mark.parametrize(
    "architecture, settings, precision, word",
    [
        *((f"private_zoo:{name}", NOISY, "fp32", word) for name, word in REFUSED.items()),
        ("cnn", DPConfig(epsilon=1e-6, delta=1e-12), "fp32", "cannot be reached"),
        ("cnn", NOISY, "bf16", "trains in fp32"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    architecture, settings, precision, word, pool, tmp_path
):
    masks = balanced_masks(len(pool), models=2, seed=0)
    config = TrainConfig(epochs=1, batch_size=16, dp=settings)
    with pytest.raises(InputError, match=word):
        train(
            pool, masks, architecture, config, precision=precision, store=tmp_path, progress=False
        )
    assert Store(tmp_path).names() == []


def test_delta_must_be_below_one_over_the_members(pool):
    def check(delta, sizes):
        config = TrainConfig(epochs=1, batch_size=16, dp=replace(NOISY, delta=delta))
        check_private("private_zoo:frozen_layer", pool, config, sizes, "fp32")

    check(1 / 65, [64])
    check(1 / 64 - 1e-9, [64])
    with pytest.raises(InputError, match=r"delta=0.015625 with 64 members.*take delta=0.002"):
        check(1 / 64, [32, 64])
    with pytest.raises(InputError, match="with 64 members"):
        check(0.5, [64])


@pytest.mark.parametrize("architecture", [*MODELS, *RANDOM])
def test_what_is_taken_passes_the_check_before_training(architecture, pool):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check_private(architecture, pool, FAST, [60], "fp32")


def test_buffers_that_change_late_end_the_training(pool, monkeypatch):
    """What the trial before the training cannot see."""
    monkeypatch.setattr(dp, "_not_private", lambda *_: "")
    with pytest.raises(InputError, match="changed its buffers during the training"):
        private(pool, FAST, architecture="private_zoo:spectral_norm")


def test_the_branch_is_taken(pool):
    members = np.arange(len(pool)) < 60
    a = fit(pool.records, pool.labels, 4, members, "cnn", FAST, seed=0)
    np.testing.assert_array_equal(a.logits, private(pool, FAST).logits)
