"""Attacks by name, for where names arrive as text: notebook parameters, plans, commands.

Those that ask models anew (label-only, white-box) need a pool and are made by their classes.
"""

from __future__ import annotations

from ..errors import InputError
from .base import Attack
from .base_attack import BASE
from .baseline import CorrectnessAttack, RandomAttack
from .learned import LearnedAttack
from .lira import LiRA
from .metric import ConfidenceAttack, EntropyAttack, LossAttack, MarginAttack, ModifiedEntropyAttack
from .quantile import QuantileAttack
from .reference import CalibratedAttack, PopulationAttack, ReferenceAttack
from .rmia import RMIA
from .similarity import SimilarityAttack
from .stacked import StackedAttack

_ATTACKS: dict[str, type[Attack]] = {
    "random": RandomAttack,
    "correctness": CorrectnessAttack,
    "loss": LossAttack,
    "confidence": ConfidenceAttack,
    "entropy": EntropyAttack,
    "modified_entropy": ModifiedEntropyAttack,
    "margin": MarginAttack,
    "learned": LearnedAttack,
    "similarity": SimilarityAttack,
    "population": PopulationAttack,
    "reference": ReferenceAttack,
    "calibrated": CalibratedAttack,
    "lira": LiRA,
    "rmia": RMIA,
    "base": BASE,
    "quantile": QuantileAttack,
    "stacked": StackedAttack,
}


def names() -> tuple[str, ...]:
    """Every name that `by_name` takes."""
    return tuple(_ATTACKS)


def by_name(name: str, **options) -> Attack:
    """The attack of that name; the attacks in "stacked" may be names too.

    Raises
    ------
    InputError
        If there is no such attack, or it has no such option.

    >>> by_name("loss", threshold=0.5).threshold
    0.5
    """
    if name not in _ATTACKS:
        raise InputError(f"no attack is called {name!r}; expected one of {', '.join(_ATTACKS)}")
    if name == "stacked":
        attacks = options.get("attacks", ())
        options["attacks"] = [by_name(a) if isinstance(a, str) else a for a in attacks]
    try:
        return _ATTACKS[name](**options)
    except TypeError as error:
        raise InputError(f"attack {name!r} with options {sorted(options)}: {error}") from None
