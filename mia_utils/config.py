"""How a model is trained: plain values, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .errors import InputError

OPTIMIZERS = ("adam", "adamw", "sgd")
AUGMENTATIONS = ("none", "crop_flip")


def _check(condition: bool, name: str, value, expected: str) -> None:
    if not condition:
        raise InputError(f"{name}={value!r}; expected {expected}")


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
    augmentation : "none" or "crop_flip"
        On training batches only; every record is scored as it is.
    mixup : float
        Alpha of Beta(alpha, alpha) (Zhang et al., 2018); 0 is off.
    label_smoothing : float
        In [0, 1).
    early_stopping : int
        Patience in epochs on a tenth of the members that is held out, trained on by nobody and
        evaluated nowhere; 0 is off.

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
    early_stopping: int = 0

    def __post_init__(self) -> None:
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

    def changed(self) -> dict:
        """The settings that differ from the defaults, for names and records.

        Fields at their default are left out, so that a field added later renames no old model.

        >>> TrainConfig(epochs=30).changed()
        {'epochs': 30}
        """
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }
