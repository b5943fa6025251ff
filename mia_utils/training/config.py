"""How a model is trained: plain values, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import InputError

OPTIMIZERS = ("adam", "adamw", "sgd")
AUGMENTATIONS = ("none", "crop_flip", "randaugment")
ACCOUNTANTS = ("prv", "rdp")


def _check(condition: bool, name: str, value, expected: str) -> None:
    if not condition:
        raise InputError(f"{name}={value!r}; expected {expected}")


@dataclass(frozen=True)
class DPConfig:
    """Differentially private training (DP-SGD, Abadi et al., 2016); neighbours add or remove a record.

    The expected batch size, the epochs and the optimizer are those of `TrainConfig`.

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
        L2 norm to which each record's gradient is clipped.
    accountant : "prv" or "rdp"
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
        if self.epsilon is not None:
            _check(self.epsilon > 0, "epsilon", self.epsilon, "a positive number")
        else:
            _check(self.noise_multiplier >= 0, "noise_multiplier", self.noise_multiplier, ">= 0")
        _check(0 < self.delta < 1, "delta", self.delta, "a number in (0, 1)")
        _check(self.max_grad_norm > 0, "max_grad_norm", self.max_grad_norm, "a positive number")
        _check(
            self.accountant in ACCOUNTANTS, "accountant", self.accountant, f"one of {ACCOUNTANTS}"
        )
        copies = self.multiplicity
        _check(int(copies) == copies >= 1, "multiplicity", copies, "an integer >= 1")


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

    def __post_init__(self) -> None:
        _check(int(self.epochs) == self.epochs >= 1, "epochs", self.epochs, "an integer >= 1")
        _check(
            int(self.batch_size) == self.batch_size >= 1,
            "batch_size",
            self.batch_size,
            "an integer >= 1",
        )
        _check(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, f"one of {OPTIMIZERS}")
        _check(self.lr > 0, "lr", self.lr, "a positive number")
        if self.lr_drop is not None:
            _check(0 < self.lr_drop, "lr_drop", self.lr_drop, "an epoch >= 1 or None")
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
        _check(self.relax_loss >= 0, "relax_loss", self.relax_loss, "a loss > 0, or 0 for none")
        if self.relax_loss and self.mixup:
            raise InputError(
                "relax_loss and mixup together: a mixed record has no one label; choose one"
            )
        if self.relax_loss and self.label_smoothing:
            raise InputError(
                "relax_loss and label_smoothing together: RelaxLoss flattens labels itself; choose one"
            )
        others = ("mixup", "label_smoothing", "relax_loss", "dp")
        clash = [name for name in others if getattr(self, name)]
        if self.soft_labels is not None and clash:
            raise InputError(
                f"soft_labels and {clash[0]} together: {clash[0]} works on plain labels; choose one"
            )
        not_alone = [n for n in ("mixup", "relax_loss", "early_stopping") if getattr(self, n)]
        if self.dp is not None and not_alone:
            other = not_alone[0]
            raise InputError(
                f"dp and {other} together: {other} uses records beyond their own clipped gradient, "
                "so the accountant's epsilon would not hold; choose one"
            )
        if self.dp is not None and self.dp.multiplicity > 1 and self.augmentation == "none":
            raise InputError(
                f"multiplicity={self.dp.multiplicity} without augmentation: all copies would be the "
                "same; set augmentation to 'crop_flip' or 'randaugment'"
            )

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0.

        >>> TrainConfig(lr_drop=40).rate(39), TrainConfig(lr_drop=40).rate(40)
        (0.001, 0.0001)
        """
        dropped = self.lr_drop is not None and epoch >= self.lr_drop
        return self.lr / 10 if dropped else self.lr

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
