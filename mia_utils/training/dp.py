"""DP-SGD: every record's gradient is clipped, noise is added, an accountant keeps count.

The clipped sum is that of `clipping`: faster than Opacus' hooks, which besides are wrong for
convolutions of channels_last images (Opacus 1.6). What is released is the weights: they depend on
the records through noised sums alone. Frozen parameters and buffers do not depend on them at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ..data import Pool
from ..errors import InputError
from ..randomness import numpy_generator, torch_generator
from .accounting import RECIPE, noise_multiplier, sampling, spent, statement
from .batches import Loader
from .checkpoint import load_checkpoint
from .clipping import clipped_sum, record_gradients, trained_parameters
from .config import DPConfig, TrainConfig
from .epochs import Trained, run_epochs
from .generators import DrawnFrom, Generators, own_layers
from .models import architecture_id, build, draws_by_itself
from .regularizers import regularizers
from .worker import Place, Worker, make_optimizer, training_batch

_BATCH_NORM = nn.modules.batchnorm._BatchNorm
_PHYSICAL = 256
"""Records (times copies) that are clipped at once; larger batches take several turns."""


class WeightStandardisation(nn.Module):
    """Kernels (outputs, ...) with mean 0 and variance gain^2 / fan-in (Brock et al., 2021, eq. 1).

    The gain keeps the variance of what passes through a ReLU.
    """

    gain = math.sqrt(2 / (1 - 1 / math.pi))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(1, weight.ndim))
        centred = weight - weight.mean(dim=axes, keepdim=True)
        scale = centred.square().sum(dim=axes, keepdim=True).clamp(min=1e-12).rsqrt()
        return self.gain * centred * scale


def private_layers(model: nn.Module, weight_standardisation: bool = False) -> nn.Module:
    """The model with every BatchNorm as GroupNorm, in place: a batch's statistics mix its records."""
    places = [(parent, name) for parent in model.modules() for name in parent._modules]
    instead: dict[nn.Module, nn.GroupNorm] = {}
    for parent, name in places:
        layer = parent._modules[name]
        if isinstance(layer, _BATCH_NORM):
            parent._modules[name] = instead.setdefault(layer, _group_norm(layer))
    for layer in list(model.modules()) if weight_standardisation else ():
        if isinstance(layer, nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", WeightStandardisation())
    return model


def _group_norm(layer: nn.modules.batchnorm._BatchNorm) -> nn.GroupNorm:
    """Of images in up to 32 groups (Wu & He, 2018), of rows in one; frozen where the BatchNorm was."""
    rows, channels = isinstance(layer, nn.BatchNorm1d), layer.num_features
    new = nn.GroupNorm(1 if rows else math.gcd(32, channels), channels, affine=layer.affine)
    for name, parameter in layer.named_parameters():
        getattr(new, name).requires_grad_(parameter.requires_grad)
    return new


def _dp_of(config: TrainConfig) -> DPConfig:
    assert config.dp is not None, "only private trainings come here"
    return config.dp


# ---- before it starts --------------------------------------------------------------------------


def check_private(
    architecture: str, pool: Pool, config: TrainConfig, sizes: list[int], precision: str
) -> None:
    """Everything that can be wrong with a private training, before it starts.

    Parameters
    ----------
    sizes : list of int
        Numbers of members of the models to be trained.

    Raises
    ------
    InputError
        If the gradient of a record cannot be computed or depends on more than the record, nothing
        is trained, the promise cannot be kept, or delta is too large.
    """
    if precision != "fp32":
        raise InputError(f"dp trains in fp32, not in {precision}; leave precision at 'fp32'")
    with DrawnFrom(Generators.of_seed(0, "cpu")):
        model = build(architecture, pool.shape, len(pool.classes), dropout=config.dropout)
    if any(isinstance(layer, _BATCH_NORM) for layer in model.modules()):
        warnings.warn(
            f"{architecture}: BatchNorm mixes the records of a batch; GroupNorm takes its place",
            stacklevel=3,
        )
    dp = _dp_of(config)
    private = private_layers(model, dp.weight_standardisation).train()
    if reason := _not_private(private, pool.shape):
        raise InputError(f"architecture {architecture!r} cannot be trained with dp: {reason}")
    for members in sizes:
        if dp.delta >= 1 / members:
            raise InputError(
                f"delta={dp.delta} with {members} members; a delta of 1/{members} or more "
                f"lets a mechanism publish a record outright; take delta={0.1 / members:.1g}"
            )
        rate, steps = sampling(config, members)
        spent(dp, noise_multiplier(dp, rate, steps), rate, steps)


def _not_private(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Why the gradients of single records cannot be trusted, or "" if they can."""
    if not trained_parameters(model):
        return "all its parameters are frozen"
    size = shape[2:] + shape[:2] if len(shape) == 3 else shape
    records = torch.randn(3, 1, *size, generator=torch_generator(0, "dp trial"))
    generators = Generators.of_seed(0, "cpu")
    own_layers(model, generators.device)
    begin, before = generators.state(), _buffers(model)

    def of_the_first(other: int) -> dict[str, torch.Tensor]:
        generators.load_state(begin)  # the same dropout each time
        labels = torch.zeros(2, dtype=torch.int64)
        with DrawnFrom(generators):
            found = record_gradients(model)(records[[0, other]], labels)
        return {name: gradient[0] for name, gradient in found.items()}

    try:
        alone, among_others, later = of_the_first(1), of_the_first(2), of_the_first(1)
    except Exception as error:  # of the reader's own code: anything
        return " ".join(str(error).split()) or type(error).__name__
    if not _same(before, _buffers(model)):
        return "it changes its buffers in training, outside of what is clipped and noised"
    if not (_near(alone, among_others) and _near(alone, later)):
        return (
            "the gradient of a record depends on more than the record, so that clipping it does "
            "not bound what the others do"
        )
    return ""


def _buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def _near(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Up to rounding."""
    return all((a[name] - b[name]).norm() <= 1e-3 * a[name].norm() + 1e-6 for name in a)


# ---- training ----------------------------------------------------------------------------------


def prepare(
    records: np.ndarray,
    labels: np.ndarray,
    classes: int,
    architecture: str,
    config: TrainConfig,
    *,
    noise: float,
    expected: float,
    seed: int,
    device: str = "cpu",
) -> tuple[Place, Callable[[torch.Tensor, torch.Generator], None]]:
    """A fresh model of this seed with all that it is trained with, and its step.

    `noise` is the multiplier, `expected` the batch size that a step's sum is divided by. The step
    takes a batch, int64 (B,), and the generator of its noise.
    """
    shape = records.shape[1:]
    generators = Generators.of_seed(seed, device)
    with DrawnFrom(generators):
        model = build(architecture, shape, classes, dropout=config.dropout)
    model = private_layers(model, _dp_of(config).weight_standardisation)
    own_layers(model, generators.device).to(  # type: ignore[call-overload]  # torch leaves it out
        device=device, memory_format=torch.channels_last
    )
    place = Place(
        model,
        make_optimizer(model, config, device),
        Loader(records, labels, device),
        generators,
        regularizers(config),
    )
    by_itself = draws_by_itself(architecture, shape, classes)

    def step(batch: torch.Tensor, noising: torch.Generator) -> None:
        with DrawnFrom(generators) if by_itself else nullcontext():
            _step(place, config, noise, expected, batch, noising)

    return place, step


def fit_private(
    records: np.ndarray,
    labels: np.ndarray,
    classes: int,
    members: np.ndarray,
    architecture: str,
    config: TrainConfig,
    *,
    seed: int,
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: float = 600.0,
    worker: Worker | None = None,
    observe: Callable[[int, np.ndarray], None] | None = None,
) -> Trained:
    """As `loop.fit`, by DP-SGD (Abadi et al., 2016, algorithm 1) with Poisson sampling.

    Each step takes every member with probability batch_size / members, clips the gradient of each
    record to `max_grad_norm`, sums, adds Gaussian noise of noise_multiplier x max_grad_norm and
    divides by the expected batch size.

    Sampling and noise have streams of their own, which follow from the seed and from everything
    else that decides the model: no two models share them, whatever they have in common. They are
    repeatable, for research: who knows the seed, which records keep, can compute the noise and
    take it off. For a release to the public draw the seed by `secrets.randbits(64)`, tell nobody,
    and delete it; what remains is that the generator is no cryptographic one and that noise of
    floating-point numbers has gaps (Mironov, 2012).

    Losses of epochs are not returned: nothing noised them.
    """
    index = np.flatnonzero(members)
    rate, steps = sampling(config, len(index))
    per_epoch = steps // config.epochs
    assert config.dp is not None
    noise = noise_multiplier(config.dp, rate, steps)
    own = _own_name(records, labels, index, classes, architecture, config, device)
    place, step = prepare(
        records,
        labels,
        classes,
        architecture,
        config,
        noise=noise,
        expected=rate * len(index),
        seed=seed,
        device=device,
    )
    before, state = _buffers(place.model), load_checkpoint(checkpoint, device)
    taken = 0 if state is None else state["epoch"] * per_epoch

    def one_epoch(epoch: int) -> None:
        nonlocal taken
        # Of (seed, epoch): a resumed run goes on with the same draws and the same noise.
        drawing = numpy_generator(seed, "dp sampling", own, epoch)
        noising = torch_generator(seed, "dp noise", own, epoch, device=device)
        for number in range(per_epoch):
            place.set_rate(config.rate(epoch + (number + 0.5) / per_epoch))
            batch = torch.from_numpy(index[drawing.random(len(index)) < rate]).to(device)
            step(batch, noising)
            taken += 1

    trained = run_epochs(
        place,
        config,
        one_epoch,
        state=state,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        worker=worker,
        observe=observe,
    )
    if not _same(before, _buffers(place.model)):
        raise InputError(
            f"architecture {architecture!r} changed its buffers during the training, outside of "
            "what is clipped and noised; it cannot be trained with dp"
        )
    privacy = statement(
        _dp_of(config),
        noise,
        rate,
        taken,
        unit="record",
        not_covered="no figure that was computed from members",
    )
    return replace(trained, privacy=privacy)


def _own_name(records, labels, index, classes, architecture, config, device) -> str:
    """Of the model's streams: a hash of all that decides the model, beside the seed."""
    facts = [RECIPE, architecture_id(architecture), classes, config.changed(), device]
    facts += [records.shape, str(records.dtype)]
    own = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for rows in np.array_split(index, range(10_000, len(index), 10_000)):
        for part in (rows, labels[rows], records[rows]):
            own.update(np.ascontiguousarray(part).data)
    return own.hexdigest()


def _step(
    place: Place,
    config: TrainConfig,
    noise: float,
    expected: float,
    batch: torch.Tensor,
    noising: torch.Generator,
) -> None:
    """One private step. An empty batch is noise alone."""
    dp = _dp_of(config)
    copies = dp.multiplicity
    parameters = trained_parameters(place.model)
    # The fused optimizers take a gradient's strides to be the parameter's.
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for part in batch.split(max(1, _PHYSICAL // copies)) if len(batch) else ():
        rows = part.repeat_interleave(copies)
        x, _ = training_batch(place.loader, rows, place.changes, place.generators)
        x = x.unflatten(0, (len(part), copies))
        y = place.loader.labels[part]
        found = clipped_sum(place.model, x, y, dp.max_grad_norm, config.label_smoothing)
        for name, total in sums.items():
            total += found[name]
    for name, parameter in parameters.items():
        if noise:
            drawn = torch.randn(
                parameter.shape, generator=noising, dtype=parameter.dtype, device=parameter.device
            )
            sums[name] += noise * dp.max_grad_norm * drawn
        parameter.grad = sums[name] / expected
    place.optimizer.step()
    place.optimizer.zero_grad(set_to_none=True)
