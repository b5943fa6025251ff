"""Checks of the reference models: other models than the target, and models like it."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from ...arrays import rows_of
from ...evaluation import auc_interval
from ...outputs import Outputs
from ..answers import AuditData
from ..measure import auc_p_value
from .finding import ALPHA, BLIND, CAUTION, STOP, Found, kinds, sample


def copies(data: AuditData, shadows: Outputs, seed: int) -> Found:
    """Reference models that are the target, or copies of each other, whatever their names."""
    rows = sample(np.arange(shadows.labels.size), 1000, seed)
    target = rows_of(data.outputs.logits[0], rows).astype(np.float32).tobytes()
    seen: dict[bytes, int] = {target: -1}
    for index, logits in enumerate(shadows.logits):
        first = seen.setdefault(rows_of(logits, rows).astype(np.float32).tobytes(), index)
        if first == -1:
            yield (
                STOP,
                f"reference model {index} gives the target's own answers",
                "It is the audited model: take it out of the reference models",
            )
        elif first != index:
            yield (
                STOP,
                f"reference models {first} and {index} give the same answers",
                "They are one model: keep one",
            )


def design(data: AuditData, shadows: Outputs, seed: int) -> Found:
    """A target whose membership follows from how many reference models held the record."""
    used = data.outputs.evaluated[0]
    counts = (shadows.members & shadows.evaluated).sum(axis=0)[used]
    truth = data.outputs.members[0][used]
    if np.unique(counts).size < 2 or np.unique(truth).size < 2:
        return
    ways = (counts, -counts)
    p = min(1.0, 2 * min(auc_p_value(way.astype(float), truth, seed) for way in ways))
    if p <= ALPHA:
        value = max(auc_interval(way.astype(float), truth) for way in ways)
        yield (
            STOP if value.low > 0.5 + BLIND else CAUTION,
            (
                "how many reference models held a record tells whether the target did (AUC "
                f"{value.value:.3f}): the target was drawn from the balanced memberships of its "
                "reference models"
            ),
            "Draw the target's members independently of theirs",
        )


def likeness(data: AuditData, shadows: Outputs, seed: int) -> Found:
    """Reference models that are unlike the target: another task, or far more or less accurate."""
    outputs = data.outputs
    outside = kinds(outputs)[1]
    if not outside.size:
        return
    rows = sample(outside, 5000, seed)
    mine = (rows_of(outputs.logits[0], rows).argmax(axis=1) == outputs.labels[rows]).mean()
    others = []
    for logits, members, used in zip(
        shadows.logits, shadows.members, shadows.evaluated, strict=True
    ):
        free = rows[used[rows] & ~members[rows]]
        if free.size >= 20:
            others.append((rows_of(logits, free).argmax(axis=1) == outputs.labels[free]).mean())
    if not others:
        return
    theirs = float(np.mean(others))
    p = binomtest(
        round(float(mine) * rows.size), rows.size, min(max(theirs, 1e-6), 1 - 1e-6)
    ).pvalue
    if p <= ALPHA and abs(mine - theirs) > 0.1:
        yield (
            CAUTION,
            (
                f"the target is right about {mine:.0%} of records it has not seen, the reference "
                f"models about {theirs:.0%}"
            ),
            "Train the reference models as the target was trained: what they find is then more",
        )
