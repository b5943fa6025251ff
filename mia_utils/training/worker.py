"""What one thread trains with, and what it keeps from one model to the next."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .batches import Loader, SharedRows, on_device
from .config import TrainConfig
from .generators import DrawnFrom, Generators, own_layers
from .graphs import EagerStep, GraphStep, Loss, Record, record_cuda, refill, set_rate
from .models import architecture_id, build, draws_by_itself, forward_flops
from .regularizer import Regularizer
from .regularizers import regularizers


def make_optimizer(
    model: nn.Module, config: TrainConfig, device: str, *, graphed: bool = False
) -> torch.optim.Optimizer:
    """The configuration's optimizer; for a graph, with everything that changes in tensors."""
    lr = torch.tensor(config.lr, device=device) if graphed else config.lr
    options: dict[str, Any] = {"lr": lr, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer == "sgd":
        momentum: dict[str, Any] = {"momentum": config.momentum, "nesterov": config.nesterov}
        return torch.optim.SGD(model.parameters(), **momentum, **options)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), capturable=graphed, **options)


def training_batch(
    loader: Loader, index: torch.Tensor, changes: Sequence[Regularizer], generators: Generators
) -> tuple[torch.Tensor, Any]:
    """Records of one step and what their loss aims at, with whatever the regularizers do to both."""

    def images(pixels: torch.Tensor) -> torch.Tensor:
        for change in changes:
            pixels = change.images(pixels, generators)
        return pixels

    x, target = loader(index, images), loader.labels[index]
    for change in changes:
        x, target = change.batch(x, target, generators)
    return x, target


@dataclass
class Place:
    """Where one model is trained: its parts stay where they are in memory."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Loader
    generators: Generators
    changes: tuple[Regularizer, ...]
    step: EagerStep = field(init=False)  # of a training that is not private
    rate: float | None = None  # of the last step

    def set_rate(self, lr: float) -> None:
        """The learning rate of the next step; on a GPU a change is a kernel, no change is none."""
        if lr != self.rate:
            set_rate(self.optimizer, lr)
            self.rate = lr

    def state(self, epoch: int, losses: list[float], seconds: float) -> dict[str, Any]:
        """All that goes on from here: for a checkpoint after so many epochs."""
        return {
            "epoch": epoch,
            "losses": losses,
            "seconds": seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self.generators.state(),
            "changes": [change.state() for change in self.changes],
        }

    def load_state(self, state: dict[str, Any]) -> tuple[int, list[float], float]:
        """Go on from there; returns what `state` was given."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate = None
        self.generators.load_state(state["generators"])
        for change, kept in zip(self.changes, state["changes"], strict=True):
            change.load_state(kept)
        return state["epoch"], state["losses"], state["seconds"]


@dataclass(frozen=True)
class _Kind:
    """What models must share to take each other's place."""

    architecture: str
    classes: int
    config: TrainConfig
    precision: str


class Stopped(Exception):
    """A training that nobody waits for any more."""


