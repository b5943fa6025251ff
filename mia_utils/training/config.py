"""How a model is trained: plain values, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from ..arguments import as_integer, as_number, refuse
from ..errors import InputError

OPTIMIZERS = ("adam", "adamw", "sgd")
AUGMENTATIONS = ("none", "crop_flip", "randaugment")
SCHEDULES = ("constant", "one_cycle")
_RISE = 0.2  # of the steps, in which the rate of one cycle rises
ACCOUNTANTS = ("prv", "rdp")


def _check(condition: bool, name: str, value, expected: str) -> None:
    if not condition:
        refuse(name, value, expected)


def as_seed(seed) -> int:
    """A training's seed as a Python int, of any width: what draws noise must not be guessed.

    Raises
    ------
    InputError
        If it is no integer of at least 0.

    >>> as_seed(np.int64(3))
    3
    """
    return as_integer("seed", seed, "an integer >= 0", 0)


@dataclass(frozen=True)
class DPConfig:
    """Differentially private training (DP-SGD, Abadi et al., 2016); neighbours add or remove a record.

    The expected batch size, the epochs and the optimizer are those of `TrainConfig`. The number of
    members counts as known, and each model spends a promise of its own: of two models that share
    records the epsilons add up.

    Parameters
    ----------
    epsilon : float or None
        The promise to be kept; the noise follows from it.
    noise_multiplier : float or None
        Instead: standard deviation of the noise over `max_grad_norm`. 0 is clipping without noise,
        which promises nothing.
    delta : float
        In (0, 1); smaller than one over the number of members.
    max_grad_norm : float
        L2 norm to which each record's gradient is clipped, over all parameters that are trained.
    accountant : "prv" or "rdp"
        "prv" is tighter, and is asked where that takes seconds; else "rdp" answers. A model's
        record says which it was.
    multiplicity : int
        Augmented copies of a record whose gradients are averaged before they are clipped, so that
        they cost no privacy (De et al., 2022); needs an augmentation.
    weight_standardisation : bool
        The kernels of convolutions are used with mean 0 and a fixed variance (Brock et al., 2021).

    Raises
    ------
    InputError
        If a value is out of range, or not exactly one of epsilon and noise_multiplier is given.
    """

    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float = 1e-5
    max_grad_norm: float = 1.0
    accountant: str = "prv"
    multiplicity: int = 1
    weight_standardisation: bool = False

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise InputError(
                f"epsilon={self.epsilon!r}, noise_multiplier={self.noise_multiplier!r}; "
                "expected exactly one of them"
            )
        for name, (cast, holds, expected) in _PRIVATE_NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in ("epsilon", "noise_multiplier"):
                continue
            number = cast(name, value, expected)
            _check(holds(number), name, value, expected)
            object.__setattr__(self, name, number)
        accountant, standardised = self.accountant, self.weight_standardisation
        known = isinstance(accountant, str) and accountant in ACCOUNTANTS
        _check(known, "accountant", accountant, f"one of {ACCOUNTANTS}")
        is_bool = isinstance(standardised, (bool, np.bool_))
        _check(is_bool, "weight_standardisation", standardised, "True or False")
        object.__setattr__(self, "weight_standardisation", bool(standardised))


MOST = 2**31
"""No training has so many epochs, and no batch so many records: a number beyond is a mistake."""
_Rule = tuple[Callable[[str, object, str], float], Callable[[float], bool], str]
_PRIVATE_NUMBERS: dict[str, _Rule] = {
    "epsilon": (as_number, lambda v: v > 0, "a positive number"),
    "noise_multiplier": (as_number, lambda v: v >= 0, "a number >= 0"),
    "delta": (as_number, lambda v: 0 < v < 1, "a number in (0, 1)"),
    "max_grad_norm": (as_number, lambda v: v > 0, "a positive number"),
    "multiplicity": (as_integer, lambda v: 1 <= v < MOST, "an integer >= 1"),
}
_NUMBERS: dict[str, _Rule] = {
    "epochs": (as_integer, lambda v: 1 <= v < MOST, "an integer >= 1"),
    "batch_size": (as_integer, lambda v: 1 <= v < MOST, "an integer >= 1"),
    "lr": (as_number, lambda v: v > 0, "a positive number"),
    "lr_drop": (as_integer, lambda v: v >= 1, "an epoch >= 1 or None"),
    "weight_decay": (as_number, lambda v: v >= 0, "a number >= 0"),
    "dropout": (as_number, lambda v: 0 <= v < 1, "a number in [0, 1) or None"),
    # Of a smaller alpha float32 draws 1/2 and no share near 0 or 1.
    "mixup": (as_number, lambda v: v == 0 or v >= 0.01, "alpha >= 0.01, or 0 for none"),
    "label_smoothing": (as_number, lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "relax_loss": (as_number, lambda v: v >= 0, "a loss > 0, or 0 for none"),
    "momentum": (as_number, lambda v: 0 <= v < 1, "a number in [0, 1)"),
    "early_stopping": (as_integer, lambda v: v >= 0, "a patience in epochs, or 0 for none"),
}
_OPTIONAL = ("lr_drop", "dropout")
_CHOICES = {
    "optimizer": OPTIMIZERS,
    "augmentation": AUGMENTATIONS,
    "schedule": SCHEDULES,
}
_COMPILED_FROM = 30_000
"""Steps from which compiling a model pays: 16 s, against 0.16 ms a step of a small CNN and 0.48 ms of
a ResNet-18, on an H200."""
_REGULARIZERS = (
    "augmentation",
    "mixup",
    "label_smoothing",
    "relax_loss",
    "early_stopping",
    "soft_labels",
)


@dataclass(frozen=True)
class TrainConfig:
    """Training settings; the defaults are the report's (section 4.1).

    Parameters
    ----------
    epochs, batch_size, optimizer, lr
        50, 128, Adam, 1e-3.
    momentum, nesterov : float, bool
        Of SGD alone: 0.9, False.
    lr_drop : int or None
        Epoch after which the learning rate is a tenth (the report's code: 40).
    schedule : "constant" or "one_cycle"
        One cycle (Smith & Topin, 2019, in its linear form): the rate rises from 0 to `lr` over the
        first fifth of the steps and falls back to 0. Not with `lr_drop`.
    weight_decay : float
        With "adam" and "sgd" the coupled L2 term of the loss's gradient, with "adamw" the
        decoupled one (Loshchilov & Hutter, 2019): not the same defense.
    dropout : float or None
        None keeps the architecture's own (0.5 in alexnet, 0.2 in efficientnet, 0 elsewhere).
    augmentation : "none", "crop_flip" or "randaugment"
        On training batches of images only; every record is scored as it is.
    mixup : float
        Alpha of Beta(alpha, alpha) (Zhang et al., 2018); 0 is off.
    label_smoothing : float
        In [0, 1).
    relax_loss : float
        The loss that RelaxLoss (Chen, Yu & Fritz, 2022) aims at, its alpha, in nats; 0 is off.
        Not with mixup or label smoothing.
    early_stopping : int
        Patience in epochs on a tenth of the members that is held out, trained on by nobody and
        evaluated nowhere; 0 is off.
    soft_labels : str or None
        Name, in the store, of the probabilities that are learned in place of the labels
        (`Store.put_soft_labels`): distillation. Not with mixup, label smoothing, RelaxLoss or dp.
    compile : bool or "auto"
        The model is compiled (`torch.compile`), which pays on a GPU from some ten thousands of
        steps; "auto" is resolved by that rule before a model is named. Other bits, another name.
    dp : DPConfig or None
        DP-SGD in place of the plain step. Not with mixup, RelaxLoss or early stopping, whose steps
        depend on more than one record's clipped gradient.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    epochs: int = 50
    batch_size: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    lr_drop: int | None = None
    weight_decay: float = 0.0
    dropout: float | None = None
    augmentation: str = "none"
    mixup: float = 0.0
    label_smoothing: float = 0.0
    relax_loss: float = 0.0
    early_stopping: int = 0
    soft_labels: str | None = None
    dp: DPConfig | None = None
    momentum: float = 0.9
    nesterov: bool = False
    schedule: str = "constant"
    compile: bool | str = False

    def __post_init__(self) -> None:
        for name, (cast, holds, expected) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            number = cast(name, value, expected)
            _check(holds(number), name, value, expected)
            object.__setattr__(self, name, number)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            _check(isinstance(value, str) and value in choices, name, value, f"one of {choices}")
        _check(
            self.soft_labels is None or isinstance(self.soft_labels, str),
            "soft_labels",
            self.soft_labels,
            "the name that Store.put_soft_labels returned, or None",
        )
        _check(
            self.dp is None or isinstance(self.dp, DPConfig), "dp", self.dp, "a DPConfig or None"
        )
        for name, known in (("nesterov", (False, True)), ("compile", (False, True, "auto"))):
            value = getattr(self, name)
            value = bool(value) if isinstance(value, np.bool_) else value
            _check(
                isinstance(value, (bool, str)) and value in known,
                name,
                value,
                f"one of {known}",
            )
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        for name in ("momentum", "nesterov"):
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                _check(
                    self.optimizer == "sgd",
                    name,
                    getattr(self, name),
                    f"optimizer='sgd' with it, not {self.optimizer!r}",
                )
        if self.nesterov and not self.momentum:
            raise InputError("nesterov=True with momentum=0: there is nothing to look ahead with")
        if self.schedule == "one_cycle" and self.lr_drop is not None:
            raise InputError("lr_drop and schedule='one_cycle' together: choose one")
        if self.compile and self.dp is not None:
            raise InputError("compile and dp together: a private step is not compiled; choose one")
        if self.dp is not None and self.dp.multiplicity > 1 and self.augmentation == "none":
            raise InputError(
                f"multiplicity={self.dp.multiplicity} without augmentation: all copies would be the "
                "same; set augmentation to 'crop_flip' or 'randaugment'"
            )
        if any(getattr(self, name) not in (0, None, "none") for name in _REGULARIZERS):
            from .regularizers import check_together

            check_together(self)

    def rate(self, epoch: float) -> float:
        """Learning rate after so many epochs; within an epoch it changes only in one cycle.

        >>> TrainConfig(lr_drop=40).rate(39), TrainConfig(lr_drop=40).rate(40)
        (0.001, 0.0001)
        >>> cycle = TrainConfig(epochs=10, lr=0.4, schedule="one_cycle")
        >>> [cycle.rate(epoch) for epoch in (0, 1, 2, 6, 10)]
        [0.0, 0.2, 0.4, 0.2, 0.0]
        """
        if self.schedule == "one_cycle":
            done = epoch / self.epochs
            return self.lr * min(done / _RISE, (1 - done) / (1 - _RISE))
        dropped = self.lr_drop is not None and epoch >= self.lr_drop
        return self.lr / 10 if dropped else self.lr

    def resolved(self, device: str, members: int) -> TrainConfig:
        """These settings with nothing left to choose, as they name a model with so many members."""
        if self.compile != "auto":
            return self
        steps = self.epochs * -(-members // self.batch_size)
        return replace(self, compile=device == "cuda" and steps >= _COMPILED_FROM)

    def changed(self) -> dict:
        """The settings that differ from the defaults, for names and records.

        Fields at their default are left out, so that a field added later renames no old model.

        >>> TrainConfig(epochs=30).changed()
        {'epochs': 30}
        """
        return _changed(self)


def _changed(settings) -> dict:
    return {
        f.name: _changed(value) if isinstance(value, DPConfig) else value
        for f in fields(settings)
        if (value := getattr(settings, f.name)) != f.default
    }
