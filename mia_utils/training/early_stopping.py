"""Early stopping: the training ends when a held-out tenth gets no better, at its best weights."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError
from .regularizer import Regularizer


class EarlyStopping(Regularizer):
    """Patience in epochs on a tenth of the members that nobody trains on."""

    field = "early_stopping"
    not_with = (("dp", "held-out records decide when it ends, which no accountant counts"),)

    def __init__(self, config) -> None:
        super().__init__(config)
        self.best, self.best_epoch = math.inf, 0
        self.weights: dict | None = None

    def held_out(self, members: np.ndarray, seed: int) -> np.ndarray:
        index = np.flatnonzero(members)
        if index.size < 2:
            raise InputError(
                "early_stopping holds a tenth of a model's members out, and a model has 1; expected at "
                "least 2"
            )
        chosen = np.random.default_rng([seed, 1]).permutation(index)[: max(1, len(index) // 10)]
        held = np.zeros_like(members)
        held[chosen] = True
        return held

    def epoch_ends(self, epoch, model, held_loss):
        value = held_loss()
        if value < self.best:
            self.best, self.best_epoch = value, epoch
            self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            return False
        return epoch - self.best_epoch >= self.value

    def finish(self, model):
        if self.weights is not None:
            model.load_state_dict(self.weights)

    def state(self) -> dict:
        return {"best": self.best, "epoch": self.best_epoch, "weights": self.weights}

    def load_state(self, state: dict) -> None:
        self.best, self.best_epoch, self.weights = state["best"], state["epoch"], state["weights"]
