"""Which training defenses there are, which of them a configuration asks for, and which clash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from .regularizer import LabelSmoothing, Regularizer, SoftLabels

if TYPE_CHECKING:
    from .config import TrainConfig


def kinds() -> tuple[type[Regularizer], ...]:
    """All regularizers, in the order in which they act."""
    from .augment import Augmentation
    from .early_stopping import EarlyStopping
    from .mixup import Mixup
    from .relax_loss import RelaxLoss

    return Augmentation, LabelSmoothing, Mixup, RelaxLoss, SoftLabels, EarlyStopping


def regularizers(config: TrainConfig) -> tuple[Regularizer, ...]:
    """Those that a configuration asks for."""
    return tuple(kind(config) for kind in kinds() if _asked(config, kind.field))


def check_together(config: TrainConfig) -> None:
    """Whether the settings of a configuration go together.

    Raises
    ------
    InputError
        If they do not.
    """
    for regularizer in regularizers(config):
        for other, reason in regularizer.not_with:
            if _asked(config, other):
                raise InputError(f"{regularizer.field} and {other} together: {reason}; choose one")


def _asked(config: TrainConfig, field: str) -> bool:
    return getattr(config, field) != config.__dataclass_fields__[field].default
