"""Leaving shadow models out in turn, so that a threshold comes from models not seen in the fit."""

from __future__ import annotations

import numpy as np

from ..outputs import Outputs
from ..signals import margin
from .statistics import IN, OUT

MOST_LEFT_OUT = 4


def draw_order(outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """The order in which random draws are dealt out: positions of the models, and of the records.

    Records come by id, models by the records that they are evaluated on and held (then by their
    answers to the first of them): whoever lists the same records or models in another order gets
    the same draws.
    """
    records = np.argsort(outputs.ids, kind="stable")

    def key(model: int):
        used = outputs.evaluated[model, records]
        first = records[used][:16]
        answers = margin(outputs.logits[model][first], outputs.labels[first])
        held = outputs.members[model, records] & used
        return used.tobytes(), held.tobytes(), answers.tobytes()

    return np.array(sorted(range(len(outputs)), key=key), int), records


def left_out_models(shadow: Outputs, most: int = MOST_LEFT_OUT) -> list[int]:
    """The shadow models that are left out in turn: at most four (or `most`), evenly spread."""
    order, _ = draw_order(shadow)
    places = np.linspace(0, len(order) - 1, min(len(order), most)).round().astype(int)
    return order[np.unique(places)].tolist()


def leave_out(shadow: Outputs, model: int, rng: np.random.Generator) -> np.ndarray:
    """Shadow pairs of the other models, with as many in as out models of each record; bool (M, N).

    Of balanced shadow models one fewer holds the record if the model left out held it, so that the
    counts alone would give its membership away. The surplus is dropped at random, record by record
    (nothing is dropped of records that all of the others hold, or none: their counts tell nothing).
    """
    use = shadow.evaluated.copy()
    use[model] = False
    left = np.stack([(use & ~shadow.members).sum(axis=0), (use & shadow.members).sum(axis=0)])
    wanted = np.where(left.min(axis=0) > 0, left.min(axis=0), left)
    models, records = draw_order(shadow)
    drawn = np.empty(records.size)
    for index in models:
        members = shadow.members[index]
        group = np.where(members, IN, OUT), np.arange(members.size)
        drawn[records] = rng.random(records.size)
        # Sequential sampling: `wanted` of the `left` pairs, every subset equally likely.
        take = use[index] & (drawn * left[group] < wanted[group])
        left[group] -= use[index]
        wanted[group] -= take
        use[index] = take
    return use
