"""Checks of the answers themselves: their form, their number, their classes."""

from __future__ import annotations

import numpy as np

from ...arrays import rows_of
from ...outputs import Outputs
from ...reading import doubts
from ...signals import log_softmax
from ..answers import AuditData
from ..language import perplexity
from ..measure import RATES, auc_p_value, measurable
from .finding import ALPHA, NOTE, SAMPLE, SHOWN, STOP, Found, kinds, sample


def answers(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Probabilities as logits, answers in another order than labels, members and others swapped."""
    for role, outputs in (("", data.outputs), ("of the reference models: ", shadows)):
        if outputs is not None:
            for text in doubts(outputs):
                yield STOP, role + text, "Mend the file"
    if data.tokens is not None:
        inside, outside = kinds(data.outputs)
        rows = np.concatenate([inside, outside])
        truth = np.repeat([True, False], [inside.size, outside.size])
        loss = -data.outputs.logits[0][rows, 1].astype(np.float64)
        if inside.size and outside.size and auc_p_value(loss, truth, seed) <= ALPHA:
            yield (
                STOP,
                f"members have a higher perplexity ({perplexity(data, inside):.3g}) than others "
                f"({perplexity(data, outside):.3g}): were they swapped?",
                "Write members=~members if so",
            )
    if data.scale == "probabilities":
        probabilities = _part(data.outputs, SAMPLE, seed)
        tied = float((probabilities.max(axis=1) > -1e-7).mean())
        text = "probabilities were given: what their rounding ties cannot be told apart any more"
        if tied >= 0.01:
            text += f" ({tied:.0%} of the answers are certain to seven digits)"
        yield NOTE, text, "Give logits where the model has them"


def _part(outputs: Outputs, most: int, seed: int) -> np.ndarray:
    """Log-probabilities (n, C) of at most `most` records of the first model."""
    rows = sample(np.flatnonzero(outputs.evaluated[0]), most, seed)
    return log_softmax(rows_of(outputs.logits[0], rows))


def numbers(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Too few records for the rates that are asked."""
    inside, outside = kinds(data.outputs)
    if min(inside.size, outside.size) < 10:
        yield (
            STOP,
            f"{inside.size} members and {outside.size} non-members are to be judged",
            "Give at least 10 of each; 1,000 of each for a rate of 1 %",
        )
        return
    for rate in RATES:
        if rate not in measurable(outside.size):
            yield (
                NOTE,
                f"{outside.size:,} non-members are too few for a false-positive rate of {rate:.1%}",
                f"It needs {int(np.ceil(10 / rate)):,}",
            )


def classes(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Classes that the model never names, or that no record has."""
    outputs = data.outputs
    there = np.bincount(outputs.labels[outputs.evaluated[0]], minlength=outputs.classes)
    empty = np.flatnonzero(there == 0)
    if empty.size:
        shown = ", ".join(repr(data.classes[c]) for c in empty[:SHOWN])
        yield (
            NOTE,
            f"{empty.size} of {outputs.classes} classes have no record, such as {shown}",
            "Is the list of classes the model's?",
        )
