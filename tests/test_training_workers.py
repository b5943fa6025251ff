"""Several models at a time in one process: recorded steps, one pool, nobody's bits disturbed.

What records a step on a GPU has a stand-in here that replays it from the same memory. On a GPU, also
where little else is installed:

    python -m pytest --noconftest -m gpu tests/test_training_workers.py tests/test_stepping.py
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mia_utils import DPConfig, Pool, Store, TrainConfig, balanced_masks
from mia_utils.engine.backend import in_threads
from mia_utils.engine.spec import specifications
from mia_utils.engine.work import fit_with_one_of
from mia_utils.training import worker as worker_module
from mia_utils.training.device import one_thread
from mia_utils.training.loop import fit
from mia_utils.training.worker import Worker, Workers, models_at_a_time

RECORDS = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(50) % 4
MEMBERS = np.arange(50) % 5 > 0
gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Recorder:
    """Recordings and replays, counted by thread; a replay lets other threads in."""

    def __init__(self) -> None:
        self.recorded: list[int] = []
        self.replayed: list[int] = []

    def __call__(self, step, generator):
        self.recorded.append(threading.get_ident())
        state = generator.get_state()
        result = torch.zeros(())

        def replay():
            self.replayed.append(threading.get_ident())
            result.copy_(step())
            time.sleep(0)

        generator.set_state(state)  # recording draws nothing
        return replay, result


@pytest.fixture(autouse=True)
def clear_gradients(monkeypatch):
    """A replayed backward pass overwrites its gradients; the stand-in would add to them."""
    original = worker_module.GraphStep._update

    def update(self, index):
        self._optimizer.zero_grad(set_to_none=True)
        return original(self, index)

    monkeypatch.setattr(worker_module.GraphStep, "_update", update)


def one(seed, architecture, changes, worker=None, device="cpu", precision="fp32"):
    config = TrainConfig(**{"epochs": 4, "batch_size": 16, "lr": 3e-3, **changes})
    with one_thread():
        return fit(
            RECORDS,
            LABELS,
            4,
            MEMBERS,
            architecture,
            config,
            seed=seed,
            worker=worker,
            device=device,
            precision=precision,
        )


KINDS = [
    ("cnn", {"augmentation": "crop_flip", "dropout": 0.3}),
    ("cnn", {"optimizer": "sgd", "schedule": "one_cycle", "nesterov": True}),
    ("mlp", {"early_stopping": 1, "label_smoothing": 0.1}),
]


@pytest.mark.parametrize("architecture, changes", KINDS)
def test_recorded_models_in_each_others_place_have_the_bits_of_eager_ones(architecture, changes):
    recorder = Recorder()
    worker = Worker(record=recorder)
    for seed in (3, 4, 3):
        recorded = one(seed, architecture, changes, worker)
        eager = one(seed, architecture, changes)
        np.testing.assert_array_equal(recorded.logits, eager.logits)
        assert recorded.losses == eager.losses
        assert all(torch.equal(v, eager.weights[k]) for k, v in recorded.weights.items())
    assert len(recorder.recorded) == 2  # 16 and the last 8: once for all three models


def test_another_kind_of_model_or_other_data_takes_a_new_place():
    recorder = Recorder()
    worker = Worker(record=recorder)
    one(0, "mlp", {}, worker)
    for changes in ({"lr": 1e-3}, {"optimizer": "adamw"}, {}):
        before = len(recorder.recorded)
        assert one(1, "mlp", changes, worker).losses == one(1, "mlp", changes).losses
        assert len(recorder.recorded) == before + 2
    config = TrainConfig(epochs=4, batch_size=16, lr=3e-3)
    other = fit(RECORDS[::-1].copy(), LABELS, 4, MEMBERS, "mlp", config, seed=1, worker=worker)
    alone = fit(RECORDS[::-1].copy(), LABELS, 4, MEMBERS, "mlp", config, seed=1)
    np.testing.assert_array_equal(other.logits, alone.logits)


def test_a_resumed_training_takes_a_place_of_its_own(tmp_path):
    """What a checkpoint loads lies elsewhere in memory than what was recorded before."""
    recorder = Recorder()
    worker = Worker(record=recorder)
    arguments = (RECORDS, LABELS, 4, MEMBERS, "mlp", TrainConfig(epochs=8, batch_size=16))
    kept = {"seed": 0, "checkpoint": tmp_path / "x.pt", "checkpoint_every": 0.0}

    def killed(epoch, logits):
        if epoch == 4:
            raise KeyboardInterrupt

    whole = fit(*arguments, seed=0, worker=worker)
    with pytest.raises(KeyboardInterrupt):
        fit(*arguments, **kept, observe=killed)
    before = len(recorder.recorded)
    resumed = fit(*arguments, **kept, worker=worker)
    np.testing.assert_array_equal(resumed.logits, whole.logits)
    assert len(recorder.recorded) == before + 2


@pytest.mark.parametrize(
    "changes", [{"mixup": 1.0}, {"augmentation": "randaugment"}, {"relax_loss": 1.0}]
)
def test_steps_that_the_processor_decides_are_not_recorded(changes):
    recorder = Recorder()
    worker = Worker(record=recorder)
    one(0, "cnn", changes, worker)
    assert not recorder.recorded
    one(0, "cnn", {}, worker)  # where nothing is against it, as many steps are
    assert recorder.recorded


@pytest.mark.parametrize("architecture, changes", KINDS[::2])
def test_threads_with_recorded_steps_do_not_disturb_each_other(architecture, changes):
    recorder = Recorder()
    workers = Workers("cpu", 3, recorder)
    trained = {}

    def task(seed):
        with workers.one() as worker:
            trained[seed] = one(seed, architecture, changes, worker)

    assert all(error is None for _, error in in_threads(task, [(s,) for s in range(7)], jobs=3))
    assert len(set(recorder.replayed)) == 3
    switches = sum(a != b for a, b in zip(recorder.replayed, recorder.replayed[1:], strict=False))
    assert switches > 10, "the threads took turns"
    for seed, ours in trained.items():
        np.testing.assert_array_equal(ours.logits, one(seed, architecture, changes).logits)


def test_workers_share_one_copy_of_the_pool(monkeypatch):
    copies = []
    original = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda a: copies.append(a.nbytes) or original(a))
    workers = Workers("cpu", 2)
    for _ in range(3):
        with workers.one() as first, workers.one() as second:
            one(0, "mlp", {"epochs": 1}, first)
            one(1, "mlp", {"epochs": 1}, second)
    assert copies.count(RECORDS.nbytes) == 1


@pytest.fixture
def pool():
    return Pool.from_arrays("toy", RECORDS, LABELS)


def test_models_are_stored_as_each_finishes_and_one_that_fails_fails_alone(pool, tmp_path):
    store, recorder = Store(tmp_path), Recorder()
    masks = balanced_masks(50, models=4, seed=0)
    options = {"seed": 0, "precision": "fp32", "device": "cpu"}
    good = TrainConfig(epochs=2, batch_size=16, dropout=0.2)
    specs = specifications(pool, masks.members, "cnn", good, **options)
    bad = specifications(
        pool, masks.members[:1], "cnn", TrainConfig(epochs=2, batch_size=16, lr=1e30), **options
    )
    specs = [*specs[:2], *bad, *specs[2:]]
    workers = Workers("cpu", 2, recorder)
    tasks = [(spec, pool, store, True, workers) for spec in specs]
    there, errors = [], {}
    for index, error in in_threads(fit_with_one_of, tasks, jobs=2):
        errors[index] = error
        there.append(len(store.names()))
    assert [i for i, e in errors.items() if e is not None] == [2]
    assert "loss" in str(errors[2]) and "epoch" in str(errors[2])
    assert len(store.names()) == 4 and there[0] < 4
    alone = one_by_one(pool, specs[-1], tmp_path / "alone")
    np.testing.assert_array_equal(store.logits(specs[-1].name), alone)


def one_by_one(pool, spec, root):
    store = Store(root)
    fit_with_one_of(spec, pool, store, True, Workers("cpu", 1))
    return store.logits(spec.name)


def test_small_models_are_trained_many_at_a_time_and_large_ones_few(monkeypatch):
    def count(name):
        return models_at_a_time(name, (32, 32, 3), 10, TrainConfig())

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [count(name) for name in ("cnn", "mlp", "resnet9")] == [8, 8, 4]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for memory, expected in ((80, [8, 4]), (16, [2, 2]), (4, [1, 1])):
        device = SimpleNamespace(total_memory=memory * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=device: device)
        assert [count(name) for name in ("cnn", "resnet9")] == expected
    private = TrainConfig(dp=DPConfig(noise_multiplier=1.0))
    assert models_at_a_time("cnn", (32, 32, 3), 10, private) == 1


def test_compiling_is_asked_for_whole_batches_alone(monkeypatch):
    seen = []

    def compiled(model, dynamic):
        def forward(x):
            seen.append(len(x))
            return model(x)

        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    ours = one(0, "mlp", {"compile": True, "epochs": 2})
    assert seen == [16, 16] * 2  # 40 members: the last batch has 8
    np.testing.assert_array_equal(ours.logits, one(0, "mlp", {"epochs": 2}).logits)


# ---- on a GPU ----------------------------------------------------------------------------------


@gpu
@needs_gpu
@pytest.mark.parametrize(
    "architecture, changes",
    [
        ("mlp", {"dropout": 0.5}),
        ("cnn", {"augmentation": "crop_flip", "dropout": 0.3}),
        ("resnet9", {"optimizer": "sgd", "schedule": "one_cycle", "nesterov": True}),
    ],
)
def test_on_a_gpu_a_model_among_others_is_what_it_is_alone(architecture, changes):
    changes = {**changes, "epochs": 12}
    options = {"device": "cuda", "precision": "bf16"}
    alone = {seed: one(seed, architecture, changes, Worker("cuda"), **options) for seed in range(3)}
    workers, among = Workers("cuda", 4), {}

    def task(key, seed):
        with workers.one() as worker:
            among[key] = one(seed, architecture, changes, worker, **options)

    tasks = [(i, i % 3) for i in range(12)]
    assert [error for _, error in in_threads(task, tasks, jobs=4) if error is not None] == []
    for key, trained in among.items():
        # Sums of a GPU differ in their last bits from run to run; other random numbers differ at once.
        np.testing.assert_allclose(trained.losses[:4], alone[key % 3].losses[:4], rtol=0.02)
    assert abs(alone[0].losses[0] - alone[1].losses[0]) > 1e-4


@gpu
@needs_gpu
@pytest.mark.parametrize("changes", [{"dropout": 0.5}, {"augmentation": "crop_flip"}])
def test_on_a_gpu_replayed_steps_draw_anew(changes):
    """A recording that drew the same numbers at every replay would learn one mask by heart."""
    drawn = []
    worker = Worker("cuda")
    config = TrainConfig(epochs=1, batch_size=40, **changes)
    arguments = (RECORDS, LABELS, 4, "cnn", config)
    index = torch.arange(40, device="cuda")
    with worker.place(*arguments, seed=0) as place:
        place.model.train()
        place.set_rate(1e-12)  # the loss then changes by what is drawn alone
        for _ in range(12):
            drawn.append(float(place.step(index)))
        state = place.generators.state()
    assert len(set(drawn[4:])) == 8
    with worker.place(*arguments, seed=0) as place:  # the same place, from the same seed
        place.model.train()
        place.set_rate(1e-12)
        again = [float(place.step(index)) for _ in range(12)]
        assert torch.equal(state["device"], place.generators.state()["device"])
    np.testing.assert_allclose(again, drawn, rtol=1e-3)


@gpu
@needs_gpu
def test_on_a_gpu_a_checkpoint_keeps_the_gpus_generator(tmp_path, monkeypatch):
    from mia_utils.training import epochs

    changes = {"dropout": 0.5, "epochs": 8}
    config = TrainConfig(batch_size=16, lr=3e-3, **changes)
    arguments = (RECORDS, LABELS, 4, MEMBERS, "mlp", config)
    options = {"seed": 0, "device": "cuda"}
    whole = fit(*arguments, **options)

    class Killed(Exception):
        pass

    saved, original = [], epochs.save_checkpoint

    def dies(*given):
        original(*given)
        saved.append(given)
        if len(saved) == 4:
            raise Killed

    monkeypatch.setattr(epochs, "save_checkpoint", dies)
    kept = {"checkpoint": tmp_path / "x.pt", "checkpoint_every": 0.0}
    with pytest.raises(Killed):
        fit(*arguments, **options, **kept)
    monkeypatch.setattr(epochs, "save_checkpoint", original)
    resumed = fit(*arguments, **options, **kept)
    np.testing.assert_allclose(resumed.losses, whole.losses, rtol=0.01)


@gpu
@needs_gpu
def test_on_a_gpu_compiled_models_learn_and_share_their_code():
    changes = {"compile": True, "epochs": 12, "augmentation": "crop_flip"}
    workers, trained = Workers("cuda", 2), {}

    def task(seed):
        with workers.one() as worker:
            trained[seed] = one(seed, "cnn", changes, worker, "cuda", "bf16")

    began = time.perf_counter()
    assert [e for _, e in in_threads(task, [(s,) for s in range(4)], jobs=2) if e is not None] == []
    assert all(t.losses[-1] < t.losses[0] for t in trained.values())
    plain = one(0, "cnn", {**changes, "compile": False}, None, "cuda", "bf16")
    np.testing.assert_allclose(trained[0].losses[:3], plain.losses[:3], rtol=0.05)
    print(f"compiled and trained in {time.perf_counter() - began:.0f} s")


@gpu
@needs_gpu
def test_on_a_gpu_train_fills_a_store_by_threads(pool, tmp_path):
    from mia_utils import train

    masks = balanced_masks(50, models=6, seed=0)
    config = TrainConfig(epochs=3, batch_size=16, augmentation="crop_flip")
    outputs = train(
        pool, masks, "cnn", config, device="cuda", store=tmp_path, jobs=4, progress=False
    )
    assert outputs.logits.shape == (6, 50, 4) and len(Store(tmp_path).names()) == 6
    again = train(pool, masks, "cnn", config, device="cuda", store=tmp_path, progress=False)
    np.testing.assert_array_equal(again.logits, outputs.logits)
