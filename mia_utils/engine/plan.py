"""What a set of trainings will cost, before it is started.

Time is operations divided by speed. A record's training step costs three forward passes (forward,
gradients of the activations, gradients of the weights); the speed comes from a few real steps of
the same model on this machine, or from $MIA_FLOPS for another one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..training.config import TrainConfig

_SECONDS = 3.0  # of calibration
_STATE = 4  # weights, gradients and Adam's two moments: copies of the parameters


@dataclass(frozen=True)
class Plan:
    """The cost of training `missing` of `models` models.

    Parameters
    ----------
    hours : float
        Core-hours on a CPU (one thread a model), GPU-hours on a GPU.
    flops : float
        Of one training.
    memory : int
        Bytes of one worker: pool, weights, optimizer, and a batch's activations counted as one
        forward pass's outputs.
    disk : int
        Bytes of the missing models in the store: logits and weights.
    """

    models: int
    missing: int
    hours: float
    flops: float
    flops_per_second: float
    memory: int
    disk: int


def training_flops(
    architecture: str, shape: tuple[int, ...], classes: int, config: TrainConfig, members: int
) -> float:
    """Operations of one training: 3 forward passes x members x epochs."""
    from ..training.models import build, forward_flops

    model = build(architecture, shape, classes, dropout=config.dropout)
    return 3.0 * forward_flops(model, shape) * members * config.epochs


def calibrate(
    architecture: str,
    shape: tuple[int, ...],
    classes: int,
    config: TrainConfig = TrainConfig(),
    *,
    precision: str = "fp32",
    device: str = "cpu",
) -> float:
    """Operations a second (FLOP/s) in real training steps of this model, one thread.

    Two trainings of one and of several batches are timed and subtracted, so that building, warming
    up and scoring do not count.
    """
    from ..training.device import alone
    from ..training.loop import fit
    from ..training.models import build, forward_flops

    rng = np.random.default_rng(0)
    size = config.batch_size
    one = TrainConfig(epochs=1, batch_size=size, optimizer=config.optimizer, dropout=config.dropout)
    step = 3.0 * size * forward_flops(build(architecture, shape, classes), shape)

    def seconds(batches: int) -> float:
        count = batches * size
        records: np.ndarray
        if len(shape) == 3:
            records = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        else:
            records = rng.random((count, *shape), dtype=np.float32)
        labels = np.arange(count) % classes
        with alone(0):
            began = time.perf_counter()
            fit(
                records,
                labels,
                classes,
                np.ones(count, bool),
                architecture,
                one,
                seed=0,
                precision=precision,
                device=device,
            )
            scored = 1 / 3  # scoring is one forward pass of each record
            return (time.perf_counter() - began) / (1 + scored)

    seconds(1)
    short, batches = seconds(1), 2
    while True:
        long = seconds(batches)
        if long - short > 0 and (long > _SECONDS / 2 or batches >= 256):
            return step * (batches - 1) / (long - short)
        batches *= 2


def plan(
    architecture: str,
    shape: tuple[int, ...],
    classes: int,
    *,
    records: int,
    members: int,
    models: int,
    stored: int = 0,
    config: TrainConfig = TrainConfig(),
    flops_per_second: float,
) -> Plan:
    """What `models` trainings of one kind cost, `stored` of them being there already.

    Parameters
    ----------
    shape, classes : (H, W, C) or (D,); int
    records, members : int
        Size of the pool (every record is scored and kept), and of one training set.
    flops_per_second : float
        From `calibrate`.

    Raises
    ------
    InputError
        If a count makes no sense or the architecture cannot take the shape.
    """
    from ..training.models import build, parameter_count

    for name, value in (("records", records), ("members", members), ("models", models)):
        if value < 1:
            raise InputError(f"{name}={value}; expected at least 1")
    if members > records:
        raise InputError(f"members={members} of records={records}; expected no more than there are")
    if not 0 <= stored <= models:
        raise InputError(f"stored={stored} of models={models}; expected 0 to {models}")
    if not flops_per_second > 0:
        raise InputError(f"flops_per_second={flops_per_second}; expected a positive number")
    model = build(architecture, shape, classes, dropout=config.dropout)
    parameters = parameter_count(model)
    flops = training_flops(architecture, shape, classes, config, members)
    scoring = flops / 3 / members / config.epochs * records
    missing = models - stored
    pool = records * int(np.prod(shape)) * (1 if len(shape) == 3 else 4)
    return Plan(
        models=models,
        missing=missing,
        hours=missing * (flops + scoring) / flops_per_second / 3600,
        flops=flops,
        flops_per_second=flops_per_second,
        memory=pool
        + 4 * _STATE * parameters
        + 4 * records * classes
        + 4 * config.batch_size * _activations(model, shape),
        disk=missing * 4 * (records * classes + parameters),
    )


def _activations(model, shape: tuple[int, ...]) -> int:
    """Numbers that one record's forward pass leaves for the backward pass, every layer's output."""
    import torch

    total = 0

    def count(module, inputs, output) -> None:
        nonlocal total
        total += output.numel() if isinstance(output, torch.Tensor) else 0

    leaves = [m for m in model.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    x = torch.zeros(1, *shape) if len(shape) == 1 else torch.zeros(1, shape[2], *shape[:2])
    training = model.training
    with torch.no_grad():
        model.eval()(x)
    model.train(training)
    for hook in hooks:
        hook.remove()
    return total
