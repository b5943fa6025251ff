"""MemGuard (Jia et al., 2019): noise on an answer that makes the defender's own attack unsure."""

from __future__ import annotations

import numpy as np

from .. import arguments
from ..attacks.mlp import MLP
from ..errors import InputError
from ..outputs import Outputs, check_outputs
from ..signals import log_softmax
from .masking import _released

_STEPS, _STEP = 150, 0.1  # normalised gradient steps, and their length in logits
_LABEL, _DISTANCE = 10.0, 0.1  # the paper's c2 and c3
_FEWEST = 20


def memguard(outputs: Outputs, *, budget: float = 0.5, seed: int = 0) -> Outputs:
    """Answers with adversarial noise, added with a probability that keeps the distortion in budget.

    The defender trains an attack of its own, an MLP on sorted probabilities, to tell the members
    of its model from records of the pool that are neither members nor evaluated. For each answer
    it looks for the nearest one (in L1) with the same label that this attack cannot decide (phase
    I), and then releases that one with the probability that makes the expected L1 distortion at
    most the budget (phase II). The draw for an answer is fixed: asking again tells nothing new.

    Differences from the paper: phase I takes one value of its c3 in place of a search, and 150
    steps.

    Parameters
    ----------
    budget : float
        Expected L1 distance of released and original probabilities, in (0, 2].

    Raises
    ------
    InputError
        If the budget is out of range, or a model has too few records that are neither members nor
        evaluated: trained on the audited records, the defense would look better than it is.
    """
    check_outputs(outputs, "memguard(outputs)")
    arguments.number("budget", budget, "an L1 distance in (0, 2]", 0, 2, closed="high")
    arguments.seed(seed)
    masked = np.empty(outputs.logits.shape, np.float32)
    for model, logits in enumerate(outputs.logits):
        members = outputs.members[model]
        inside, apart = (
            np.flatnonzero(members),
            np.flatnonzero(~members & ~outputs.evaluated[model]),
        )
        if min(inside.size, apart.size) < _FEWEST:
            raise InputError(
                f"model {model} has {inside.size} members and {apart.size} records that are "
                f"neither members nor evaluated; MemGuard's defender needs {_FEWEST} of each"
            )
        masked[model] = _masked(logits, _guard(logits, inside, apart, seed), budget, seed)
    return outputs.replace(logits=masked, masked=True)


def _guard(logits: np.ndarray, inside: np.ndarray, apart: np.ndarray, seed: int) -> MLP:
    """The defender's attack: membership from sorted probabilities."""
    rng = np.random.default_rng([seed, 8])
    count = min(inside.size, apart.size)
    rows = np.concatenate([rng.permutation(inside)[:count], rng.permutation(apart)[:count]])
    truth = np.repeat([True, False], count)
    order = rng.permutation(rows.size)
    x = np.sort(np.exp(log_softmax(logits[rows[order]])), axis=1)[:, ::-1].astype(np.float32)
    y, cut = truth[order], max(2, rows.size // 10)
    return MLP((64,), epochs=30, seed=seed).fit(x[cut:], y[cut:], x[:cut], y[:cut])


def _masked(logits: np.ndarray, guard: MLP, budget: float, seed: int) -> np.ndarray:
    """Log-probabilities (N, C) of one model's released answers."""
    p = np.exp(log_softmax(logits))
    noisy = _undecided(logits, guard)
    distance = np.abs(noisy - p).sum(axis=1)
    before, after = (np.abs(guard.log_odds(np.sort(q, axis=1)[:, ::-1])) for q in (p, noisy))
    share = np.where(after < before, np.minimum(1, budget / np.maximum(distance, 1e-12)), 0)
    # One draw for each answer, from the answer itself.
    first = np.ascontiguousarray(logits, dtype=np.float32).view(np.uint32)
    keys = (first.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).sum(axis=1, dtype=np.uint64)
    draws = np.array([np.random.default_rng((seed, int(key))).random() for key in keys])
    released = np.where((draws < share)[:, None], noisy, p)
    return _released(released, logits)


def _undecided(logits: np.ndarray, guard: MLP) -> np.ndarray:
    """Phase I: probabilities (N, C) with the same label and log-odds of the guard near 0."""
    import torch

    log_odds = guard.tensor_log_odds()
    z = torch.from_numpy(np.ascontiguousarray(logits, dtype=np.float32))
    z = z - z.mean(dim=1, keepdim=True)
    p = z.softmax(dim=1)
    label = z.argmax(dim=1, keepdim=True)
    found, e = p.clone(), torch.zeros_like(z)
    best = torch.full((len(z),), torch.inf)
    for _ in range(_STEPS):
        e.requires_grad_()
        moved = z + e
        q = moved.softmax(dim=1)
        ordered = q.sort(dim=1, descending=True).values
        odds = log_odds(ordered)
        others = moved.scatter(1, label, -torch.inf).amax(dim=1)
        lost = torch.relu(others - moved.gather(1, label)[:, 0])
        distance = (q - p).abs().sum(dim=1)
        (slope,) = torch.autograd.grad((odds.abs() + _LABEL * lost + _DISTANCE * distance).sum(), e)
        with torch.no_grad():
            better = (lost == 0) & (odds.abs() < best)
            best = torch.where(better, odds.abs(), best)
            found = torch.where(better[:, None], q, found)
            e = e - _STEP * slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return found.detach().double().numpy()
