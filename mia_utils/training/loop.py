"""Train one model: the loop that everything else repeats. Needs torch and NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from .checkpoint import load_checkpoint
from .config import TrainConfig
from .epochs import Trained, run_epochs, score
from .regularizers import regularizers
from .worker import Worker

RECIPE = 1
"""Raised whenever the loop's results change; part of every model's name."""


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
            records,
            labels,
            classes,
            members,
            architecture,
            config,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            worker=worker,
            observe=observe,
        )
    learned = labels if soft_labels is None else soft_labels
    held = holdout(members, config, seed)
    index, watched = np.flatnonzero(members & ~held), np.flatnonzero(held)
    state = load_checkpoint(checkpoint, device)
    worker = worker or Worker(device)
    with worker.place(
        records,
        learned,
        classes,
        architecture,
        config,
        seed=seed,
        precision=precision,
        afresh=state is not None,
    ) as place:

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
            place,
            config,
            one_epoch,
            held_loss,
            state=state,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            worker=worker,
            observe=observe,
        )
