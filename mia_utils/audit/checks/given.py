"""Checks of the answers themselves: their form, their number, their classes."""

from __future__ import annotations

import numpy as np

from ... import signals
from ...arrays import rows_of
from ...errors import InputError
from ...evaluation import auc_interval
from ...outputs import Outputs
from ...reading import doubts
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
    yield from _swapped(data, seed)
    if data.scale == "probabilities":
        probabilities = _part(data.outputs, SAMPLE, seed)
        tied = float((probabilities.max(axis=1) > -1e-7).mean())
        text = "probabilities were given: what their rounding ties cannot be told apart any more"
        if tied >= 0.01:
            text += f" ({tied:.0%} of the answers are certain to seven digits)"
        yield NOTE, text, "Give logits where the model has them"


def _swapped(data: AuditData, seed: int) -> Found:
    """A loss that is higher on members than on others."""
    inside, outside = kinds(data.outputs)
    if not (inside.size and outside.size):
        return
    if data.tokens is None:  # all of a language model's: the mean over them is said
        inside, outside = (sample(rows, SAMPLE, seed) for rows in (inside, outside))
    rows = np.concatenate([inside, outside])
    truth = np.repeat([True, False], [inside.size, outside.size])
    answers = rows_of(data.outputs.logits[0], rows)
    if data.tokens is not None:
        loss = -answers[:, 1].astype(np.float64)
    else:
        loss = signals.loss(answers, data.outputs.labels[rows])
    if auc_p_value(loss, truth, seed) > ALPHA:
        return
    if data.tokens is not None:
        found = (
            f"members have a higher perplexity ({perplexity(data, inside):.3g}) than others "
            f"({perplexity(data, outside):.3g})"
        )
    else:
        found = (
            "members have a higher loss than others (a member's is the higher one with probability "
            f"{auc_interval(loss, truth).value:.3f})"
        )
    yield (
        STOP,
        f"{found}: were they swapped?",
        "Write members=~members if so; a defense that raises the loss of members does so too",
    )


def _part(outputs: Outputs, most: int, seed: int) -> np.ndarray:
    """Log-probabilities (n, C) of at most `most` records of the first model."""
    rows = sample(np.flatnonzero(outputs.evaluated[0]), most, seed)
    return signals.log_softmax(rows_of(outputs.logits[0], rows))


def numbers(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Too few records for the rates that are asked."""
    inside, outside = kinds(data.outputs)
    if not (inside.size and outside.size):
        raise InputError(
            f"{_these(inside.size, 'member')} and {_these(outside.size, 'non-member')} are to be "
            "judged; expected some of each, 1,000 for a rate of 1 %"
        )
    if min(inside.size, outside.size) < 10:
        yield (
            STOP,
            f"{_these(inside.size, 'member')} and {_these(outside.size, 'non-member')} are to be judged",
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
            f"{empty.size} of {outputs.classes} classes {'has' if empty.size == 1 else 'have'} no "
            f"record, such as {shown}",
            "Is the list of classes the model's?",
        )


def _these(count: int, what: str) -> str:
    """
    >>> _these(1, "member"), _these(2000, "member")
    ('1 member', '2,000 members')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"
