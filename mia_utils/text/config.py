"""What decides a language model: its recipe, the corpus, who is in it, and the seed."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from numbers import Integral

import numpy as np

from .. import arguments
from ..arguments import as_integer, as_number
from ..engine.folders import digest
from ..engine.spec import own_seed
from ..errors import InputError
from ..training.config import MOST, DPConfig

RECIPE = 2
"""Raised whenever the training loop's results change; part of every model's name."""


@dataclass(frozen=True)
class TextConfig:
    """How a language model is built and trained.

    Parameters
    ----------
    epochs : int
        Passes over the members.
    looks : ints
        Epochs after which it is asked, besides the last: one training gives a curve.
    layers, width, heads : int
        Of the transformer: about 12 x layers x width^2 parameters, and width for each token.
    context : int
        Tokens that it sees. A longer document is cut into pieces of that many.
    batch_size : int
        Documents (pieces) a step.
    lr : float
        Of AdamW, reached in `warmup` steps and then constant, so that the model after fewer epochs
        is the one that a shorter training would give.
    warmup : int
    weight_decay : float
    dp : DPConfig or None
        DP-SGD; what it protects is one document.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    epochs: int = 10
    looks: tuple[int, ...] = ()
    layers: int = 2
    width: int = 64
    heads: int = 4
    context: int = 256
    batch_size: int = 16
    lr: float = 3e-3
    warmup: int = 20
    weight_decay: float = 0.01
    dp: DPConfig | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "layers", "width", "heads", "context", "batch_size"):
            self._set(name, as_integer(name, getattr(self, name), "an integer >= 1", 1, MOST))
        self._set("warmup", as_integer("warmup", self.warmup, "an integer >= 0", 0, MOST))
        for name in ("lr", "weight_decay"):
            value = as_number(name, getattr(self, name), "a number >= 0")
            arguments.number(name, value, "a number >= 0", 0, np.inf, closed="low")
            self._set(name, value)
        if not self.lr:
            arguments.refuse("lr", self.lr, "a positive number")
        if self.dp is not None:
            arguments.instance("dp", self.dp, DPConfig, "a DPConfig or None")
        given = (self.looks,) if isinstance(self.looks, Integral) else self.looks
        given = arguments.several("looks", given, "numbers of epochs")
        epochs = f"epochs from 1 to {self.epochs}"
        looks = sorted({as_integer("looks", look, epochs) for look in given})
        if looks and not 1 <= looks[0] <= looks[-1] <= self.epochs:
            arguments.refuse("looks", self.looks, epochs)
        object.__setattr__(self, "looks", tuple(look for look in looks if look < self.epochs))
        if self.width % self.heads:
            raise InputError(
                f"width={self.width}, heads={self.heads}; expected a width that heads divide"
            )
        if self.dp is not None and (self.dp.multiplicity, self.dp.weight_standardisation) != (
            1,
            False,
        ):
            raise InputError(
                "dp: multiplicity and weight_standardisation are for images; leave them out"
            )

    def _set(self, name: str, value) -> None:
        object.__setattr__(self, name, value)

    def changed(self) -> dict:
        """The settings that are not the defaults: what a name is a hash of."""
        plain = {field.name: field.default for field in fields(self)}
        return {k: v for k, v in asdict(self).items() if v != plain[k]}

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.lr * min(1.0, (step + 1) / (self.warmup + 1))


@dataclass(frozen=True)
class TextSpec:
    """Everything that decides a trained language model; `name` is its hash.

    Parameters
    ----------
    copies : bytes
        uint8 (documents,): how often each document is in the training set.
    """

    corpus: str
    base_seed: int
    fingerprint: str
    vocabulary: int
    copies: bytes
    config: TextConfig
    precision: str
    device: str

    @property
    def seed(self) -> int:
        """Its own, as `own_seed` derives it."""
        return own_seed(self.base_seed, self.copies, private=self.config.dp is not None)

    @property
    def identity(self) -> dict:
        """What the name is a hash of."""
        return {
            "kind": "gpt",
            "fingerprint": self.fingerprint,
            "copies": hashlib.sha256(self.copies).hexdigest(),
            "config": self.config.changed(),
            "seed": self.seed,
            "recipe": RECIPE,
            "precision": self.precision,
            "device": self.device,
        }

    @property
    def name(self) -> str:
        return digest(self.identity)

    @property
    def title(self) -> str:
        """For messages: which model this is."""
        return f"language model {self.name} (width {self.config.width}, lr={self.config.lr:g})"

    def counts(self) -> np.ndarray:
        """uint8 (documents,)."""
        return np.frombuffer(self.copies, np.uint8)
