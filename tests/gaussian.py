"""Outputs whose margins are Gaussians of known densities: ground truth for likelihood attacks."""

from __future__ import annotations

import numpy as np
from synthetic import balanced

from mia_utils.outputs import Outputs


def from_margins(margins: np.ndarray, members: np.ndarray, **fields) -> Outputs:
    """Two-class Outputs with label 0 and exactly these margins (M, N), up to float32."""
    logits = np.zeros((*margins.shape, 2), np.float32)
    logits[..., 0] = margins
    return Outputs(logits, np.zeros(margins.shape[1], int), members, **fields)


def split(outputs: Outputs, z: int) -> tuple[Outputs, Outputs]:
    """The first z records as population, the others as target."""
    return outputs.select(records=slice(z)), outputs.select(records=slice(z, None))


def with_wild(outputs: Outputs, pairs: np.ndarray) -> Outputs:
    """A copy in which the margins of these pairs, bool (M, N), are 77 larger."""
    wild = np.where(pairs, 77, 0)[..., None] * np.array([1, 0])
    return outputs.replace(logits=(outputs.logits + wild).astype(np.float32))


class World:
    """Records with Gaussians of their own: center + gap * member + deviation * noise.

    `gap` and `deviation` are numbers, or one a record.
    """

    def __init__(self, records: int, *, seed: int, gap=1.0, deviation=1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.center = self.rng.normal(1, 2, records)
        self.gap = np.broadcast_to(gap, records)
        self.deviation = np.broadcast_to(deviation, records)

    def draw(self, members: np.ndarray, **fields) -> Outputs:
        noise = self.rng.normal(size=members.shape)
        return from_margins(
            self.center + self.gap * members + self.deviation * noise, members, **fields
        )

    def shadow(self, models: int) -> Outputs:
        return self.draw(balanced(models, self.center.size, self.rng))

    def targets(self, models: int) -> Outputs:
        """Memberships drawn independently of the shadow models' and of each other."""
        return self.draw(self.rng.random((models, self.center.size)) < 0.5)

    def log_ratio(self, outputs: Outputs) -> np.ndarray:
        """The Neyman-Pearson optimal score (M, N): the exact log-likelihood ratio."""
        x = (outputs.logits[..., 0].astype(float) - self.center) / self.deviation
        return 0.5 * (x**2 - (x - self.gap / self.deviation) ** 2)
