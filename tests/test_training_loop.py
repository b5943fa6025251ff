"""The training loop against loops written out: who is trained on, at which rate, what is kept."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mia_utils import DPConfig, InputError, Pool, TrainConfig, quarter_masks, train
from mia_utils.data import Masks
from mia_utils.training import epochs
from mia_utils.training.augment import crop_flip
from mia_utils.training.batches import Loader
from mia_utils.training.checkpoint import load_checkpoint, save_checkpoint
from mia_utils.training.early_stopping import EarlyStopping
from mia_utils.training.epochs import Diverged, score
from mia_utils.training.generators import DrawnFrom, Dropout, Generators
from mia_utils.training.graphs import EagerStep
from mia_utils.training.loop import fit, holdout, last_batches
from mia_utils.training.models import build
from mia_utils.training.relax_loss import RelaxLoss
from mia_utils.training.worker import make_optimizer

RNG = np.random.default_rng(0)
RECORDS = RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(60) % 4
MEMBERS = RNG.random(60) < 0.6
TABLE = RNG.random((60, 12), dtype=np.float32)


def run(config: dict, records=RECORDS, architecture="cnn", seed=1, **options):
    config = TrainConfig(**{"epochs": 2, "batch_size": 8, **config})
    return fit(records, LABELS, 4, MEMBERS, architecture, config, seed=seed, **options)


@pytest.fixture
def batches(monkeypatch):
    """Row numbers of every step, one list an optimizer's life."""
    seen = []
    original = EagerStep.__call__

    def call(self, index):
        seen.append(index.tolist())
        return original(self, index)

    monkeypatch.setattr(EagerStep, "__call__", call)
    return seen


def written_out(config: TrainConfig, seed: int, records=TABLE, label_smoothing=0.0, rates=None):
    """The same training in plain torch: model, and mean loss of each epoch."""
    with DrawnFrom(Generators.of_seed(seed, "cpu")):
        model = build("mlp", records.shape[1:], 4)
    rates = rates or [config.lr] * config.epochs
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    extra = {"momentum": config.momentum, "nesterov": config.nesterov}
    optimizer = kind[config.optimizer](
        model.parameters(),
        lr=rates[0],
        weight_decay=config.weight_decay,
        **(extra if config.optimizer == "sgd" else {}),
    )
    x, y, losses = torch.from_numpy(records), torch.from_numpy(LABELS), []
    for epoch, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        order = np.random.default_rng([seed, 0, epoch]).permutation(np.flatnonzero(MEMBERS))
        total = 0.0
        for start in range(0, len(order), config.batch_size):
            batch = order[start : start + config.batch_size]
            optimizer.zero_grad()
            loss = functional.cross_entropy(
                model(x[batch]), y[batch], label_smoothing=label_smoothing
            )
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(order))
    return model, losses


