"""What DP-SGD spends: how often records are drawn, which noise a promise takes, what a run has cost.

The sums are Opacus'. Its "prv" accountant is the tighter one, but computes on a grid that grows with
epsilon and with the steps: where that would take minutes, "rdp" answers, in no time and a little
higher. Both are upper bounds.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import NamedTuple, Protocol

from .. import arguments
from ..errors import InputError
from .config import DPConfig

RECIPE = 3
"""Version of what decides the bits of a privately trained model, beside `loop.RECIPE`."""
MENDED = {3: "the noise of DP-SGD followed from the seed of the initial weights"}
"""What was wrong with private models before a recipe that mended it."""

_POINTS = 2**20  # of the grid: some two seconds
_GRID_ERROR = 0.01  # of epsilon, Opacus' default
_LEAST, _MOST = 1e-3, 1e4  # noise multipliers that are looked at
_ORDERS = (*range(2, 64), 128, 256, 512)
_FRACTIONS = (1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 1.75, 2.25, 2.5, 3.5, 4.5)
"""Rényi orders. Those between the integers matter where there is little noise; elsewhere they take
long, unless every record is drawn."""


def faults(recipe: int | None) -> str:
    """What was wrong with private models of a recipe (None: older than recipes), "" if nothing.

    >>> faults(RECIPE)
    ''
    """
    if recipe is not None:
        arguments.as_integer("recipe", recipe, "the number of a recipe", 0)
    return "; ".join(fault for by, fault in MENDED.items() if recipe is None or recipe < by)


class Spent(NamedTuple):
    """Epsilon at `DPConfig.delta`, and the accountant that says so: "prv" or "rdp"."""

    epsilon: float
    accountant: str


class Sampled(Protocol):
    """Settings, as far as sampling needs them."""

    @property
    def epochs(self) -> int: ...

    @property
    def batch_size(self) -> int: ...


def sampling(config: Sampled, members: int) -> tuple[float, int]:
    """Probability with which a step takes each member, and the number of steps in all.

    Raises
    ------
    InputError
        If `members` is no number of records.
    """
    arguments.count("members", members)
    rate = min(1.0, config.batch_size / members)
    return rate, config.epochs * max(1, round(1 / rate))


def spent(dp: DPConfig, noise: float, rate: float, steps: int) -> Spent:
    """Epsilon after so many steps of the subsampled Gaussian mechanism; infinite without noise."""
    if noise == 0:
        return Spent(math.inf, dp.accountant)
    # Beyond the largest noise that is looked at, its epsilon still holds.
    run = min(noise, _MOST), rate, steps
    bounds = [Spent(_epsilon("rdp", run, dp.delta), "rdp")]
    if dp.accountant == "prv" and _points(run, dp.delta) <= _POINTS:
        # Where epsilon is tiny, the error of the grid makes "prv" the looser of the two.
        bounds.append(Spent(_epsilon("prv", run, dp.delta), "prv"))
    return min(bounds)


def statement(
    dp: DPConfig, noise: float, rate: float, steps: int, *, unit: str, not_covered: str
) -> dict:
    """What a model's record says of its privacy; plain values, none of them infinite.

    Parameters
    ----------
    unit : str
        What is protected: "record".
    not_covered : str
        What the promise does not speak of.
    """
    epsilon, accountant = spent(dp, noise, rate, steps)
    bounded = math.isfinite(epsilon)
    return {
        "unit": f"one {unit}",
        "noise_multiplier": noise,
        "sampling_rate": rate,
        "steps": steps,
        "epsilon": epsilon if bounded else None,
        **({} if bounded else {"why_no_epsilon": "so little noise promises nothing"}),
        "delta": dp.delta,
        "accountant": accountant,
        "adjacency": f"add or remove one {unit}; the number of members counts as known",
        "covers": f"the weights, if nobody learns the seed; {not_covered}",
    }


def epsilon_of(dp: DPConfig, noise: float, rate: float, steps: int) -> float:
    """Epsilon at `dp.delta` after so many steps of the subsampled Gaussian mechanism.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    arguments.number("noise", noise, "a number >= 0", 0, math.inf, closed="low")
    _check_run(dp, rate, steps)
    return spent(dp, noise, rate, steps).epsilon


