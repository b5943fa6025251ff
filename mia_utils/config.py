"""How a model is trained: plain values, nothing else."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields

from .errors import InputError

OPTIMIZERS = ("adam", "adamw", "sgd")
AUGMENTATIONS = ("none", "crop_flip", "randaugment")


def _check(condition: bool, name: str, value, expected: str) -> None:
    if not condition:
        raise InputError(f"{name}={value!r}; expected {expected}")


@dataclass(frozen=True)
class DPConfig:
    """DP-SGD (Abadi et al., 2016): either a noise multiplier or a target epsilon.

    Adjacency is add/remove of one record, sampling is Poisson. `delta` None means 1 / (10 x members).
    `noise_multiplier` 0 clips without noise and promises nothing.
    """

    clipping_norm: float = 1.0
    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    delta: float | None = None
    accountant: str = "prv"
    augmentation_multiplicity: int = 1

    def __post_init__(self) -> None:
        _check(self.clipping_norm > 0, "clipping_norm", self.clipping_norm, "a positive number")
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            raise InputError(
                f"noise_multiplier={self.noise_multiplier} and target_epsilon={self.target_epsilon}; "
                "expected exactly one of the two"
            )
        if self.noise_multiplier is not None:
            _check(self.noise_multiplier >= 0, "noise_multiplier", self.noise_multiplier, ">= 0")
        else:
            _check(self.target_epsilon > 0, "target_epsilon", self.target_epsilon, "> 0")
        if self.delta is not None:
            _check(0 < self.delta < 1, "delta", self.delta, "a number in (0, 1)")
        _check(self.accountant in ("prv", "rdp"), "accountant", self.accountant, "'prv' or 'rdp'")
        _check(
            self.augmentation_multiplicity >= 1,
            "augmentation_multiplicity",
            self.augmentation_multiplicity,
            "an integer >= 1",
        )


@dataclass(frozen=True)
class TrainConfig:
    """Training settings; the defaults are the report's (section 4.1).

    Parameters
    ----------
    epochs, batch_size, optimizer, lr
        50, 128, Adam, 1e-3.
    lr_drop : int or None
        Epoch after which the learning rate is a tenth (the report's code: 40).
    weight_decay : float
        With "adam" and "sgd" the coupled L2 term of the loss's gradient, with "adamw" the
        decoupled one (Loshchilov & Hutter, 2019): not the same defense.
    dropout : float or None
        None keeps the architecture's own (0.5 in alexnet, 0.2 in efficientnet, 0 elsewhere).
    augmentation : "none", "crop_flip" or "randaugment"
        On training batches only; every record is scored as it is.
    mixup : float
        Alpha of Beta(alpha, alpha) (Zhang et al., 2018); 0 is off.
    label_smoothing : float
        In [0, 1).
    early_stopping : int
        Patience in epochs on a tenth of the members that is held out, trained on by nobody and
        evaluated nowhere; 0 is off.
    relaxloss : float
        Target loss alpha of RelaxLoss (Chen, Yu & Fritz, 2022); 0 is off.
    dp : DPConfig or None

    Raises
    ------
    InputError
        If a value is out of range or two settings contradict each other.
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
    early_stopping: int = 0
    relaxloss: float = 0.0
    dp: DPConfig | None = None

    def __post_init__(self) -> None:
        if isinstance(self.dp, dict):
            object.__setattr__(self, "dp", DPConfig(**self.dp))
        _check(int(self.epochs) == self.epochs >= 1, "epochs", self.epochs, "an integer >= 1")
        _check(
            int(self.batch_size) == self.batch_size >= 1, "batch_size", self.batch_size, "an integer >= 1"
        )
        _check(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, f"one of {OPTIMIZERS}")
        _check(self.lr > 0, "lr", self.lr, "a positive number")
        if self.lr_drop is not None:
            _check(
                0 < self.lr_drop, "lr_drop", self.lr_drop, "an epoch >= 1 or None"
            )
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, ">= 0")
        if self.dropout is not None:
            _check(0 <= self.dropout < 1, "dropout", self.dropout, "a number in [0, 1) or None")
        _check(
            self.augmentation in AUGMENTATIONS,
            "augmentation",
            self.augmentation,
            f"one of {AUGMENTATIONS}",
        )
        _check(self.mixup >= 0, "mixup", self.mixup, "alpha > 0, or 0 for none")
        _check(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        _check(
            int(self.early_stopping) == self.early_stopping >= 0,
            "early_stopping",
            self.early_stopping,
            "a patience in epochs, or 0 for none",
        )
        _check(self.relaxloss >= 0, "relaxloss", self.relaxloss, "a target loss > 0, or 0 for none")
        if self.relaxloss and (self.mixup or self.label_smoothing):
            raise InputError("relaxloss cannot be combined with mixup or label_smoothing")
        if self.dp is not None:
            if self.mixup:
                raise InputError("mixup mixes two records into one gradient: it contradicts dp")
            if self.early_stopping:
                raise InputError("early_stopping looks at private records: it contradicts dp")
            if self.relaxloss:
                raise InputError("relaxloss uses the batch's mean loss: it contradicts dp")

    def changed(self) -> dict:
        """The settings that differ from the defaults, for names and records.

        Fields at their default are left out, so that a field added later renames no old model.

        >>> TrainConfig(epochs=30).changed()
        {'epochs': 30}
        """
        values = asdict(self)
        return {
            f.name: values[f.name]
            for f in fields(self)
            if f.default is MISSING or getattr(self, f.name) != f.default
        }
