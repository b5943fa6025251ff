"""DP-SGD: every record's gradient is clipped, noise is added, an accountant keeps count.

Noise and accounting are Opacus', the clipped sum is that of `clipping`: faster than Opacus' hooks,
which besides are wrong for convolutions of channels_last images (Opacus 1.6).
"""

from __future__ import annotations

import math
import time
import warnings
from functools import lru_cache, partial

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ..data import Pool
from ..errors import InputError
from .clipping import clipped_sum, record_gradients
from .config import DPConfig, TrainConfig
from .generators import DrawnFrom, Generators, own_layers
from .graphs import set_rate
from .loop import Loader, Trained, make_optimizer, score, training_batch
from .models import build, draws_by_itself
from .regularizer import regularizers

RECIPE = 2
"""Version of what decides the bits of a privately trained model, beside `training.RECIPE`."""
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
    """The model with every BatchNorm as GroupNorm: a batch's statistics mix its records."""
    from opacus.validators import ModuleValidator

    model = ModuleValidator.fix(model)
    for layer in list(model.modules()) if weight_standardisation else ():
        if isinstance(layer, nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", WeightStandardisation())
    return model


def sampling(config: TrainConfig, members: int) -> tuple[float, int]:
    """Probability with which a step takes each member, and the number of steps in all."""
    rate = min(1.0, config.batch_size / members)
    return rate, config.epochs * max(1, round(1 / rate))


def epsilon_of(dp: DPConfig, noise: float, rate: float, steps: int) -> float:
    """Epsilon at `dp.delta` after so many steps of the subsampled Gaussian mechanism."""
    from opacus.accountants import create_accountant

    if noise == 0:
        return math.inf
    accountant = create_accountant(dp.accountant)
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the RDP orders: the bound holds for any of them
        return float(accountant.get_epsilon(delta=dp.delta))


@lru_cache(maxsize=64)
def noise_multiplier(dp: DPConfig, rate: float, steps: int) -> float:
    """The noise that keeps the promise, or the one that was asked for.

    Raises
    ------
    InputError
        If no noise keeps the promise.
    """
    from opacus.accountants.utils import get_noise_multiplier

    if dp.noise_multiplier is not None:
        return dp.noise_multiplier
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(
                get_noise_multiplier(
                    target_epsilon=dp.epsilon,
                    target_delta=dp.delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant=dp.accountant,
                )
            )
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"epsilon={dp.epsilon} at delta={dp.delta} cannot be reached in {steps} steps with "
            f"sampling rate {rate:.3g}: {' '.join(str(error).split())}; take a larger epsilon, "
            "fewer epochs or smaller batches"
        ) from None


