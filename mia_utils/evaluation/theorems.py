"""The report's two theorems: what the generalization gap alone gives to an attacker.

Accuracies here are classification accuracies, of the model in evaluation mode on clean records:
`acc_train` on its members, `acc_test` on non-members; g = acc_train - acc_test is the
generalization gap, q the share of members among the evaluated records.
"""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import numpy as np

from .. import arguments
from ..arrays import as_numbers
from ..errors import InputError
from ..outputs import Outputs, check_outputs
from ..signals import correct


def _check_accuracies(acc_train, acc_test) -> tuple[np.ndarray, np.ndarray]:
    values = []
    for name, value in (("acc_train", acc_train), ("acc_test", acc_test)):
        value = as_numbers(value, name).astype(np.float64)
        if not ((value >= 0) & (value <= 1)).all():
            raise InputError(f"{name}={value}; expected accuracies in [0, 1]")
        values.append(value)
    return values[0], values[1]


def _check_share(q) -> np.ndarray:
    q = as_numbers(q, "q").astype(np.float64)
    if not ((q > 0) & (q < 1)).all():
        raise InputError(f"q={q}; expected a share of members in (0, 1)")
    return q


def correctness_accuracy(acc_train, acc_test, q=0.5):
    """Accuracy of the correctness baseline (member if classified correctly), exactly.

    q acc_train + (1 - q)(1 - acc_test); with q = 1/2 that is (1 + g)/2: Theorem 2.1 (Yeom et al.,
    2018). Numbers or arrays that broadcast; float64.

    Raises
    ------
    InputError
        If an accuracy is outside [0, 1] or q outside (0, 1).

    >>> float(correctness_accuracy(1.0, 0.5))
    0.75
    """
    acc_train, acc_test = _check_accuracies(acc_train, acc_test)
    q = _check_share(q)
    return q * acc_train + (1 - q) * (1 - acc_test)


class Accuracies(NamedTuple):
    """Of each model, float64 (M,): accuracy on evaluated members (`train`) and non-members (`test`),
    and the share of members."""

    train: np.ndarray
    test: np.ndarray
    share: np.ndarray


def accuracies(outputs: Outputs) -> Accuracies:
    """Clean accuracies of every model in the answers.

    Raises
    ------
    InputError
        If a model has no evaluated members or no evaluated non-members.
    """
    check_outputs(outputs, "accuracies(outputs)")
    rows = []
    for index, logits in enumerate(outputs.logits):
        inside = outputs.members[index] & outputs.evaluated[index]
        outside = ~outputs.members[index] & outputs.evaluated[index]
        m, n = int(inside.sum()), int(outside.sum())
        if min(m, n) == 0:
            raise InputError(
                f"target {index}: {m} members and {n} non-members among the evaluated records; "
                "a generalization gap needs both"
            )
        right = correct(logits, outputs.labels)
        rows.append((right[inside].sum() / m, right[outside].sum() / n, m / (m + n)))
    return Accuracies(*np.array(rows).reshape(-1, 3).T)


def generalization_gap(outputs: Outputs) -> np.ndarray:
    """Clean accuracy on evaluated members minus that on evaluated non-members, float64 (models,).

    Raises
    ------
    InputError
        If a model has no evaluated members or no evaluated non-members.
    """
    acc_train, acc_test, _ = accuracies(outputs)
    return acc_train - acc_test


class CorrectnessCheck(NamedTuple):
    """Theorem 2.1 on trained models: all float64 (models,).

    `measured` counts the right guesses of the attack over the records, `predicted` comes from the
    two accuracies and the share q of members, `gap` is g. They agree to rounding; with q = 1/2 both
    are (1 + g)/2.
    """

    measured: np.ndarray
    predicted: np.ndarray
    q: np.ndarray
    gap: np.ndarray

    @property
    def error(self) -> float:
        """Largest difference between measured and predicted."""
        return float(np.abs(self.measured - self.predicted).max())


def check_correctness_theorem(outputs: Outputs) -> CorrectnessCheck:
    """Theorem 2.1 checked on models: run the attack, count its right guesses, compare.

    Raises
    ------
    InputError
        As `generalization_gap`.
    """
    acc_train, acc_test, q = accuracies(outputs)
    measured = []
    for logits, members, evaluated in zip(
        outputs.logits, outputs.members, outputs.evaluated, strict=True
    ):
        guesses = correct(logits, outputs.labels)
        measured.append((guesses == members)[evaluated].mean())
    return CorrectnessCheck(
        np.array(measured), correctness_accuracy(acc_train, acc_test, q), q, acc_train - acc_test
    )


class BentleyBound(NamedTuple):
    """The chain of Theorem 5.1: best >= by_gap > half (the last part only if g > 0).

    best : max{q, 1 - q, q acc_train + (1 - q)(1 - acc_test)}, reached by `attaining_attack`
    by_gap : max{q, 1 - q, min{q, 1 - q}(1 + g)}, which needs the gap alone
    half : 1/2, random guessing
    """

    best: float
    by_gap: float
    half: float = 0.5


def _one_model(acc_train, acc_test, q) -> float:
    """`correctness_accuracy` of single numbers."""
    for name, value in {"acc_train": acc_train, "acc_test": acc_test, "q": q}.items():
        if not isinstance(value, Real):
            arguments.refuse(name, value, "a single number")
    return float(correctness_accuracy(acc_train, acc_test, q))


def bentley_bound(acc_train: float, acc_test: float, q: float) -> BentleyBound:
    """Theorem 5.1 (Bentley et al., 2020): the accuracy that some attack reaches on a model.

    `best >= by_gap` always holds, as q a + (1 - q)(1 - b) >= min{q, 1 - q}(a + 1 - b). `by_gap >
    1/2` holds for every q if g > 0. Without that premise it still holds for q other than 1/2 (guess
    the larger group), but fails at q = 1/2, where all three parts are 1/2.

    Raises
    ------
    InputError
        If an accuracy is outside [0, 1] or q outside (0, 1).

    >>> bentley_bound(0.75, 0.5, 0.5)
    BentleyBound(best=0.625, by_gap=0.625, half=0.5)
    >>> bentley_bound(0.75, 0.75, 0.5)
    BentleyBound(best=0.5, by_gap=0.5, half=0.5)
    """
    correctness = _one_model(acc_train, acc_test, q)
    gap = float(acc_train) - float(acc_test)
    return BentleyBound(
        best=max(q, 1 - q, correctness), by_gap=max(q, 1 - q, min(q, 1 - q) * (1 + gap))
    )


def attaining_attack(q: float, acc_train: float, acc_test: float) -> str:
    """The attack whose accuracy is the first part of Theorem 5.1, one of three.

    "all" calls every record a member (accuracy q), "none" calls none (1 - q), "correct" those that
    the model classifies correctly. Ties go to the attack that looks at the record.

    Raises
    ------
    InputError
        As `bentley_bound`.

    >>> attaining_attack(0.5, 0.9, 0.6), attaining_attack(0.9, 0.9, 0.6)
    ('correct', 'all')
    """
    correctness = _one_model(acc_train, acc_test, q)
    return max((correctness, "correct"), (1 - q, "none"), (q, "all"), key=lambda pair: pair[0])[1]