class Worker:
    """What a thread trains its models with, one after another.

    On a GPU it has a stream of its own, and steps are recorded as graphs: a model of the same kind
    on the same data takes the last one's place, and with it the recordings.

    Parameters
    ----------
    device : "cpu" or "cuda"
    rows : SharedRows or None
        The pool on the device, shared with other workers of this process.
    record : function or None
        How steps are recorded (see `graphs.GraphStep`): by default as CUDA graphs on a GPU, on a
        processor not at all.
    stopped : threading.Event or None
        Once it is set, `check` ends a training.
    """

    def __init__(
        self,
        device: str = "cpu",
        rows: SharedRows | None = None,
        record: Record | None = None,
        stopped: threading.Event | None = None,
    ) -> None:
        self.device = device
        self._stopped = stopped or threading.Event()
        self._rows = rows or SharedRows()
        self._stream = torch.cuda.Stream() if device == "cuda" else None
        self._record = record or (record_cuda if device == "cuda" else None)
        self._kept: tuple[_Kind, np.ndarray, np.ndarray, Place] | None = None

    def check(self) -> None:
        """For the loop, before each epoch.

        Raises
        ------
        Stopped
            If nobody waits for the model any more.
        """
        if self._stopped.is_set():
            raise Stopped("the training was stopped")

    @contextlib.contextmanager
    def place(
        self,
        records: np.ndarray,
        labels: np.ndarray,
        classes: int,
        architecture: str,
        config: TrainConfig,
        *,
        seed: int,
        precision: str = "fp32",
        afresh: bool = False,
    ) -> Iterator[Place]:
        """A new model of this seed, ready to be trained for as long as the block lasts.

        `afresh`: not in the place of the last one.
        """
        shape = records.shape[1:]
        changes = regularizers(config)
        with torch.cuda.stream(self._stream):  # None changes nothing
            generators = Generators.of_seed(seed, self.device)
            with DrawnFrom(generators):
                model = build(architecture, shape, classes, dropout=config.dropout)
            by_itself = draws_by_itself(architecture, shape, classes)
            recordable = all(change.recordable for change in changes) and not by_itself
            record = self._record if recordable and on_device(records, self.device) else None
            graphed = record is not None
            kind = _Kind(architecture_id(architecture), classes, config, precision)
            place = None if afresh or not graphed else self._reused(kind, records, labels)
            if place is not None:
                refill(place.model, place.optimizer, model, config.lr)
                place.generators.load_state(generators.state())
                place.changes, place.rate = changes, None
                yield place
                return
            own_layers(model, generators.device)
            model.to(  # type: ignore[call-overload]  # torch leaves it out
                device=self.device, memory_format=torch.channels_last
            )
            optimizer = make_optimizer(
                model, config, self.device, graphed=graphed and self.device == "cuda"
            )
            loader = Loader(records, labels, self.device, self._rows)
            place = Place(model, optimizer, loader, generators, changes)
            forward = model if by_itself else _forward(model, config)
            loss = _loss(place, forward, self.device, precision, graphed, by_itself)
            if record is not None:
                place.step = GraphStep(
                    optimizer,
                    loss,
                    lambda step: record(step, generators.device),
                    exclusive=bool(config.compile),
                )
                self._kept = kind, records, labels, place
            else:
                place.step = EagerStep(optimizer, loss)
            yield place

    def _reused(self, kind: _Kind, records: np.ndarray, labels: np.ndarray) -> Place | None:
        if self._kept is None:
            return None
        kept, *data, place = self._kept
        same = kept == kind and data[0] is records and data[1] is labels
        return place if same else None


_SMALL_STEP = 50e9  # operations
_EACH = 6 * 2**30  # bytes of a GPU's memory for one model at least


def models_at_a_time(
    architecture: str, shape: tuple[int, ...], classes: int, config: TrainConfig
) -> int:
    """How many models pay on one GPU: as many as it takes to keep it busy, if they fit.

    On an H200, an epoch of a model takes, 1, 2, 4, 8 and 16 at a time: a small CNN (8e9 operations a
    step) 0.129, -, 0.068, 0.061, 0.062 s, a ResNet-18 (430e9) 0.563, 0.394, 0.352 s.
    """
    if config.dp is not None:
        return 1
    with DrawnFrom(Generators.of_seed(0, "cpu")):
        model = build(architecture, shape, classes, dropout=config.dropout)
    step = 3 * config.batch_size * forward_flops(model, shape)
    count = 8 if step < _SMALL_STEP else 4
    if torch.cuda.is_available():
        count = min(count, torch.cuda.get_device_properties().total_memory // _EACH)
    return max(1, count)


class Workers:
    """As many workers as models are trained at a time, on one device and with one copy of the pool."""

    def __init__(self, device: str, count: int, record: Record | None = None) -> None:
        rows = SharedRows()
        self._stopped = threading.Event()
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(Worker(device, rows, record, self._stopped))

    def stop(self) -> None:
        """Their trainings end with the epoch: a thread cannot be killed."""
        self._stopped.set()

    @contextlib.contextmanager
    def one(self) -> Iterator[Worker]:
        """A worker that no other thread has for as long as the block lasts."""
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)


def _forward(model: nn.Module, config: TrainConfig) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model, compiled if that was asked for: for whole batches, the last of an epoch is smaller."""
    if not config.compile:
        return model
    compiled = torch.compile(model, dynamic=False)
    return lambda x: (compiled if len(x) == config.batch_size else model)(x)


def _loss(
    place: Place,
    forward: Callable[[torch.Tensor], torch.Tensor],
    device: str,
    precision: str,
    graphed: bool,
    by_itself: bool,
) -> Loss:
    """The function from row numbers to a batch's mean loss."""
    changes = place.changes
    aim: Callable[..., torch.Tensor] = functional.cross_entropy
    for change in changes:
        aim = change.loss(aim)

    def amp():
        # Entered anew at every step: autocast keeps its bf16 copies of the weights until it is left.
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16, cache_enabled=not graphed)

    def loss(index: torch.Tensor) -> torch.Tensor:
        x, target = training_batch(place.loader, index, changes, place.generators)
        with amp(), DrawnFrom(place.generators) if by_itself else contextlib.nullcontext():
            logits = forward(x)
        return aim(logits.float(), target)

    return loss
