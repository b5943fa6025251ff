"""What a training defense may do to a training: a base class of no-ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .generators import Generators

    Loss = Callable[..., torch.Tensor]


class Regularizer:
    """One setting of `TrainConfig` and what it changes; every method here changes nothing.

    A training defense is a subclass in a file of its own, named in `regularizers`. One object
    serves one training.

    Attributes
    ----------
    field : str
        Its setting in `TrainConfig`; off at the default.
    recordable : bool
        Whether its part of a step is the same kernels each time, whatever the data, the epoch and
        the model, so that a GPU may record it.
    not_with : pairs of str
        Each setting that it cannot be combined with, and why.
    """

    field: ClassVar[str]
    recordable: bool = True
    not_with: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, config) -> None:
        self.value = getattr(config, self.field)

    def held_out(self, members: np.ndarray, seed: int) -> np.ndarray | None:
        """Members, bool (N,), that shall not be trained on, or None."""

    def epoch_begins(self, epoch: int) -> None:
        """Called before the first step of an epoch, counted from 0."""

    def images(self, images: torch.Tensor, generators: Generators) -> torch.Tensor:
        """A batch of images before normalisation, uint8 (B, C, H, W)."""
        return images

    def batch(self, x: torch.Tensor, target, generators: Generators):
        """A batch after normalisation, and what its loss is told to aim at."""
        return x, target

    def loss(self, loss: Loss) -> Loss:
        """The function (logits, target) -> mean loss that takes the place of the given one."""
        return loss

    def epoch_ends(
        self, epoch: int, model: torch.nn.Module, held_loss: Callable[[], float] | None
    ) -> bool:
        """Whether the training shall stop; `held_loss` asks the model about what is held out."""
        return False

    def finish(self, model: torch.nn.Module) -> None:
        """The last word on the weights."""

    def state(self) -> dict:
        """What a checkpoint must keep of it."""
        return {}

    def load_state(self, state: dict) -> None: ...


class SoftLabels(Regularizer):
    """Probabilities are learned in place of labels; `loop.fit` is given them."""

    field = "soft_labels"
    not_with = tuple(
        (name, f"{name} works on plain labels")
        for name in ("mixup", "label_smoothing", "relax_loss", "dp")
    )


class LabelSmoothing(Regularizer):
    """A share of the label is spread over all classes (Szegedy et al., 2016)."""

    field = "label_smoothing"

    def loss(self, loss: Loss) -> Loss:
        return lambda logits, target: loss(logits, target, label_smoothing=self.value)
