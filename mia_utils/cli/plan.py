"""`mia plan`: what a set of trainings will cost, before it is started."""

from __future__ import annotations

import argparse
import math
import os

from ..data.catalog import CATALOG
from ..engine.place import named_device, named_precision
from ..engine.plan import calibrate, plan
from ..errors import InputError
from ..training.config import TrainConfig
from .options import a_path, at_least


def add(parser: argparse.ArgumentParser) -> None:
    count = at_least(1)
    parser.add_argument("--dataset", help=f"{', '.join(CATALOG)}, or one that load_dataset finds")
    parser.add_argument("--shape", type=count, nargs="+", metavar="N", help="instead: H W C or D")
    parser.add_argument("--classes", type=count, help="with --shape")
    parser.add_argument("--records", type=count, help="of the pool, default all")
    parser.add_argument("--members", type=count, help="of one training set, default a quarter")
    parser.add_argument("--architecture", default="cnn", help="default cnn")
    parser.add_argument("--models", type=count, default=2, help="default 2: target and shadow")
    parser.add_argument(
        "--seed", type=at_least(0), help="count what the store has of this seed's quarters"
    )
    parser.add_argument("--epochs", type=count, default=50, help="default 50")
    parser.add_argument("--batch-size", type=count, default=128, help="default 128")
    parser.add_argument(
        "--precision", default="fp32", choices=["fp32", "bf16", "auto"], help="default fp32"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--workers", type=count, default=1, help="at a time, for the wall time")
    parser.add_argument("--data", type=a_path, metavar="DIR", help="data sets, else MIA_DATA")
    parser.add_argument("--store", type=a_path, metavar="DIR", help="with --seed: else MIA_STORE")
    parser.set_defaults(call=_plan)


def _facts(arguments: argparse.Namespace) -> tuple[tuple[int, ...], int, int]:
    """Shape, classes and records of the pool; nothing is downloaded for it."""
    if (arguments.dataset is None) == (arguments.shape is None):
        raise InputError("mia plan needs either --dataset NAME or --shape H W C")
    if arguments.shape is not None:
        if len(arguments.shape) not in (1, 3):
            told = " ".join(map(str, arguments.shape))
            raise InputError(f"--shape {told}; expected H W C for images, or one number")
        if arguments.classes is None or arguments.records is None:
            raise InputError("--shape needs --classes and --records")
        return tuple(arguments.shape), arguments.classes, arguments.records
    if arguments.classes is not None:
        raise InputError("--classes goes with --shape; a data set knows its own")
    if arguments.dataset in CATALOG:  # a plan needs no download
        facts = CATALOG[arguments.dataset]
        shape, classes, records = facts.shape, facts.classes, facts.records
    else:
        pool = _pool(arguments)
        shape, classes, records = pool.shape, len(pool.classes), len(pool)
    return shape, classes, arguments.records or records


def _pool(arguments: argparse.Namespace):
    from ..data import load_dataset

    return load_dataset(arguments.dataset, arguments.data, download=False)


def _stored(arguments, config: TrainConfig, precision: str, device: str) -> int:
    """How many of the seed's target and shadow models the store has."""
    from ..data import quarter_masks
    from ..engine.spec import specifications
    from ..engine.store import Store

    if arguments.seed is None:
        if arguments.store is not None:
            raise InputError("--store goes with --seed, whose models are looked for there")
        return 0
    if arguments.dataset is None or arguments.records or arguments.members:
        raise InputError(
            "--seed goes with --dataset alone: it means the four quarters of all of it"
        )
    if arguments.models < 2:
        raise InputError(f"--models {arguments.models}; the quarters need a target and a shadow")
    pool = _pool(arguments)
    store = Store(arguments.store)
    masks = quarter_masks(pool.labels, seed=arguments.seed, shadow_models=arguments.models - 1)
    options = {"seed": arguments.seed, "precision": precision, "device": device}
    return sum(
        spec.name in store
        for mask in masks
        for spec in specifications(pool, mask.members, arguments.architecture, config, **options)
    )


def _given_speed() -> float | None:
    text = os.environ.get("MIA_FLOPS")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"MIA_FLOPS={text!r}; expected operations a second, such as 2e12")
    return value


def _time(hours: float) -> str:
    """
    >>> _time(0.0003), _time(0.5), _time(12.345)
    ('1.1 s', '30 min', '12.35 hours')
    """
    if hours < 1 / 40:
        return f"{3600 * hours:.2g} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.2f} hours"


def _short(value: float) -> str:
    """
    >>> _short(12.345), _short(0.0003)
    ('12.35', '0.0003')
    """
    return f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def _plan(arguments: argparse.Namespace) -> int:
    from ..training.device import describe, resolve_device

    shape, classes, records = _facts(arguments)
    device = named_device(arguments.device)
    precision = named_precision(arguments.precision, device)
    config = TrainConfig(epochs=arguments.epochs, batch_size=arguments.batch_size)
    stored = _stored(arguments, config, precision, device)
    given = _given_speed()
    members = arguments.members or max(1, records // 4)
    try:
        speed = given or calibrate(
            arguments.architecture,
            shape,
            classes,
            config,
            precision=precision,
            device=resolve_device(device),
        )
        cost = plan(
            arguments.architecture,
            shape,
            classes,
            records=records,
            members=members,
            models=arguments.models,
            stored=stored,
            config=config,
            flops_per_second=speed,
        )
    except (RuntimeError, MemoryError) as error:  # PyTorch's, where memory does not hold it
        raise InputError(
            f"{arguments.architecture} for shape {shape}, {classes} classes and batches of "
            f"{config.batch_size} cannot be built here: {' '.join(str(error).split())[:200]}"
        ) from None
    # A speed from elsewhere is that of whatever trains one model there.
    unit = "device-hours" if given else "GPU-hours" if device == "cuda" else "core-hours"
    where = "MIA_FLOPS" if given else f"measured on {describe(device)}"
    workers = arguments.workers
    print(
        f"training    {arguments.architecture}, {members:,} members, {config.epochs} epochs in "
        f"batches of {config.batch_size}"
    )
    print(f"models      {cost.models}, in the store {stored}, to train {cost.missing}")
    print(
        f"one model   {cost.flops:.3g} FLOPs, at {speed / 1e9:.1f} GFLOP/s ({precision}, {where})"
    )
    print(
        f"time        {_short(cost.hours)} {unit}, {_time(cost.hours / workers)} with "
        f"{workers} worker{'s' * (workers > 1)}"
    )
    print(f"memory      {_short(cost.memory / 2**30)} GB a worker")
    print(f"disk        {_short(cost.disk / 2**30)} GB")
    return 0
