"""Named training configurations: the report's is `TrainConfig()`, and one as models are trained today."""

from __future__ import annotations

from dataclasses import replace

from .config import TrainConfig

MODERN = TrainConfig(
    epochs=30,
    batch_size=512,
    optimizer="sgd",
    lr=0.4,
    nesterov=True,
    weight_decay=5e-4,
    schedule="one_cycle",
    augmentation="crop_flip",
)
"""SGD with one cycle of the learning rate, crop and flip: made for "resnet9" on CIFAR-sized images."""


def modern(**changes) -> TrainConfig:
    """`MODERN` with other values for some of its fields.

    Raises
    ------
    InputError
        As `TrainConfig`.

    >>> modern(epochs=10).schedule
    'one_cycle'
    """
    return replace(MODERN, **changes)
