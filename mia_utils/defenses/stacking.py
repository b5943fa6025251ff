"""Model stacking: no part of the model has seen all of the training set (Salem et al., 2018)."""

from __future__ import annotations

import numpy as np

from .. import arguments
from ..data import Masks, Pool
from ..engine.train import check_masks, train
from ..errors import InputError
from ..outputs import Outputs
from ..signals import log_softmax
from ..training.config import TrainConfig, as_seed
from .masking import FLOOR

BASES = 2


def parts(members: np.ndarray, seed: int) -> list[np.ndarray]:
    """The members in `BASES` + 1 disjoint random parts of equal size, each bool (N,).

    Raises
    ------
    InputError
        If there are fewer members than parts.
    """
    index = np.random.default_rng([as_seed(seed), 3]).permutation(np.flatnonzero(members))
    if index.size < BASES + 1:
        raise InputError(f"{index.size} members; stacking cuts them into {BASES + 1} parts")
    found = []
    for part in np.array_split(index, BASES + 1):
        mask = np.zeros_like(members)
        mask[part] = True
        found.append(mask)
    return found


def _check_last(labels: np.ndarray) -> None:
    """Before any training: can the combiner learn from these?"""
    if np.unique(labels).size < 2:
        raise InputError(
            f"masks: the {labels.size} members from which stacking's combiner would learn are all of "
            "one class; expected more members, or another seed"
        )


def train_stacked(
    pool: Pool,
    masks: Masks,
    architecture: str,
    config: TrainConfig = TrainConfig(),
    *,
    seed: int = 0,
    **options,
) -> Outputs:
    """As `engine.train`, but each model is a stack: two base models and a combiner.

    The members are cut into three disjoint parts. A base model is trained on each of the first
    two; a logistic regression on the probabilities that they give for the third combines them.
    Salem et al. stack different kinds of models (a neural network and a random forest); here both
    base models are of the one architecture. A stack is named by
    its base models' names, joined by "+".

    Raises
    ------
    InputError
        As `engine.train`, if the combiner would learn from records of one class, or if the models
        are to be private: the combiner is not.
    """
    from sklearn.linear_model import LogisticRegression

    seed = as_seed(seed)
    arguments.instance("config", config, TrainConfig, "a TrainConfig")
    if config.dp is not None:
        raise InputError(
            "stacking and dp together: the combiner learns from members without noise, so the stack "
            "would have no epsilon; choose one"
        )
    members, evaluated = check_masks(masks, pool)
    cut = [parts(row, seed) for row in members]
    for each in cut:
        _check_last(pool.labels[each[BASES]])
    rows = np.array([mask for each in cut for mask in each[:BASES]])
    base = train(pool, Masks(rows, np.ones_like(rows)), architecture, config, seed=seed, **options)
    logits = np.full((len(members), len(pool), base.classes), np.log(FLOOR), np.float32)
    for model, each in enumerate(cut):
        answers = base.logits[model * BASES : (model + 1) * BASES]
        features = np.concatenate([np.exp(log_softmax(a)) for a in answers], axis=1)
        combiner = LogisticRegression(max_iter=1000)
        combiner.fit(features[each[BASES]], pool.labels[each[BASES]])
        # A class that the third part lacks stays at the floor.
        logits[model][:, combiner.classes_] = np.maximum(
            combiner.predict_log_proba(features), np.log(FLOOR)
        )
    return Outputs(
        logits=logits,
        labels=pool.labels,
        members=np.array(members),
        evaluated=np.array(evaluated),
        fingerprint=pool.fingerprint,
        names=tuple(
            "+".join(base.names[model * BASES : (model + 1) * BASES]) for model in range(len(cut))
        ),
    )