def check_private(
    architecture: str, pool: Pool, config: TrainConfig, sizes: list[int], precision: str
) -> None:
    """Everything that can be wrong with a private training, before it starts.

    Raises
    ------
    InputError
        If a layer has no gradient record by record, the promise cannot be kept, or delta is too large.
    """
    if precision != "fp32":
        raise InputError(f"dp trains in fp32, not in {precision}; leave precision at 'fp32'")
    model = build(architecture, pool.shape, len(pool.classes), dropout=config.dropout)
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        warnings.warn(
            f"{architecture}: BatchNorm mixes the records of a batch; GroupNorm takes its place",
            stacklevel=3,
        )
    records = torch.zeros(2, 1, *(pool.shape[2:] + pool.shape[:2] if pool.is_image else pool.shape))
    private = private_layers(model, config.dp.weight_standardisation).train()
    before = {name: value.clone() for name, value in private.named_buffers()}
    try:
        record_gradients(private)(records, torch.zeros(2, dtype=torch.int64))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"architecture {architecture!r} cannot be trained with dp: {reason}"
        ) from None
    if any(not torch.equal(value, before[name]) for name, value in private.named_buffers()):
        raise InputError(
            f"architecture {architecture!r} cannot be trained with dp: it keeps statistics of its "
            "batches in buffers, outside of what is clipped"
        )
    for members in sizes:
        if config.dp.delta >= 1 / members:
            raise InputError(
                f"delta={config.dp.delta} with {members} members; a delta of 1/{members} or more "
                "lets a mechanism publish a record outright"
            )
        noise_multiplier(config.dp, *sampling(config, members))


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
):
    """A fresh model of this seed, with optimizer, loader and step (batch) -> loss.

    `noise` is the multiplier, `expected` the batch size that a step's sum is divided by.
    """
    from opacus.optimizers import DPOptimizerFastGradientClipping

    shape = records.shape[1:]
    generators = Generators.of_seed(seed, device)
    with DrawnFrom(generators):
        model = build(architecture, shape, classes, dropout=config.dropout)
    model = private_layers(model, config.dp.weight_standardisation)
    own_layers(model, generators.device)
    model.to(device, memory_format=torch.channels_last)
    # Takes sums that are clipped already, whoever clipped them.
    optimizer = DPOptimizerFastGradientClipping(
        make_optimizer(model, config, device),
        noise_multiplier=noise,
        max_grad_norm=config.dp.max_grad_norm,
        expected_batch_size=expected,
        generator=torch.Generator(device).manual_seed(seed),
    )
    loader = Loader(records, labels, device)
    step = partial(_step, model, optimizer, loader, config, generators)
    if not draws_by_itself(architecture, shape, classes):
        return model, optimizer, loader, step

    def drawn(batch: torch.Tensor) -> torch.Tensor:
        with DrawnFrom(generators):
            return step(batch)

    return model, optimizer, loader, drawn


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
) -> Trained:
    """As `training.fit`, by DP-SGD (Abadi et al., 2016, algorithm 1) with Poisson sampling.

    Each step takes every member with probability batch_size / members, clips the gradient of each
    record to `max_grad_norm`, sums, adds Gaussian noise of noise_multiplier x max_grad_norm and
    divides by the expected batch size. Sampling and noise come from the seed: repeatable for
    research. A release to the public needs a secure generator.
    """
    began = time.perf_counter()
    dp = config.dp
    index = np.flatnonzero(members)
    rate, steps = sampling(config, len(index))
    noise = noise_multiplier(dp, rate, steps)
    model, optimizer, loader, step = prepare(
        records, labels, classes, architecture, config,
        noise=noise, expected=rate * len(index), seed=seed, device=device,
    )  # fmt: skip
    rng = np.random.default_rng([seed, 4])
    losses = []
    for epoch in range(config.epochs):
        model.train()
        set_rate(optimizer, config.rate(epoch))
        total, seen = torch.zeros((), device=device), 0
        for _ in range(steps // config.epochs):
            batch = torch.from_numpy(index[rng.random(len(index)) < rate]).to(device)
            total += step(batch)
            seen += len(batch)
        losses.append(float(total) / max(1, seen))
    privacy = {
        "noise_multiplier": noise,
        "sampling_rate": rate,
        "steps": steps,
        "epsilon": epsilon_of(dp, noise, rate, steps),
        "delta": dp.delta,
        "adjacency": "add or remove one record",
    }
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    seconds = time.perf_counter() - began
    return Trained(weights, score(model, loader), losses, seconds, privacy)


def _step(
    model,
    optimizer,
    loader: Loader,
    config: TrainConfig,
    generators: Generators,
    batch: torch.Tensor,
):
    """One private step; returns the summed loss of the batch. An empty batch still adds noise."""
    total = torch.zeros((), device=batch.device)
    copies = config.dp.multiplicity
    parts = batch.split(max(1, _PHYSICAL // copies)) if len(batch) else (batch,)
    for number, part in enumerate(parts):
        optimizer.signal_skip_step(number < len(parts) - 1)
        if len(part):
            x, _ = training_batch(
                loader, part.repeat_interleave(copies), regularizers(config), generators
            )
            x = x.unflatten(0, (len(part), copies))
            sums, losses = clipped_sum(
                model, x, loader.labels[part], config.dp.max_grad_norm, config.label_smoothing
            )
            total += losses.sum()
        for name, parameter in model.named_parameters():
            # The fused optimizers take a gradient's strides to be the parameter's.
            parameter.grad = torch.zeros_like(parameter)
            if len(part):
                parameter.grad.copy_(sums[name])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return total
