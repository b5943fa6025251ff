"""Eager and recorded steps do the same; recordings are made once a size and survive a new model."""

import contextlib
import gc

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mia_utils import TrainConfig, load_dataset
from mia_utils.training import worker as worker_module
from mia_utils.training.graphs import EagerStep, GraphStep, record_cuda, refill, set_rate
from mia_utils.training.loop import fit
from mia_utils.training.models import build
from mia_utils.training.regularizers import regularizers
from mia_utils.training.worker import Worker, make_optimizer

X = torch.randn(100, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(100) % 4


class Recorder:
    """Stands in for a CUDA graph: a recording is not executed, a replay reads the same memory."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, step):
        self.recorded += 1
        result = torch.zeros(())

        def replay():
            self.replayed += 1
            for parameter in self.parameters:
                parameter.grad = None  # a replayed backward pass overwrites its gradients
            result.copy_(step())

        return replay, result


def net():
    """Small, with what a step changes in place beside weights: the buffers of batch normalization."""
    convolution = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*convolution, nn.Flatten(), nn.Linear(8 * 6 * 6, 4))


def setup(kind, seed=0, optimizer="adam", recorder=None):
    torch.manual_seed(seed)
    model = net()
    made = make_optimizer(model, TrainConfig(optimizer=optimizer), "cpu")

    def loss(index):
        return functional.cross_entropy(model(X[index]), Y[index])

    if kind is EagerStep:
        return model, made, EagerStep(made, loss)
    recorder.parameters = list(model.parameters())
    return model, made, GraphStep(made, loss, recorder)


def epochs(model, step, count=6, seed=0):
    model.train()
    rng, losses = np.random.default_rng(seed), []
    for _ in range(count):
        for batch in torch.from_numpy(rng.permutation(100)).split(32):
            losses.append(float(step(batch)))
    return losses


def same(a, b):
    for (name, x), (_, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert torch.equal(x, y), name


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_recorded_steps_are_the_eager_ones(optimizer):
    recorder = Recorder()
    eager, _, eager_step = setup(EagerStep, optimizer=optimizer)
    graph, _, graph_step = setup(GraphStep, optimizer=optimizer, recorder=recorder)
    assert epochs(eager, eager_step) == epochs(graph, graph_step)
    same(eager, graph)
    assert recorder.recorded == 2  # 32 and the last 4
    assert recorder.replayed == 6 * 4 - 2 * 3


def test_a_second_model_in_the_same_place_is_what_it_would_be_alone():
    recorder = Recorder()
    model, optimizer, step = setup(GraphStep, recorder=recorder)
    epochs(model, step)
    places = [p.data_ptr() for p in model.parameters()]
    torch.manual_seed(7)
    refill(model, optimizer, net(), 1e-3)
    losses = epochs(model, step, seed=7)
    alone, _, alone_step = setup(EagerStep, seed=7)
    assert epochs(alone, alone_step, seed=7) == losses
    same(alone, model)
    assert recorder.recorded == 2 and places == [p.data_ptr() for p in model.parameters()]


def test_rare_sizes_are_not_recorded_for_ever():
    recorder = Recorder()
    model, _, step = setup(GraphStep, recorder=recorder)
    model.train()
    for size in range(2, 12):
        for _ in range(5):
            step(torch.arange(size))
    assert recorder.recorded == 4


def test_the_rate_changes_in_place_when_it_is_a_tensor():
    model = build("mlp", (5,), 2)
    for graphed in (False, True):
        # A capturable optimizer may only step on a GPU; its rate is a tensor anywhere.
        optimizer = make_optimizer(model, TrainConfig(optimizer="sgd"), "cpu", graphed=graphed)
        before = optimizer.param_groups[0]["lr"]
        set_rate(optimizer, 0.5)
        after = optimizer.param_groups[0]["lr"]
        assert float(after) == 0.5 and (after is before) == graphed


@pytest.mark.parametrize(
    "changes, recordable",
    [
        ({"augmentation": "crop_flip", "label_smoothing": 0.1, "early_stopping": 3}, True),
        ({"augmentation": "randaugment"}, False),
        ({"mixup": 1.0}, False),
        ({"relax_loss": 0.5}, False),
    ],
)
def test_what_is_decided_by_the_processor_is_not_recorded(changes, recordable):
    assert all(c.recordable for c in regularizers(TrainConfig(**changes))) == recordable


@pytest.mark.parametrize("collecting", [True, False])
def test_while_a_step_is_recorded_nothing_is_collected(monkeypatch, collecting):
    class Graph:
        def register_generator_state(self, generator): ...
        def replay(self): ...

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: contextlib.nullcontext())
    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        assert record_cuda(gc.isenabled, None)[1] is False
        assert gc.isenabled() is collecting  # as it was
        with pytest.raises(ZeroDivisionError):
            record_cuda(lambda: 1 / 0, None)
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_an_old_recording_in_a_cycle_does_not_end_a_new_one():
    x = torch.ones(100, device="cuda")
    generator = torch.Generator("cuda")

    def step():
        reason_to_collect = [[] for _ in range(10_000)]
        return torch.relu(x * len(reason_to_collect))

    class Cycle: ...

    for _ in range(3):
        old = Cycle()
        old.own, old.recording = old, record_cuda(step, generator)
        del old
        replay, result = record_cuda(step, generator)
        replay()
        assert (result == 10_000).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", [{}, {"augmentation": "crop_flip"}, {"lr_drop": 3}])
def test_on_a_gpu_graphs_learn_as_eager_steps_do(monkeypatch, precision, changes):
    pool = load_dataset("cifar10-mini")
    members = np.arange(len(pool)) % 2 == 0

    def fitted():
        config, worker = TrainConfig(epochs=8, **changes), Worker("cuda")
        return [
            fit(
                pool.records,
                pool.labels,
                10,
                members,
                "cnn",
                config,
                seed=seed,
                precision=precision,
                device="cuda",
                worker=worker,
            )
            for seed in (0, 1)
        ]

    graphed = fitted()
    assert not np.array_equal(graphed[0].logits, graphed[1].logits)
    monkeypatch.setattr(worker_module, "GraphStep", lambda o, loss, *_, **__: EagerStep(o, loss))
    for a, b in zip(graphed, fitted(), strict=True):
        assert a.losses[-1] < a.losses[0]
        np.testing.assert_allclose(a.losses, b.losses, rtol=0.15)