@pytest.mark.parametrize(
    "changes, rates",
    [
        ({"optimizer": "sgd", "lr": 0.5, "lr_drop": 2, "epochs": 4}, [0.5, 0.5, 0.05, 0.05]),
        ({"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.1}, None),
        ({"optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "nesterov": True, "epochs": 3}, None),
        ({"optimizer": "sgd", "lr": 0.1, "momentum": 0.0}, None),
        ({"optimizer": "adam", "lr": 0.01, "weight_decay": 0.1}, None),
        ({"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1}, None),
        ({"optimizer": "adam", "lr": 0.01, "label_smoothing": 0.3}, None),
    ],
)
def test_settings_reach_the_steps(changes, rates):
    """Rate, its drop, weight decay of both kinds, momentum and smoothing, against plain torch."""
    config = TrainConfig(**{"epochs": 2, "batch_size": 8, **changes})
    trained = run(changes, TABLE, "mlp", seed=7)
    model, losses = written_out(config, 7, label_smoothing=config.label_smoothing, rates=rates)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(
        trained.logits, model(torch.from_numpy(TABLE)).detach().numpy(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("private", [False, True])
def test_one_cycle_changes_the_rate_at_every_step(monkeypatch, private):
    from mia_utils.training.worker import Place

    rates, original = [], Place.set_rate
    monkeypatch.setattr(Place, "set_rate", lambda self, lr: rates.append(lr) or original(self, lr))
    dp = {"dp": DPConfig(noise_multiplier=1.0)} if private else {}
    run({"schedule": "one_cycle", "epochs": 10, "lr": 0.01, **dp}, TABLE, "mlp")
    count = int(MEMBERS.sum())
    steps = 10 * (round(count / 8) if private else -(-count // 8))
    assert len(rates) == len(set(rates)) == steps
    peak = int(np.argmax(rates))
    assert abs(peak / steps - 0.2) < 0.05 and 0.0095 < rates[peak] <= 0.01
    assert 0 < rates[0] < 0.001 and 0 < rates[-1] < 0.001


def test_each_epoch_meets_every_member_once_in_a_new_order_and_nobody_else(batches):
    run({"epochs": 3})
    flat = [i for batch in batches for i in batch]
    count = int(MEMBERS.sum())
    epochs = [flat[i : i + count] for i in range(0, len(flat), count)]
    assert len(epochs) == 3 and {len(b) for b in batches} == {8, count % 8}
    for epoch in epochs:
        assert sorted(epoch) == np.flatnonzero(MEMBERS).tolist()
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    first = list(batches)
    batches.clear()
    run({"epochs": 1}, seed=2)
    assert batches != first[: len(batches)]


def test_scores_are_of_the_model_in_evaluation_mode():
    class Mode(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(12)

        def forward(self, x):
            return self.norm(self.drop(x))[:, :4]

    model = Mode().train()
    loader = Loader(TABLE, LABELS, "cpu")
    before = model.norm.running_mean.clone()
    first, second = score(model, loader), score(model, loader)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, TABLE[:, :4], atol=1e-4)
    assert torch.equal(model.norm.running_mean, before)
    # And through a whole training, in which the last thing before scoring was a step.
    trained = run({"dropout": 0.9}, TABLE, "mlp")
    again = build("mlp", (12,), 4, dropout=0.9)
    again.load_state_dict(trained.weights)
    np.testing.assert_allclose(
        trained.logits, again.eval()(torch.from_numpy(TABLE)).detach().numpy(), atol=1e-5
    )


def test_training_mode_is_back_after_the_hold_out_was_asked(monkeypatch):
    modes, original = [], Dropout.forward

    def forward(self, x):
        if torch.is_grad_enabled():  # a step, not a score
            modes.append(self.training)
        return original(self, x)

    monkeypatch.setattr(Dropout, "forward", forward)
    run({"early_stopping": 3, "epochs": 3, "dropout": 0.5})
    assert modes and all(modes)


def test_scoring_keeps_the_order_of_records_beyond_one_batch():
    table = np.arange(1203 * 4, dtype=np.float32).reshape(1203, 4)
    loader = Loader(table, np.zeros(1203, np.int64), "cpu")
    np.testing.assert_array_equal(score(nn.Identity(), loader), table)
    some = np.array([1100, 3, 700])
    np.testing.assert_array_equal(score(nn.Identity(), loader, some), table[some])


def test_scored_images_are_never_augmented():
    config = {"augmentation": "crop_flip", "lr": 1e-12, "epochs": 1}
    trained = run(config, seed=3)
    plain = run({**config, "augmentation": "none"}, seed=3)
    np.testing.assert_allclose(trained.logits, plain.logits, atol=1e-5)


# ---- early stopping ----------------------------------------------------------------------------


def held_losses(monkeypatch) -> list[float]:
    seen, original = [], EarlyStopping.epoch_ends

    def ends(self, epoch, model, held_loss):
        value = held_loss()
        seen.append(value)
        return original(self, epoch, model, lambda: value)

    monkeypatch.setattr(EarlyStopping, "epoch_ends", ends)
    return seen


def test_of_epochs_that_are_equally_good_the_first_is_kept():
    stopping = EarlyStopping(TrainConfig(early_stopping=2))
    model = nn.Linear(1, 1)
    ends = []
    for epoch, value in enumerate((0.5, 0.5, 0.5)):
        nn.init.constant_(model.weight, epoch)
        ends.append(stopping.epoch_ends(epoch, model, lambda value=value: value))
    stopping.finish(model)
    assert ends == [False, False, True] and model.weight.item() == 0


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_ends_after_its_patience_at_its_best_weights(monkeypatch, patience):
    seen = held_losses(monkeypatch)
    trained = run({"early_stopping": patience, "epochs": 40, "lr": 0.02}, TABLE, "mlp", seed=4)
    best = int(np.argmin(seen))
    assert len(trained.losses) == len(seen) == best + patience + 1 < 40
    held = holdout(MEMBERS, TrainConfig(early_stopping=patience), 4)
    last = functional.cross_entropy(
        torch.from_numpy(trained.logits[held]), torch.from_numpy(LABELS[held])
    )
    assert float(last) == pytest.approx(seen[best], rel=1e-5) and seen[best] < seen[-1]


def test_what_is_held_out_is_a_tenth_of_the_members_by_the_models_own_seed(batches):
    config = TrainConfig(early_stopping=2)
    held = holdout(MEMBERS, config, 9)
    assert held.sum() == MEMBERS.sum() // 10 and not (held & ~MEMBERS).any()
    assert not np.array_equal(held, holdout(MEMBERS, config, 10))
    assert not holdout(MEMBERS, TrainConfig(), 9).any()
    run({"early_stopping": 2}, seed=9)
    assert {i for batch in batches for i in batch} == set(np.flatnonzero(MEMBERS & ~held))
    one = np.zeros(60, bool)
    one[:5] = True
    assert holdout(one, config, 0).sum() == 1


def test_what_the_engine_leaves_out_is_what_no_step_met(batches, tmp_path):
    pool = Pool.from_arrays("toy", RECORDS, LABELS)
    members = np.array([MEMBERS, ~MEMBERS])
    config = TrainConfig(epochs=1, batch_size=8, early_stopping=2)
    outputs = train(
        pool,
        Masks(members, np.ones_like(members)),
        "cnn",
        config,
        seed=5,
        store=tmp_path,
        jobs=1,
        progress=False,
    )
    met = [set(), set()]
    for batch in batches:
        met[int(not MEMBERS[batch[0]])].update(batch)
    for row, seen in enumerate(met):
        left = set(np.flatnonzero(members[row])) - seen
        assert left == set(np.flatnonzero(~outputs.evaluated[row])) and left


def test_early_stopping_watches_true_labels_where_others_are_learned(monkeypatch):
    seen = held_losses(monkeypatch)
    soft = np.full((60, 4), 0.25, np.float32)
    run({"early_stopping": 2, "soft_labels": "x", "lr": 1e-12}, TABLE, "mlp", soft_labels=soft)
    hard = list(seen)
    seen.clear()
    run({"early_stopping": 2, "lr": 1e-12}, TABLE, "mlp")
    np.testing.assert_allclose(hard, seen, rtol=1e-5)


def test_soft_labels_are_learned_in_place_of_the_labels():
    soft = np.random.default_rng(3).dirichlet(np.ones(4), 60).astype(np.float32)
    config = {"soft_labels": "x", "epochs": 300, "lr": 3e-3, "batch_size": 60}
    trained = run(config, TABLE, "mlp", soft_labels=soft)
    p = torch.from_numpy(trained.logits).softmax(1).numpy()
    assert np.abs(p - soft)[MEMBERS].mean() < 0.05 < np.abs(p - soft)[~MEMBERS].mean()


# ---- checkpoints -------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.3, "augmentation": "crop_flip"},
        {"mixup": 0.5, "optimizer": "sgd", "schedule": "one_cycle"},
        {"early_stopping": 3, "lr": 0.02},
        {"relax_loss": 1.3},
    ],
)
def test_resumed_it_goes_on_as_if_it_had_never_stopped(changes, tmp_path, monkeypatch):
    changes = {"epochs": 6, **changes}
    whole = run(changes)
    kept = {"checkpoint": tmp_path / "x.pt", "checkpoint_every": 0.0}
    saved = []

    def dies(path, state):
        save_checkpoint(path, state)
        saved.append(state["epoch"])
        if len(saved) == 4:
            raise Killed

    monkeypatch.setattr(epochs, "save_checkpoint", dies)
    with pytest.raises(Killed):
        run(changes, **kept)
    monkeypatch.setattr(epochs, "save_checkpoint", save_checkpoint)
    resumed = run(changes, **kept)
    assert saved == [1, 2, 3, 4]
    np.testing.assert_array_equal(resumed.logits, whole.logits)
    assert resumed.losses == whole.losses
    assert all(torch.equal(v, whole.weights[k]) for k, v in resumed.weights.items())


def test_a_checkpoint_is_written_no_more_often_than_asked(tmp_path):
    path = tmp_path / "x.pt"
    run({}, checkpoint=path)  # every ten minutes
    assert not path.exists()


def test_time_before_a_checkpoint_counts(tmp_path):
    path = tmp_path / "x.pt"
    run({"epochs": 2}, checkpoint=path, checkpoint_every=0.0)
    state = load_checkpoint(path, "cpu")
    assert state["epoch"] == 2 and state["seconds"] > 0
    state["seconds"] = 1000.0
    save_checkpoint(path, state)
    assert run({"epochs": 3}, checkpoint=path, checkpoint_every=0.0).seconds > 1000
    assert load_checkpoint(path, "cpu")["seconds"] > 1000  # and in the checkpoints after it


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:500] + b"x" + b[501:],
        lambda b: b"",
        lambda b: b[:10],
    ],
)
def test_a_damaged_checkpoint_is_told_and_the_training_begins_anew(damage, tmp_path):
    path = tmp_path / "x.pt"
    run({"epochs": 2}, checkpoint=path, checkpoint_every=0.0)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    with pytest.warns(UserWarning, match="damaged, the training begins anew"):
        again = run({"epochs": 3}, checkpoint=path)
    assert again.losses == run({"epochs": 3}).losses


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(tmp_path, monkeypatch):
    from pathlib import Path

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="no checkpoint.*No space left"):
        trained = run({}, checkpoint=tmp_path / "x.pt", checkpoint_every=0.0)
    assert len(trained.losses) == 2 and not list(tmp_path.iterdir())


# ---- what goes wrong ---------------------------------------------------------------------------


def test_a_loss_that_is_lost_is_told_in_its_epoch(batches):
    with pytest.raises(Diverged, match="loss (NaN|infinite) from epoch 1$"):
        run({"lr": 1e30, "epochs": 50})
    assert len(batches) == -(-int(MEMBERS.sum()) // 8), "nothing is trained after it"


def test_the_epoch_of_a_later_divergence_is_told(monkeypatch):
    original, steps = EagerStep.__call__, []

    def call(self, index):
        steps.append(1)
        loss = original(self, index)
        return loss * float("nan") if len(steps) == 12 else loss

    monkeypatch.setattr(EagerStep, "__call__", call)
    per_epoch = -(-int(MEMBERS.sum()) // 8)
    with pytest.raises(Diverged, match=f"loss NaN from epoch {11 // per_epoch + 1}$"):
        run({"epochs": 9})


def test_answers_that_are_not_finite_are_no_model():
    table = TABLE.copy()
    table[np.flatnonzero(~MEMBERS)[0]] = 3e38  # a record that nobody trains on
    with pytest.raises(Diverged, match="answers that are not finite after epoch 2"):
        run({}, table, "mlp")


def test_sizes_of_last_batches():
    members = np.zeros((3, 40), bool)
    members[0, :33], members[1, :32], members[2, :20] = True, True, True
    assert last_batches(members, TrainConfig(batch_size=16)) == {1, 16, 4}
    held = TrainConfig(batch_size=16, early_stopping=1)
    assert last_batches(members, held) == {33 - 3 - 16, 32 - 3 - 16, 2}


# ---- what a step does --------------------------------------------------------------------------


def test_relaxloss_is_told_the_epoch():
    change = RelaxLoss(TrainConfig(relax_loss=99.0))
    loss = change.loss(functional.cross_entropy)
    logits, y = torch.randn(8, 4), torch.arange(8) % 4
    plain = functional.cross_entropy(logits, y)
    change.epoch_begins(0)
    assert torch.equal(loss(logits, y), -plain)
    change.epoch_begins(1)
    assert loss(logits, y) > 0


def test_the_loop_tells_the_epoch_before_its_first_step(monkeypatch, batches):
    told, original = [], RelaxLoss.epoch_begins

    def begins(self, epoch):
        told.append((epoch, len(batches)))
        original(self, epoch)

    monkeypatch.setattr(RelaxLoss, "epoch_begins", begins)
    run({"relax_loss": 0.5, "epochs": 3}, TABLE, "mlp")
    steps = len(batches) // 3
    assert told == [(0, 0), (1, steps), (2, 2 * steps)]


def test_crops_move_by_up_to_four_pixels_and_flip_half_of_the_records():
    x = torch.zeros(4000, 1, 16, 16)
    x[:, 0, 8, 5] = 1
    out = crop_flip(x, torch.Generator().manual_seed(0))
    _, _, row, column = torch.nonzero(out, as_tuple=True)
    assert len(row) == 4000 and set((row - 8).tolist()) == set(range(-4, 5))
    straight, flipped = set(range(1, 10)), set(range(15 - 9, 15))
    assert set(column.tolist()) == straight | flipped
    certain = [(c in straight) - (c in flipped) for c in column.tolist()]
    assert abs(sum(c > 0 for c in certain) - sum(c < 0 for c in certain)) < 250
    small = crop_flip(torch.rand(500, 1, 8, 8), torch.Generator().manual_seed(0))
    assert small.shape == (500, 1, 8, 8)


def test_gray_images_are_normalised_by_the_average_of_the_colours():
    gray = np.full((2, 8, 8, 1), 51, np.uint8)
    x = Loader(gray, np.zeros(2, np.int64), "cpu")(torch.tensor([0, 1]))
    np.testing.assert_allclose(x, (0.2 - 0.449) / 0.226, atol=1e-6)


def test_an_optimizer_is_the_one_that_was_asked_for():
    model = nn.Linear(3, 2)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    for name, kind in kinds.items():
        made = make_optimizer(model, TrainConfig(optimizer=name, lr=0.1, weight_decay=0.2), "cpu")
        assert type(made) is kind
        group = made.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (0.1, 0.2)
    assert group["momentum"] == 0.9 and not group["nesterov"]


# ---- stacking ----------------------------------------------------------------------------------


def test_the_combiner_of_a_stack_sees_the_third_part_alone(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    from mia_utils.defenses.stacking import BASES, parts, train_stacked
    from mia_utils.signals import log_softmax

    labels = np.random.default_rng(0).integers(0, 4, 120)
    pool = Pool.from_arrays("toy", np.random.default_rng(1).random((120, 6), np.float32), labels)
    masks, _ = quarter_masks(labels, seed=0, shadow_models=1)
    fitted, original = [], LogisticRegression.fit
    monkeypatch.setattr(
        LogisticRegression, "fit", lambda self, x, y: fitted.append((x, y)) or original(self, x, y)
    )
    options = {"store": tmp_path, "jobs": 1, "progress": False}
    stack = train_stacked(pool, masks, "mlp", TrainConfig(epochs=2), seed=3, **options)
    cut = parts(masks.members[0], 3)
    base = train(
        pool,
        Masks(np.array(cut[:BASES]), np.ones((BASES, 120), bool)),
        "mlp",
        TrainConfig(epochs=2),
        seed=3,
        **options,
    )
    features = np.concatenate([np.exp(log_softmax(a)) for a in base.logits], axis=1)
    [(x, y)] = fitted
    np.testing.assert_allclose(x, features[cut[BASES]])
    np.testing.assert_array_equal(y, labels[cut[BASES]])
    assert stack.names == ("+".join(base.names),)


def test_selena_distils_each_model_from_its_own_sub_models(tmp_path):
    """Two targets: each learns what its own sub-models say, and only about its members."""
    from mia_utils import Store
    from mia_utils.defenses.selena import soft_labels, split, train_selena

    pool = Pool.from_arrays("toy", TABLE, LABELS)
    members = np.array([MEMBERS, ~MEMBERS])
    masks = Masks(members, np.ones_like(members))
    config = TrainConfig(epochs=1, batch_size=8)
    options = {"seed": 2, "store": tmp_path, "jobs": 1, "progress": False}
    out = train_selena(pool, masks, "mlp", config, sub_models=3, left_out=1, **options)
    for row, name in zip(members, out.names, strict=True):
        cut = split(row, 3, 1, 2)
        answers = train(pool, Masks(cut, np.ones_like(cut)), "mlp", config, **options)
        learned = Store(tmp_path).record(name)["config"]["soft_labels"]
        np.testing.assert_allclose(
            Store(tmp_path).soft_labels(learned), soft_labels(answers, row), rtol=1e-6
        )


def test_a_seed_that_is_none_is_refused_by_train(tmp_path):
    pool = Pool.from_arrays("toy", TABLE, LABELS)
    masks = Masks(MEMBERS[None], np.ones((1, 60), bool))
    for seed in (-1, "a", 1.5):
        with pytest.raises(InputError, match="seed="):
            train(pool, masks, "mlp", TrainConfig(epochs=1), seed=seed, store=tmp_path)
