"""What decides a trained model, and the name that follows from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..data import Pool
from ..training.config import TrainConfig
from .folders import digest


@dataclass(frozen=True)
class ModelSpec:
    """Everything that decides a trained model; `name` is its hash.

    Parameters
    ----------
    pool, base_seed
        For its record alone: the pool's name, and the seed from which the model's own was derived.
    members : bytes
        Packed bits of bool (count,).
    """

    pool: str
    base_seed: int
    fingerprint: str
    members: bytes
    count: int
    architecture: str
    architecture_id: str
    config: TrainConfig
    seed: int
    precision: str
    device: str

    @property
    def identity(self) -> dict:
        """What the name is a hash of."""
        return {
            "fingerprint": self.fingerprint,
            "members": hashlib.sha256(self.members).hexdigest(),
            "architecture": self.architecture_id,
            "config": self.config.changed(),
            "seed": self.seed,
            "recipe": recipe(self.config),
            "precision": self.precision,
            "device": self.device,
        }

    @property
    def name(self) -> str:
        return digest(self.identity)

    @property
    def title(self) -> str:
        """For messages: which model this is."""
        return f"model {self.name} ({self.architecture}, lr={self.config.lr:g})"

    def mask(self) -> np.ndarray:
        """bool (N,): the members."""
        return np.unpackbits(np.frombuffer(self.members, np.uint8), count=self.count).astype(bool)


def recipe(config: TrainConfig) -> int:
    """Version of the training loop that the configuration asks for."""
    if config.dp is not None:
        from ..training.accounting import RECIPE
    else:
        from ..training.loop import RECIPE
    return RECIPE


def specifications(
    pool: Pool,
    members: np.ndarray,
    architecture: str,
    config: TrainConfig,
    *,
    seed: int,
    precision: str,
    device: str,
) -> list[ModelSpec]:
    """One for each row of `members`, bool (M, N); precision and device are resolved names."""
    from ..training.models import architecture_id

    identity = architecture_id(architecture)
    return [
        ModelSpec(
            pool=pool.name,
            base_seed=seed,
            fingerprint=pool.fingerprint,
            members=np.packbits(row).tobytes(),
            count=len(pool),
            architecture=architecture,
            architecture_id=identity,
            config=config.resolved(device, int(row.sum())),
            seed=own_seed(seed, np.packbits(row).tobytes(), private=config.dp is not None),
            precision=precision,
            device=device,
        )
        for row in members
    ]


def own_seed(seed: int, members: bytes, *, private: bool) -> int:
    """A model's seed: different for every training set, so that no two share an initialisation.

    Of 32 bits, or of the 64 that torch takes where noise must not be guessed.
    """
    hashed = hashlib.sha256(f"{seed} ".encode() + members).digest()
    return int.from_bytes(hashed[: 8 if private else 4], "big")
