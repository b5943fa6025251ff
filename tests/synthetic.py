"""Outputs of imagined models: Gaussian logits, in which membership shows as much as a test says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mia_utils.outputs import Outputs


def balanced(models: int, records: int, rng: np.random.Generator) -> np.ndarray:
    """Every record in exactly half of the models, bool (models, records)."""
    return rng.random((models, records)).argsort(axis=0) < models // 2


def gaussian_outputs(
    models: int,
    records: int,
    classes: int = 4,
    *,
    seed: int,
    leak: float,
    masks: str = "balanced",
    pool: int = 0,
) -> Outputs:
    """Logits = the record's own mean + noise, and `leak` on the true class of members.

    `pool` decides labels and means, so that shadow models and targets with one `pool` know the same
    records; `seed` decides memberships and noise. masks: "balanced" among the models (for
    shadows) or "independent" (for targets).
    """
    rng = np.random.default_rng([pool, 0])
    labels = rng.integers(0, classes, records)
    mean = rng.normal(0, 1, (records, classes))
    own = (np.arange(records), labels)
    mean[own] += 2
    rng = np.random.default_rng([seed, 1])
    if masks == "balanced":
        members = balanced(models, records, rng)
    else:
        members = rng.random((models, records)) < 0.5
    logits = mean + rng.normal(0, 1, (models, records, classes))
    logits[:, own[0], own[1]] += leak * members
    return Outputs(logits, labels, members, fingerprint=f"gaussian-{pool}")


class Scene(NamedTuple):
    """Shadow models for every record; the targets' outputs for known non-members and the others."""

    shadow: Outputs
    population: Outputs
    target: Outputs


def scene(
    shadows: int,
    *,
    seed: int,
    shadow_leak: float,
    target_leak: float,
    targets: int = 2,
    records: int = 260,
    population: int = 130,
    classes: int = 4,
) -> Scene:
    """One simulation: records, shadow models on balanced halves, targets on independent ones."""
    shape = {"records": records, "classes": classes, "pool": seed}
    shadow = gaussian_outputs(shadows, seed=2 * seed, leak=shadow_leak, **shape)
    target = gaussian_outputs(
        targets, seed=2 * seed + 1, leak=target_leak, masks="independent", **shape
    )
    return Scene(
        shadow,
        target.select(records=slice(population)),
        target.select(records=slice(population, None)),
    )