def noise_multiplier(dp: DPConfig, rate: float, steps: int) -> float:
    """Noise that keeps the promise, or the one that was asked for.

    It is the least that its accountant finds enough, to within a hundredth. Where the grid of "prv"
    would be too fine for so many steps it is that of "rdp", which asks for up to some 6 % more.

    Raises
    ------
    InputError
        If no noise keeps the promise, or a number is out of range.
    """
    _check_run(dp, rate, steps)
    return _noise(dp, rate, steps) if dp.noise_multiplier is None else dp.noise_multiplier


def _check_run(dp: DPConfig, rate: float, steps: int) -> None:
    arguments.instance("dp", dp, DPConfig, "a DPConfig")
    arguments.number("rate", rate, "a share in (0, 1]", 0, 1, closed="high")
    arguments.count("steps", steps)


@lru_cache(maxsize=64)
def _noise(dp: DPConfig, rate: float, steps: int) -> float:
    epsilon = dp.epsilon
    assert epsilon is not None, "one of the two is given"

    def by(accountant):
        return lambda noise: _epsilon(accountant, (noise, rate, steps), dp.delta)

    found = _smallest(by("rdp"), epsilon, _LEAST, _MOST)
    # "rdp" says at most so much more than "prv": the tighter noise lies between the two.
    low = _smallest(by("rdp"), 1.5 * epsilon + 0.3, _LEAST, _MOST)
    if low and dp.accountant == "prv" and _points((low, rate, steps), dp.delta) <= _POINTS:
        found = _smallest(by("prv"), epsilon, low, found or _MOST) or found
    if found is None:
        raise InputError(
            f"epsilon={dp.epsilon} at delta={dp.delta} cannot be reached in {steps} steps with "
            f"sampling rate {rate:.3g} by any noise up to {_MOST:g}, as the {dp.accountant!r} "
            "accountant counts; take a larger epsilon, fewer epochs or smaller batches"
        )
    return found


def _smallest(epsilon, target: float, low: float, high: float) -> float | None:
    """The smallest noise in a range with epsilon(noise) <= target, from above; None if there is none."""
    from scipy.optimize import brentq

    def excess(log_noise: float) -> float:
        return math.log(max(epsilon(math.exp(log_noise)), 1e-12) / target)

    if excess(math.log(high)) > 0:
        return None
    if excess(math.log(low)) <= 0:
        return low
    noise = math.exp(brentq(excess, math.log(low), math.log(high), xtol=2e-3))
    while epsilon(noise) > target:
        noise *= 1.002
    return noise


@lru_cache(maxsize=256)
def _epsilon(accountant: str, run: tuple[float, float, int], delta: float) -> float:
    """What one of Opacus' accountants says of a run (noise, rate, steps); infinity if it gives up."""
    from opacus.accountants import create_accountant

    counting = create_accountant(accountant)
    counting.history = [run]
    noise, rate, _ = run
    orders = _ORDERS + (_FRACTIONS if noise < 2 or rate == 1 else ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the RDP orders: the bound holds for any of them
        try:
            options = {"alphas": orders} if accountant == "rdp" else {}
            epsilon = float(counting.get_epsilon(delta=delta, **options))
        except (ArithmeticError, ValueError, RuntimeError):
            return math.inf
    return math.inf if math.isnan(epsilon) else max(epsilon, 0.0)


def _points(run: tuple[float, float, int], delta: float) -> float:
    """How large the grid of "prv" would be (Gopi, Lee & Wutschitz, 2021), as Opacus lays it."""
    _, _, steps = run
    width = max(_epsilon("rdp", run, delta / 4000), _GRID_ERROR) + 3
    mesh = _GRID_ERROR / math.sqrt(steps * math.log(12_000 / delta) / 2)
    return 2 * width / mesh if width < 300 else math.inf  # e^width must stay a number
