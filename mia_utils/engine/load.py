"""A stored model, ready to be asked."""

from __future__ import annotations

import os

import numpy as np

from ..errors import InputError
from .store import Store


def load_model(name: str, store: str | os.PathLike | Store | None = None):
    """A stored model, `nn.Module` in evaluation mode, and its record.

    Raises
    ------
    InputError
        If the store does not hold it, it is damaged, or the reader's own architecture has changed
        since it was trained.
    """
    import torch

    from ..training.models import architecture_id, build

    store = Store.of(store)
    record = store.record(name)
    architecture = record["architecture"]
    if architecture_id(architecture) != record["architecture_id"]:
        raise InputError(
            f"architecture {architecture!r} has changed since model {name} was trained; bring its "
            "source back, or train the model again"
        )
    model = build(
        architecture,
        tuple(record["shape"]),
        record["classes"],
        dropout=record["config"]["dropout"],
    )
    if dp := record["config"].get("dp"):
        from ..training.dp import private_layers

        model = private_layers(model, dp.get("weight_standardisation", False))
    weights = store.weights(name)
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    return model.eval(), record
