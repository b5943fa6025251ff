"""`mia plan`: what a set of trainings will cost, before it is started.

Time is operations divided by speed. A record's training step costs three forward passes (forward,
gradients of the activations, gradients of the weights); the speed comes from a few real steps of
the same model on this machine, or from $MIA_FLOPS for another one.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..training.config import TrainConfig

SHAPES = {
    "mnist": ((28, 28, 1), 10, 70_000),
    "cifar10": ((32, 32, 3), 10, 60_000),
    "cifar100": ((32, 32, 3), 100, 60_000),
    "a1k": ((64, 64, 3), 1000, 95_134),
}
"""Shape, classes and records of the report's data sets: a plan needs no download."""

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
        if len(shape) == 3:
            records = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        else:
            records = rng.random((count, *shape), dtype=np.float32)
        labels = np.arange(count) % classes
        with alone(0):
            began = time.perf_counter()
            fit(records, labels, classes, np.ones(count, bool), architecture, one,
                seed=0, precision=precision, device=device)  # fmt: skip
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


# ---- command -----------------------------------------------------------------------------------


def add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", help=f"{', '.join(SHAPES)}, or one that load_dataset finds")
    parser.add_argument("--shape", type=int, nargs="+", metavar="N", help="instead: H W C or D")
    parser.add_argument("--classes", type=int, help="with --shape")
    parser.add_argument("--records", type=int, help="of the pool, default all")
    parser.add_argument("--members", type=int, help="of one training set, default a quarter")
    parser.add_argument("--architecture", default="cnn")
    parser.add_argument("--models", type=int, default=2, help="default 2: target and shadow")
    parser.add_argument("--seed", type=int, help="count what the store has of this seed's quarters")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "auto"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=1, help="at a time, for the wall time")
    parser.set_defaults(call=_plan)


def _pool_facts(arguments: argparse.Namespace) -> tuple[tuple[int, ...], int, int]:
    if (arguments.dataset is None) == (arguments.shape is None):
        raise InputError("mia plan needs either --dataset NAME or --shape H W C")
    if arguments.shape is not None:
        if arguments.classes is None or arguments.records is None:
            raise InputError("--shape needs --classes and --records")
        return tuple(arguments.shape), arguments.classes, arguments.records
    if arguments.dataset in SHAPES:
        shape, classes, records = SHAPES[arguments.dataset]
    else:
        from ..data import load_dataset

        pool = load_dataset(arguments.dataset)
        shape, classes, records = pool.shape, len(pool.classes), len(pool)
    return shape, classes, arguments.records or records


def _stored(arguments, config: TrainConfig, precision: str, device: str) -> int:
    """How many of the seed's target and shadow models the store has."""
    from ..data import load_dataset, quarter_masks
    from .spec import specifications
    from .store import Store

    if arguments.seed is None:
        return 0
    if arguments.dataset is None or arguments.records or arguments.members:
        raise InputError(
            "--seed goes with --dataset alone: it means the four quarters of all of it"
        )
    if arguments.models < 2:
        raise InputError(f"--models {arguments.models}; the quarters need a target and a shadow")
    pool = load_dataset(arguments.dataset)
    store = Store()
    masks = quarter_masks(pool.labels, seed=arguments.seed, shadow_models=arguments.models - 1)
    return sum(
        spec.name in store
        for mask in masks
        for spec in specifications(
            pool,
            mask.members,
            arguments.architecture,
            config,
            seed=arguments.seed,
            precision=precision,
            device=device,
        )  # fmt: skip
    )


def _plan(arguments: argparse.Namespace) -> int:
    from ..training.device import describe, resolve_device, resolve_precision

    shape, classes, records = _pool_facts(arguments)
    device = resolve_device(arguments.device)
    precision = resolve_precision(arguments.precision, device)
    config = TrainConfig(epochs=arguments.epochs, batch_size=arguments.batch_size)
    stored = _stored(arguments, config, precision, device)
    given = os.environ.get("MIA_FLOPS")
    speed = float(given) if given else calibrate(
        arguments.architecture, shape, classes, config, precision=precision, device=device
    )  # fmt: skip
    cost = plan(
        arguments.architecture, shape, classes,
        records=records, members=arguments.members or records // 4, models=arguments.models,
        stored=stored, config=config, flops_per_second=speed,
    )  # fmt: skip
    # A speed from elsewhere is that of whatever trains one model there.
    unit = "device-hours" if given else "GPU-hours" if device == "cuda" else "core-hours"
    where = "MIA_FLOPS" if given else f"measured on {describe(device)}"
    print(f"models      {cost.models}, in the store {stored}, to train {cost.missing}")
    print(
        f"one model   {cost.flops:.3g} FLOPs, at {speed / 1e9:.1f} GFLOP/s ({precision}, {where})"
    )
    print(f"time        {cost.hours:.2f} {unit}, {cost.hours / arguments.workers:.2f} hours "
          f"with {arguments.workers} worker{'s' * (arguments.workers > 1)}")  # fmt: skip
    print(f"memory      {cost.memory / 2**30:.2f} GB a worker")
    print(f"disk        {cost.disk / 2**30:.2f} GB")
    return 0
