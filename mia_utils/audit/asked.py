"""From a model and its data to the answers that an audit needs, with reference models if asked."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ..data.splits import balanced_masks
from ..errors import InputError
from ..naming import id_numbers, member_mask
from ..outputs import Outputs
from ..reading import FLOOR
from ..training.config import TrainConfig
from .answers import AuditData
from .material import Material
from .models import EstimatorModel, ask, fitted, load_model, natural_floor

_FEWEST = 4


def answers_of(
    model: str,
    material: Material,
    members,
    *,
    weights: str | os.PathLike | None = None,
    shadows: int = 0,
    config: TrainConfig = TrainConfig(),
    store: str | os.PathLike | None = None,
    jobs: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> tuple[AuditData, Outputs | None]:
    """A model's answers for all records, and those of reference models of its kind.

    Reference models are trained on random halves of the records, every record in half of them:
    PyTorch's by the engine into the store (architecture and `config` as the target's), others by
    fitting clones of the classifier.

    Parameters
    ----------
    model : str
        "module:function" of a factory (with `weights`) or of a function that returns a classifier,
        or the folder of a Hugging Face model.
    members : mask, or ids
    shadows : int
        Number of reference models: 0, or an even number from 4 on.

    Raises
    ------
    InputError
        If something cannot be read, asked or trained.
    """
    pool = material.pool
    mask = np.asarray(member_mask(members, material.ids, len(pool)), dtype=bool).ravel()
    if mask.shape != (len(pool),):
        raise InputError(f"members has {mask.size} values for {len(pool)} records")
    if shadows and (shadows < _FEWEST or shadows % 2):
        raise InputError(
            f"--shadows {shadows}; expected an even number of reference models from {_FEWEST} on"
        )
    if shadows and os.path.isdir(model):
        raise InputError(
            f"{model}: reference models of a Hugging Face model are not trained from its folder, "
            "which does not say how it was trained or what was frozen. Write a factory that returns "
            "it with its frozen layers (--model module:function --weights FILE), or give answers of "
            "models that you trained: --shadows FILE"
        )
    target, estimator = load_model(model, pool, weights=weights)
    if target is None:
        progress("fitting the classifier on the members")
        target = fitted(estimator, pool, mask, seed)
    floor = FLOOR
    if isinstance(target, EstimatorModel):
        floor = target.floor = natural_floor(target, pool)
    progress("asking the model")
    ids = id_numbers(material.ids)
    logits = ask(target, pool)[None]
    outputs = Outputs(logits, pool.labels, mask[None], ids=ids)
    features = np.asarray(pool.records).reshape(len(pool), -1) if not pool.is_image else None
    data = AuditData.of(
        outputs,
        names=material.ids,
        groups=material.groups,
        classes=pool.classes,
        features=features,
        scale="logits" if weights is not None or estimator is None else "probabilities",
        sources=material.sources,
    )
    if not shadows:
        return data, None
    masks = balanced_masks(len(pool), models=shadows, seed=seed)
    if weights is not None:
        from ..engine import train

        reference = train(pool, masks, model, config, seed=seed, store=store, jobs=jobs)
        return data, reference.replace(ids=ids, fingerprint="")
    answers = []
    for number, row in enumerate(masks.members):
        progress(f"fitting reference model {number + 1} of {shadows}")
        answers.append(ask(fitted(estimator, pool, row, seed + 1 + number, floor), pool))
    return data, Outputs(np.stack(answers), pool.labels, np.asarray(masks.members), ids=ids)
