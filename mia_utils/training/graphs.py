"""One training step, eager or replayed as a CUDA graph, behind one interface: `step(index)`.

Small models on a GPU wait for Python: their kernels are shorter than the time it takes to launch
them. A graph launches all kernels of a step at once. Needs torch alone.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from torch import nn

_WARM_UP = 3  # eager steps of each batch size before it is recorded
_SIZES = 4  # recordings at most: the full batch, and the last ones of as many training sets

DEVICE = threading.RLock()
"""Held by the thread that records or compiles: both wait for the whole device, which no other thread
may do while one records."""

Loss = Callable[[torch.Tensor], torch.Tensor]
Step = Callable[[], torch.Tensor]
Record = Callable[[Step, torch.Generator], tuple[Callable[[], object], torch.Tensor]]
"""(step, what it draws from) to (replay, the step's result, which each replay overwrites)."""


class EagerStep:
    """Forward, backward, update.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    loss : function
        Row numbers int64 (B,) of a batch to its mean loss.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, loss: Loss) -> None:
        self._optimizer = optimizer
        self._loss = loss

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """One step; the batch's mean loss, a tensor that the next call may overwrite."""
        self._optimizer.zero_grad(set_to_none=True)
        return self._update(index)

    def _update(self, index: torch.Tensor) -> torch.Tensor:
        loss = self._loss(index)
        loss.backward()
        self._optimizer.step()
        return loss.detach()


class GraphStep(EagerStep):
    """The same step, recorded once for each batch size and replayed from then on.

    Everything that the step touches stays where it is in memory: a new batch is copied into the
    row numbers of the recording, new weights into the parameters (`refill`). The optimizer must be
    capturable, with the learning rate as a tensor.

    Parameters
    ----------
    record : function
        Takes the step as a function without arguments, returns (replay, the step's result).
    exclusive : bool
        Steps that are not replayed yet have the device to themselves: they compile the model.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        record: Callable[[Step], tuple[Callable[[], object], torch.Tensor]],
        *,
        exclusive: bool = False,
    ) -> None:
        super().__init__(optimizer, loss)
        self._record = record
        self._alone = DEVICE if exclusive else contextlib.nullcontext()
        self._eager: Counter[int] = Counter()
        self._recordings: dict[int, tuple[torch.Tensor, Callable, torch.Tensor]] = {}

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        size = len(index)
        if size not in self._recordings:
            if self._eager[size] < _WARM_UP or len(self._recordings) == _SIZES:
                self._eager[size] += 1
                with self._alone:
                    return super().__call__(index)
            static = index.clone()
            # Gradients that the recording allocates are its own: each replay overwrites them.
            self._optimizer.zero_grad(set_to_none=True)
            replay, loss = self._record(lambda: self._update(static))
            self._recordings[size] = static, replay, loss
        static, replay, loss = self._recordings[size]
        static.copy_(index)
        replay()
        return loss


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Python's garbage collector rests, for the thread that holds DEVICE.

    What it collects may hold an older recording, and to destroy one while another is made ends both.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def record_cuda(
    step: Step, generator: torch.Generator
) -> tuple[Callable[[], object], torch.Tensor]:
    """Record a step as a CUDA graph on the current stream; recording does not execute it.

    Parameters
    ----------
    generator : torch.Generator
        What the step draws from: each replay goes on in it.
    """
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    stream = torch.cuda.current_stream()
    recording = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
    with DEVICE, uncollected(), recording:
        result = step()
    return graph.replay, result


def refill(model: nn.Module, optimizer: torch.optim.Optimizer, fresh: nn.Module, lr: float) -> None:
    """Make model and optimizer what they were before the first step, in place.

    Parameters
    ----------
    fresh : nn.Module
        Newly built, of the same architecture: its weights and buffers are copied.
    """
    with torch.no_grad():
        model.load_state_dict(fresh.state_dict())
        for state in optimizer.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()
    set_rate(optimizer, lr)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Change the learning rate where it lies: a recording reads it from there."""
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
