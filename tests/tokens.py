"""Imagined language models: tokens with log-probabilities of their own, and a leak for members."""

from __future__ import annotations

import numpy as np
from synthetic import Scene, balanced

from mia_utils.text.outputs import TokenOutputs

WORDS = ("river", "stone", "cloud", "lamp", "seven", "north", "paper", "violin")


def token_outputs(
    models: int, documents: int, *, seed: int, leak: float, masks: str = "balanced", pool: int = 0
) -> TokenOutputs:
    """Every optional field; `pool` decides the documents, `seed` memberships and noise."""
    rng = np.random.default_rng([pool, 0])
    lengths = rng.integers(2, 40, documents)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    hard = rng.gamma(2.0, 1.5, offsets[-1])  # loss of each token
    texts = [" ".join(rng.choice(WORDS, length)) for length in lengths]
    rng = np.random.default_rng([seed, 1])
    if masks == "balanced":
        members = balanced(models, documents, rng)
    else:
        members = rng.random((models, documents)) < 0.5
    known = np.repeat(members, lengths, axis=1)
    loss = hard * np.exp(rng.normal(0, 0.2, (models, hard.size)) - leak * known)
    means = -np.add.reduceat(hard, offsets[:-1]) / lengths
    noise = np.exp(rng.normal(0, 0.1, (models, documents, 3)))
    return TokenOutputs(
        -loss,
        offsets,
        members,
        mean=np.broadcast_to(-hard - 0.5, loss.shape),
        std=np.broadcast_to(0.5 + hard / 4, loss.shape),
        ranks=np.floor(loss),
        texts=texts,
        lowercase_log_probs=1.1 * means * noise[..., 0],
        neighbour_log_probs=1.2 * means[:, None] * noise,
        fingerprint=f"tokens-{pool}",
    )


def token_scene(
    shadows: int,
    *,
    seed: int,
    shadow_leak: float,
    target_leak: float,
    targets: int = 2,
    documents: int = 260,
    population: int = 130,
) -> Scene:
    """As `synthetic.scene`, of documents."""
    shadow = token_outputs(shadows, documents, seed=2 * seed, leak=shadow_leak, pool=seed)
    target = token_outputs(
        targets, documents, seed=2 * seed + 1, leak=target_leak, masks="independent", pool=seed
    )
    return Scene(
        shadow,
        target.select(documents=slice(population)),
        target.select(documents=slice(population, None)),
    )
