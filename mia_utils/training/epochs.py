"""The epochs of one training, whatever a step is: checkpoints, early ends, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from .batches import Loader
from .checkpoint import save_checkpoint
from .worker import Place, Worker

_SCORE_BATCH = 500


class Lasting(Protocol):
    """Settings, as far as epochs need them."""

    @property
    def epochs(self) -> int: ...


@dataclass
class Trained:
    """A trained model and what it says about every record of its pool."""

    weights: dict[str, torch.Tensor]  # the model's state by name, on the CPU
    logits: np.ndarray  # float32 (N, C)
    losses: list[float]  # mean training loss of each epoch, in training mode
    seconds: float
    privacy: dict | None = None  # of DP-SGD: noise, sampling rate, steps, epsilon, delta


class Diverged(InputError):
    """A loss, or the answers in the end, were no longer finite."""


@torch.no_grad()
def score(model: nn.Module, loader: Loader, index: np.ndarray | None = None) -> np.ndarray:
    """Logits float32 (N, C) of clean records in evaluation mode and full precision."""
    model.eval()
    index = np.arange(len(loader.labels)) if index is None else index
    parts = [
        model(loader(torch.from_numpy(index[start : start + _SCORE_BATCH]).to(loader.device)))
        for start in range(0, len(index), _SCORE_BATCH)
    ]
    return torch.cat(parts).float().cpu().numpy()


def run_epochs(
    place: Place,
    config: Lasting,
    one_epoch: Callable[[int], float | None],
    held_loss: Callable[[], float] | None = None,
    *,
    state: dict | None,
    checkpoint: Path | None,
    checkpoint_every: float,
    worker: Worker | None,
    observe: Callable[[int, np.ndarray], None] | None = None,
    answers: Callable[[], np.ndarray] | None = None,
) -> Trained:
    """All epochs of one training, whatever its steps are, from the checkpoint `state` on.

    Parameters
    ----------
    one_epoch : function
        Takes the steps of an epoch, counted from 0, and returns their mean loss, or None if nobody
        shall know it.
    answers : function or None
        What the model is asked in the end, by default the logits of every record of the loader.
    held_loss : function or None
        Asks the model about what is held out.

    Raises
    ------
    Diverged
        In the epoch in which the loss is no longer finite, or if the answers in the end are not.
    """
    began = saved = time.perf_counter()
    model, loader = place.model, place.loader
    first, losses, spent = (0, [], 0.0) if state is None else place.load_state(state)
    epochs = first
    for epoch in range(first, config.epochs):
        if worker is not None:
            worker.check()
        model.train()
        for change in place.changes:
            change.epoch_begins(epoch)
        loss, epochs = one_epoch(epoch), epoch + 1
        if loss is not None:
            losses.append(loss)
            if not math.isfinite(loss):
                kind = "NaN" if math.isnan(loss) else "infinite"
                raise Diverged(f"loss {kind} from epoch {epochs}")
        if observe is not None:
            observe(epochs, score(model, loader))
        ends = [change.epoch_ends(epoch, model, held_loss) for change in place.changes]
        if any(ends):
            break
        if checkpoint is not None and time.perf_counter() - saved > checkpoint_every:
            saved = time.perf_counter()
            save_checkpoint(checkpoint, place.state(epochs, losses, spent + saved - began))
    for change in place.changes:
        change.finish(model)
    seconds = spent + time.perf_counter() - began
    logits = score(model, loader) if answers is None else answers()
    if not np.isfinite(logits).all():
        raise Diverged(f"answers that are not finite after epoch {epochs}")
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return Trained(weights, logits, losses, seconds)
