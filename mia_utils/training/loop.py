"""Train one model: the loop that everything else repeats. Needs torch and NumPy alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..errors import InputError
from .batches import MEAN, STD, Loader
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig
from .regularizer import regularizers
from .worker import Place, Worker, make_optimizer, training_batch

__all__ = [
    "MEAN",
    "RECIPE",
    "STD",
    "Diverged",
    "Loader",
    "Trained",
    "fit",
    "holdout",
    "make_optimizer",
    "score",
    "training_batch",
]

RECIPE = 1
"""Raised whenever the loop's results change; part of every model's name."""

_SCORE_BATCH = 500


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


def holdout(members: np.ndarray, config: TrainConfig, seed: int) -> np.ndarray:
    """Members that are held out from training, bool (N,); all False if none are."""
    held = np.zeros_like(members)
    for change in regularizers(config):
        kept = change.held_out(members, seed)
        if kept is not None:
            held |= kept
    return held


def last_batches(members: np.ndarray, config: TrainConfig) -> set[int]:
    """Sizes of the last batch of an epoch, of models with these members, bool (M, N)."""
    counts = {int((row & ~holdout(row, config, 0)).sum()) for row in members}
    return (
        set() if config.dp else {count % config.batch_size or config.batch_size for count in counts}
    )


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


def fit(
    records: np.ndarray,
    labels: np.ndarray,
    classes: int,
    members: np.ndarray,
    architecture: str,
    config: TrainConfig,
    *,
    seed: int,
    precision: str = "fp32",
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: float = 600.0,
    soft_labels: np.ndarray | None = None,
    worker: Worker | None = None,
    observe: Callable[[int, np.ndarray], None] | None = None,
) -> Trained:
    """Train one model on its members and score the whole pool.

    Torch's global generators are left as they are, and what other threads do to them changes
    nothing here.

    Parameters
    ----------
    records, labels : uint8 (N, H, W, C) or float32 (N, D); int64 (N,)
    members : bool (N,)
    precision, device : resolved names, never "auto"
    checkpoint : path or None
        Written every `checkpoint_every` seconds at an epoch's end, and read if it is there: the
        run then goes on as if it had never stopped.
    soft_labels : float32 (N, C) or None
        Probabilities to learn in place of the labels.
    worker : Worker or None
        Of this thread and device, if it trains several models.
    observe : function or None
        Called at each epoch's end with the number of epochs that are over and the logits of the
        whole pool, float32 (N, C). It changes nothing of the training.

    Raises
    ------
    Diverged
        In the epoch in which the loss is no longer finite.
    """
    if config.dp is not None:
        from .dp import fit_private

        return fit_private(
            records, labels, classes, members, architecture, config,
            seed=seed, device=device, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
            worker=worker, observe=observe,
        )  # fmt: skip
    learned = labels if soft_labels is None else soft_labels
    held = holdout(members, config, seed)
    index, watched = np.flatnonzero(members & ~held), np.flatnonzero(held)
    state = load_checkpoint(checkpoint, device)
    worker = worker or Worker(device)
    with worker.place(
        records, learned, classes, architecture, config,
        seed=seed, precision=precision, afresh=state is not None,
    ) as place:  # fmt: skip

        def one_epoch(epoch: int) -> float:
            # Drawn from (seed, epoch): a resumed run meets the same batches.
            order = torch.from_numpy(np.random.default_rng([seed, 0, epoch]).permutation(index))
            batches = order.to(device).split(config.batch_size)
            total = torch.zeros((), device=device)
            for number, batch in enumerate(batches):
                place.set_rate(config.rate(epoch + (number + 0.5) / len(batches)))
                total += place.step(batch) * len(batch)
            return float(total) / len(index)

        def held_loss() -> float:
            logits = torch.from_numpy(score(place.model, place.loader, watched))
            return float(functional.cross_entropy(logits, torch.from_numpy(labels[watched])))

        return run_epochs(
            place, config, one_epoch, held_loss, state=state, checkpoint=checkpoint,
            checkpoint_every=checkpoint_every, worker=worker, observe=observe,
        )  # fmt: skip


def run_epochs(
    place: Place,
    config: TrainConfig,
    one_epoch: Callable[[int], float | None],
    held_loss: Callable[[], float] | None = None,
    *,
    state: dict | None,
    checkpoint: Path | None,
    checkpoint_every: float,
    worker: Worker | None,
    observe: Callable[[int, np.ndarray], None] | None,
) -> Trained:
    """All epochs of one training, whatever its steps are, from the checkpoint `state` on.

    Parameters
    ----------
    one_epoch : function
        Takes the steps of an epoch, counted from 0, and returns their mean loss, or None if nobody
        shall know it.
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
    logits = score(model, loader)
    if not np.isfinite(logits).all():
        raise Diverged(f"answers that are not finite after epoch {epochs}")
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return Trained(weights, logits, losses, seconds)
