"""Accuracy and leakage after every epoch of one training: is the last epoch a typical one?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..data import load_dataset, quarter_masks
from ..errors import InputError
from ..evaluation import auc_interval
from ..signals import correct, margin
from .experiment import Experiment, training_config


def epoch_curve(experiment: Experiment, *, device: str = "auto"):
    """The target of a run, trained once more and looked at after every epoch.

    Its members, seed and settings are those of `experiment.run`, so on the same machine the last
    row is that run's target.

    Returns
    -------
    pandas.DataFrame
        One row for each epoch: `epoch`, `train_accuracy`, `test_accuracy`, `auc` of the loss attack
        with its 95 % interval `auc_low`, `auc_high`, `train_loss` (nats, in training mode), what
        decides the run (`dataset`, `architecture`, `seed`, `settings`, `precision`) and where it
        was made.

    Raises
    ------
    InputError
        If the data set or architecture is unknown, the experiment has a defense, or the training
        diverges.
    """
    if experiment.defense != "none":
        raise InputError(
            f"defense={experiment.defense!r}; epoch_curve looks at undefended trainings: "
            "expected 'none', and fields of TrainConfig in settings"
        )
    import pandas as pd

    from ..engine.place import named_device, named_precision
    from ..engine.spec import specifications
    from ..engine.work import circumstances
    from ..training.device import one_thread
    from ..training.loop import fit

    device = named_device(device)
    precision = named_precision(experiment.precision, device)
    config = training_config(experiment)
    pool = load_dataset(experiment.dataset)
    masks, _ = quarter_masks(pool.labels, seed=experiment.seed, shadow_models=1)
    (spec,) = specifications(
        pool,
        masks.members,
        experiment.architecture,
        config,
        seed=experiment.seed,
        precision=precision,
        device=device,
    )
    members, judged = masks.members[0], masks.evaluated[0]
    inside = members[judged]
    rows = []

    def observe(epoch: int, logits: np.ndarray) -> None:
        answers, labels = logits[judged], pool.labels[judged]
        right = correct(answers, labels)
        area = auc_interval(margin(answers, labels), inside)
        rows.append(
            {
                "epoch": epoch,
                "train_accuracy": right[inside].mean(),
                "test_accuracy": right[~inside].mean(),
                "auc": area.value,
                "auc_low": area.low,
                "auc_high": area.high,
            }
        )

    with one_thread():
        trained = fit(
            pool.records,
            pool.labels,
            len(pool.classes),
            members,
            experiment.architecture,
            config,
            seed=spec.seed,
            precision=precision,
            device=device,
            observe=observe,
        )
    common: dict[str, Any] = {
        "dataset": experiment.dataset,
        "architecture": experiment.architecture,
        "seed": experiment.seed,
        "settings": json.dumps(dict(experiment.settings), sort_keys=True),
        "precision": precision,
        "device": device,
    }
    made = circumstances(device)
    table = pd.DataFrame(rows).assign(train_loss=trained.losses, **common)
    return table.assign(processor=made["processor"], **made["versions"])
