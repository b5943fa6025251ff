"""Defenses by name: the report's, and those that it names without testing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from .. import arguments
from ..data import Masks, Pool
from ..engine.train import train
from ..errors import InputError, shown
from ..outputs import Outputs
from ..training.config import DPConfig, TrainConfig
from . import masking
from .memguard import memguard
from .selena import LEFT_OUT, SUB_MODELS, train_selena
from .stacking import BASES, train_stacked


@dataclass(frozen=True)
class Defense:
    """What a defender does: to the training settings, to the training itself, to the answers.

    Parameters
    ----------
    title : str
        As in figures and tables.
    changes : mapping
        Fields of `TrainConfig` that differ from the undefended ones.
    mask : function Outputs -> Outputs, or None
    trainer : function with the signature of `engine.train`
    cost : float
        Of a defended model, in plain trainings, about.
    """

    name: str
    title: str
    changes: Mapping = field(default_factory=dict)
    mask: Callable[[Outputs], Outputs] | None = None
    trainer: Callable[..., Outputs] = train
    cost: float = 1.0


def _masking(name: str, title: str, mask: Callable[[Outputs], Outputs]) -> Defense:
    return Defense(name, title, mask=mask, cost=0.0)


def _dp(name: str, title: str, **promise) -> Defense:
    # Large batches and the rate that goes with them: 0.56 of CIFAR-10's test records right after 20
    # epochs of the "cnn" on a quarter at epsilon 8, with 128 and 1e-3 it is 0.49.
    recipe = {"batch_size": 1024, "lr": 4e-3}
    return Defense(name, title, {"dp": DPConfig(**promise), **recipe}, cost=2.0)


_ALL = (
    Defense("none", "none"),
    Defense("augmentation", "crop and flip", {"augmentation": "crop_flip"}),
    Defense("randaugment", "RandAugment", {"augmentation": "randaugment"}),
    Defense("mixup", "mixup", {"mixup": 1.0}),
    Defense("l2_1e-3", "L2 1e-3", {"weight_decay": 1e-3}),
    Defense("l2_1e-4", "L2 1e-4", {"weight_decay": 1e-4}),
    Defense("dropout", "dropout 0.5", {"dropout": 0.5}),
    Defense("label_smoothing", "label smoothing 0.1", {"label_smoothing": 0.1}),
    Defense("relaxloss", "RelaxLoss 0.5", {"relax_loss": 0.5}),
    Defense("early_stopping", "early stopping", {"early_stopping": 5}),
    Defense("stacking", "stacking", trainer=train_stacked, cost=BASES / (BASES + 1)),
    Defense("selena", "SELENA", trainer=train_selena, cost=SUB_MODELS - LEFT_OUT + 1),
    *(_dp(f"dp_eps{e}", f"DP-SGD, epsilon {e}", epsilon=float(e)) for e in (1, 2, 4, 8)),
    _dp("dp_clip", "clipping, no noise", noise_multiplier=0.0),
    _masking("top1", "top-1", partial(masking.top_k, k=1)),
    _masking("top3", "top-3", partial(masking.top_k, k=3)),
    _masking("rounding", "rounded to 0.1", partial(masking.rounding, decimals=1)),
    _masking("temperature", "temperature 4", partial(masking.temperature, value=4.0)),
    _masking("noise", "noise 2 on logits", partial(masking.noise, scale=2.0)),
    _masking("label_only", "label only", masking.label_only),
    _masking("memguard", "MemGuard", memguard),
)
_BY_NAME = {defense.name: defense for defense in _ALL}


def names() -> tuple[str, ...]:
    """Every name that `preset` takes."""
    return tuple(_BY_NAME)


def preset(name: str) -> Defense:
    """The defense of that name.

    Raises
    ------
    InputError
        If there is none.

    >>> preset("l2_1e-3").changes
    {'weight_decay': 0.001}
    """
    if not isinstance(name, str) or name not in _BY_NAME:
        raise InputError(
            f"no defense is called {shown(name)}; expected one of {', '.join(_BY_NAME)}"
        )
    return _BY_NAME[name]


def train_defended(
    pool: Pool,
    masks: Masks,
    architecture: str,
    config: TrainConfig = TrainConfig(),
    defense: str | Defense = "none",
    **options,
) -> Outputs:
    """The answers of models that are trained and masked by a defense; options as `engine.train`.

    Raises
    ------
    InputError
        If the defense is unknown, or as `engine.train`.
    """
    chosen = defense if isinstance(defense, Defense) else preset(defense)
    arguments.instance("config", config, TrainConfig, "a TrainConfig")
    if config.dp is not None and chosen.name == "memguard":
        raise InputError(
            "memguard and dp together: MemGuard learns from members without noise, so its answers "
            "would have no epsilon; choose one"
        )
    outputs = chosen.trainer(
        pool, masks, architecture, replace(config, **chosen.changes), **options
    )
    return chosen.mask(outputs) if chosen.mask else outputs
