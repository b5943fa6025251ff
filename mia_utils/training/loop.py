"""Train one model: the loop that everything else repeats. Needs torch and NumPy alone."""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import augment as regularization
from .config import TrainConfig
from ..files import whole_file
from .models import build
from .graphs import EagerStep, GraphStep, graphable, refill, set_rate

RECIPE = 1
"""Raised whenever the loop's results change; part of every model's name."""

# ImageNet's channel means and deviations on colour images, as the report's code; their averages on gray.
MEAN = {3: (0.485, 0.456, 0.406), 1: (0.449,)}
STD = {3: (0.229, 0.224, 0.225), 1: (0.226,)}
_SCORE_BATCH = 500


@dataclass
class Trained:
    """A trained model and what it says about every record of its pool."""

    model: nn.Module
    logits: np.ndarray  # float32 (N, C)
    losses: list[float]  # mean training loss of each epoch, in training mode
    seconds: float
    privacy: dict | None = None  # of DP-SGD: noise, sampling rate, steps, epsilon, delta


class Loader:
    """Batches out of one array: a row gather, then normalisation, as channels_last."""

    def __init__(self, records: np.ndarray, labels: np.ndarray, device: str):
        self.shape = records.shape[1:]
        flat = records.reshape(len(records), -1)
        # A memory-mapped pool may exceed memory: its rows are gathered by NumPy, batch by batch.
        self._mapped = isinstance(records, np.memmap)
        self._rows = flat if self._mapped else torch.from_numpy(flat).to(device)
        self.labels = torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        self.device = device
        if len(self.shape) == 3:
            channels = self.shape[2]
            mean = torch.tensor(MEAN[channels], device=device)
            deviation = torch.tensor(STD[channels], device=device)
            self._scale, self._shift = 1 / (255 * deviation), mean / deviation

    def __call__(self, index: torch.Tensor, change=None) -> torch.Tensor:
        """Records (B, C, H, W) normalised, or features (B, D) as they are; float32.

        `change` is applied to the images before that, uint8 (B, C, H, W) to the same.
        """
        if self._mapped:
            order = index.cpu().numpy()
            rows = torch.from_numpy(np.ascontiguousarray(self._rows[order])).to(self.device)
        else:
            rows = self._rows.index_select(0, index)
        if len(self.shape) == 1:
            return rows
        pixels = rows.view(-1, *self.shape)
        if change is not None:
            pixels = change(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        images = pixels.to(torch.float32)
        return images.mul_(self._scale).sub_(self._shift).permute(0, 3, 1, 2)


def holdout(members: np.ndarray, config: TrainConfig, seed: int) -> np.ndarray:
    """The tenth of the members that early stopping watches, bool (N,); all False without it."""
    held = np.zeros_like(members)
    if config.early_stopping:
        index = np.flatnonzero(members)
        chosen = np.random.default_rng([seed, 1]).permutation(index)[: max(1, len(index) // 10)]
        held[chosen] = True
    return held


def make_optimizer(
    model: nn.Module, config: TrainConfig, device: str, *, graphed: bool = False
) -> torch.optim.Optimizer:
    """The configuration's optimizer; for a graph, with everything that changes in tensors."""
    lr = torch.tensor(config.lr, device=device) if graphed else config.lr
    options = {"lr": lr, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=0.9, **options)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), capturable=graphed, **options)


def training_batch(loader: Loader, index: torch.Tensor, augmentation: str) -> torch.Tensor:
    """Records of one step, augmented: RandAugment works on bytes, crop and flip on any image."""
    if augmentation == "randaugment":
        return loader(index, regularization.randaugment)
    x = loader(index)
    return regularization.crop_flip(x) if augmentation == "crop_flip" else x


def _step_loss(model, x, y, config: TrainConfig, amp, epoch: int) -> torch.Tensor:
    """Mean loss of one batch, with whatever the configuration does to it."""
    if config.mixup:
        x, partner, weight = regularization.mixup(x, y, config.mixup)
    with amp():
        logits = model(x)
    if config.relax_loss:
        return regularization.relaxed(logits.float(), y, config.relax_loss, epoch)
    loss = partial(functional.cross_entropy, logits.float(), label_smoothing=config.label_smoothing)
    return weight * loss(y) + (1 - weight) * loss(partner) if config.mixup else loss(y)


@dataclass
class Bench:
    """What one training works on."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Loader
    step: EagerStep
    reused: bool = False
    epoch: int = 0  # of the step to come: RelaxLoss alternates


_reusable: dict[tuple, tuple[np.ndarray, np.ndarray, Bench]] = {}
"""On a GPU, the last bench with its recorded steps, for the next model of the same kind."""


def prepare(
    records, labels, classes, architecture, config: TrainConfig, precision: str, device: str
) -> Bench:
    """A fresh model, from the global generator, with optimizer, loader and step.

    On a GPU steps are recorded as graphs, and a model of the same kind takes the last one's place.
    """
    model = build(architecture, records.shape[1:], classes, dropout=config.dropout)
    graphed = device == "cuda" and graphable(config) and not isinstance(records, np.memmap)
    key = (id(records), id(labels), architecture, classes, config, precision)
    if graphed and key in _reusable:
        *_, bench = _reusable[key]
        refill(bench.model, bench.optimizer, model, config.lr)
        return bench
    model = model.to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, config, device, graphed=graphed)
    loader = Loader(records, labels, device)

    def amp():
        # Entered anew at every step: autocast keeps its bf16 copies of the weights until it is left.
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16, cache_enabled=not graphed)

    def loss(index: torch.Tensor) -> torch.Tensor:
        x = training_batch(loader, index, config.augmentation)
        return _step_loss(model, x, loader.labels[index], config, amp, bench.epoch)

    step = (GraphStep if graphed else EagerStep)(optimizer, loss)
    bench = Bench(model, optimizer, loader, step, reused=graphed)
    if graphed:
        _reusable.clear()
        _reusable[key] = records, labels, bench  # the arrays are kept so that their ids stay theirs
    return bench


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
) -> Trained:
    """Train one model on its members and score the whole pool.

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
    """
    if config.dp is not None:
        from .dp import fit_private

        return fit_private(
            records, labels, classes, members, architecture, config, seed=seed, device=device
        )
    began = time.perf_counter()
    torch.manual_seed(seed)
    resumed = checkpoint is not None and checkpoint.exists()
    if resumed:  # recorded steps would go on with the state that the checkpoint replaces
        _reusable.clear()
    learned = labels if soft_labels is None else soft_labels
    bench = prepare(records, learned, classes, architecture, config, precision, device)
    model, optimizer, loader, step = bench.model, bench.optimizer, bench.loader, bench.step
    held = holdout(members, config, seed)
    index = np.flatnonzero(members & ~held)
    watched = np.flatnonzero(held)

    state = {"epoch": 0, "losses": [], "seconds": 0.0, "best": (float("inf"), 0, None)}
    if resumed:
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())
    saved = time.perf_counter()
    for epoch in range(state["epoch"], config.epochs):
        model.train()
        bench.epoch = epoch
        set_rate(optimizer, config.rate(epoch))
        # Drawn from (seed, epoch): a resumed run meets the same batches.
        order = torch.from_numpy(np.random.default_rng([seed, 0, epoch]).permutation(index))
        total = torch.zeros((), device=device)
        for batch in order.to(device).split(config.batch_size):
            total += step(batch) * len(batch)
        state["losses"].append(float(total) / len(index))
        if config.early_stopping:
            logits = torch.from_numpy(score(model, loader, watched))
            value = float(functional.cross_entropy(logits, torch.from_numpy(labels[watched])))
            if value < state["best"][0]:
                weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
                state["best"] = (value, epoch, weights)
            elif epoch - state["best"][1] >= config.early_stopping:
                break
        if checkpoint is not None and time.perf_counter() - saved > checkpoint_every:
            saved = time.perf_counter()
            _save(checkpoint, state, model, optimizer, epoch + 1, saved - began)
    if state["best"][2] is not None:
        model.load_state_dict(state["best"][2])
    seconds = state["seconds"] + time.perf_counter() - began
    logits = score(model, loader)
    if bench.reused:  # the next model will be trained in the same place
        model = copy.deepcopy(model)
    return Trained(model, logits, state["losses"], seconds)


def _save(path: Path, state: dict, model, optimizer, epoch: int, seconds: float) -> None:
    """Write a checkpoint: a kill leaves the old one or the new one."""
    now = {
        **state,
        "epoch": epoch,
        "seconds": state["seconds"] + seconds,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    with whole_file(path) as unfinished:
        torch.save(now, unfinished)
