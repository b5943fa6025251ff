"""The random numbers of one training: from generators of its own, not from torch's global ones.

Torch's global generators belong to all threads of a process. A training that drew from them would
depend on what its neighbours draw.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

_GLOBAL = threading.RLock()
"""Held by whoever of us draws from torch's global generators."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators freshly seeded, for one thread at a time; given back afterwards."""
    with _GLOBAL, torch.random.fork_rng(_devices()):
        torch.manual_seed(seed)
        yield


def _devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


@dataclass
class Generators:
    """Where one training's numbers come from: on a CPU both are the same generator."""

    cpu: torch.Generator
    device: torch.Generator

    @classmethod
    def of_seed(cls, seed: int, device: str) -> Generators:
        cpu = torch.Generator().manual_seed(seed)
        return cls(cpu, cpu if device == "cpu" else torch.Generator(device).manual_seed(seed))

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        return {"cpu": self.cpu.get_state(), "device": self.device.get_state()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        self.cpu.set_state(state["cpu"].cpu())
        self.device.set_state(state["device"].cpu())


# What a random operation without a generator is called where it takes one.
_WITH_GENERATOR = {
    "default": "generator",
    "low": "low_generator",
    "Tensor": "Tensor_generator",
    "low_dtype": "low_generator_dtype",
}


class DrawnFrom(TorchDispatchMode):
    """Inside, what this thread draws at random comes from these generators, by whatever code.

    The numbers are those that the global generators in the same state would give.

    Attributes
    ----------
    draws : int
        Random operations so far that had no generator of their own.
    """

    def __init__(self, generators: Generators) -> None:
        super().__init__()
        self._generators = generators
        self.draws = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not _is_random(func):
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self.draws += 1
        on = next((a.device for a in args if isinstance(a, torch.Tensor)), kwargs.get("device"))
        on_cpu = on is None or torch.device(on).type == "cpu"
        generator = self._generators.cpu if on_cpu else self._generators.device
        name = _WITH_GENERATOR.get(func._overloadname, "")
        if not _takes_generator(func) and hasattr(func.overloadpacket, name):
            func = getattr(func.overloadpacket, name)
        if _takes_generator(func):
            return func(*args, **{**kwargs, "generator": generator})
        with self._as_global():
            return func(*args, **kwargs)

    @contextmanager
    def _as_global(self) -> Iterator[None]:
        """For an operation that takes no generator at all."""
        devices = _devices() if self._generators.device.device.type == "cuda" else []
        with _GLOBAL, torch.random.fork_rng(devices):
            torch.set_rng_state(self._generators.cpu.get_state())
            if devices:
                torch.cuda.set_rng_state(self._generators.device.get_state())
            yield
            self._generators.cpu.set_state(torch.get_rng_state())
            if devices:
                self._generators.device.set_state(torch.cuda.get_rng_state())


@cache
def _is_random(func) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


@cache
def _takes_generator(func) -> bool:
    return any(argument.name == "generator" for argument in func._schema.arguments)


class Dropout(nn.Module):
    """As `nn.Dropout`, drawn from a given generator: on a CPU the same bits.

    Parameters
    ----------
    p : float
        Probability with which a value is set to zero.
    features : bool
        Whole channels instead of single values, as `nn.Dropout2d`.
    """

    def __init__(self, p: float, generator: torch.Generator, features: bool = False) -> None:
        super().__init__()
        self.p, self.features, self._generator = p, features, generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        shape = (*x.shape[:2], *(1,) * (x.ndim - 2)) if self.features else None
        noise = torch.empty_like(x) if shape is None else x.new_empty(shape)
        noise.bernoulli_(1 - self.p, generator=self._generator)
        return x * noise.div_(1 - self.p) if self.p < 1 else x * noise


class Depth(nn.Module):
    """As torchvision's `StochasticDepth`, drawn from a given generator."""

    def __init__(self, p: float, mode: str, generator: torch.Generator) -> None:
        super().__init__()
        self.p, self.mode, self._generator = p, mode, generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        records = len(x) if self.mode == "row" else 1
        noise = x.new_empty((records, *(1,) * (x.ndim - 1)))
        noise.bernoulli_(1 - self.p, generator=self._generator)
        return x * (noise.div_(1 - self.p) if self.p < 1 else noise)


def own_layers(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """The model with every random layer of torch's that is known drawing from `generator`."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            kind = type(layer)
            rate: Any = getattr(layer, "p", None)
            if kind is nn.Dropout:
                setattr(parent, name, Dropout(rate, generator))
            elif kind in (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):
                setattr(parent, name, Dropout(rate, generator, features=True))
            elif kind.__qualname__ == "StochasticDepth" and kind.__module__.startswith(
                "torchvision."
            ):
                setattr(parent, name, Depth(rate, getattr(layer, "mode", ""), generator))
    return model
