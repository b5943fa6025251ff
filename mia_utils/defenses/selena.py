"""SELENA: a model that learns what models without a record say about it (Tang et al., 2022)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import arguments
from ..data import Masks, Pool
from ..engine.store import Store
from ..engine.train import check_masks, train
from ..errors import InputError
from ..outputs import Outputs
from ..signals import log_softmax
from ..training.config import TrainConfig, as_seed

SUB_MODELS, LEFT_OUT = 25, 10
"""K and L of the paper's experiments."""


def split(members: np.ndarray, sub_models: int, left_out: int, seed: int) -> np.ndarray:
    """Training sets of the sub-models, bool (K, N): each member is missing from exactly L of them.

    Raises
    ------
    InputError
        If not 1 <= L < K, or a sub-model is left without a member.
    """
    arguments.count("sub_models", sub_models)
    arguments.count("left_out", left_out)
    if not left_out < sub_models:
        raise InputError(
            f"left_out={left_out} with sub_models={sub_models}; expected 1 <= left_out < sub_models"
        )
    index = np.flatnonzero(members)
    without = (
        np.random.default_rng([as_seed(seed), 5]).random((len(index), sub_models)).argsort(axis=1)
    )
    masks = np.zeros((sub_models, len(members)), bool)
    masks[:, index] = True
    masks[without[:, :left_out], index[:, None]] = False
    if not masks.any(axis=1).all():
        raise InputError(f"{len(index)} members are too few for {sub_models} sub-models")
    return masks


def soft_labels(answers: Outputs, members: np.ndarray) -> np.ndarray:
    """What Split-AI says about each member, float32 (N, C): the mean probabilities of the
    sub-models that did not train on it. Zero for other records, which nobody learns."""
    found = np.zeros(answers.logits.shape[1:], np.float64)
    for logits, trained in zip(answers.logits, answers.members, strict=True):
        asked = members & ~trained
        found[asked] += np.exp(log_softmax(logits[asked]))
    found[members] /= found[members].sum(axis=1, keepdims=True)
    return found.astype(np.float32)


def train_selena(
    pool: Pool,
    masks: Masks,
    architecture: str,
    config: TrainConfig = TrainConfig(),
    *,
    seed: int = 0,
    store: str | Store | None = None,
    sub_models: int = SUB_MODELS,
    left_out: int = LEFT_OUT,
    **options,
) -> Outputs:
    """As `engine.train`, but each model is distilled from an ensemble that had not seen its records.

    Split-AI: K sub-models, of which each member is kept from L; a member is answered by the mean of
    those L. Self-distillation: one model of the same architecture learns these answers about its
    members in place of their labels (Tang et al., 2022), and is what answers.
    K - L + 1 trainings' worth of work a model.

    Parameters
    ----------
    sub_models, left_out : int
        K and L.

    Raises
    ------
    InputError
        As `split` and `engine.train`; settings that need plain labels cannot be distilled.
    """
    store, seed = Store.of(store), as_seed(seed)
    members, evaluated = check_masks(masks, pool)
    arguments.instance("config", config, TrainConfig, "a TrainConfig")
    replace(config, soft_labels="")  # a setting that cannot be distilled fails before any training
    common = {"seed": seed, "store": store, **options}
    cut = np.concatenate([split(row, sub_models, left_out, seed) for row in members])
    answers = train(pool, Masks(cut, np.ones_like(cut)), architecture, config, **common)
    distilled = []
    for model, row in enumerate(members):
        own = answers.select(slice(model * sub_models, (model + 1) * sub_models))
        learned = store.put_soft_labels(soft_labels(own, row))
        each = Masks(members[model : model + 1], evaluated[model : model + 1])
        learning = replace(config, soft_labels=learned)
        distilled.append(train(pool, each, architecture, learning, **common))
    return Outputs(
        logits=np.concatenate([one.logits for one in distilled]),
        labels=pool.labels,
        members=np.array(members),
        evaluated=np.concatenate([one.evaluated for one in distilled]),
        fingerprint=pool.fingerprint,
        names=tuple(one.names[0] for one in distilled),
    )
