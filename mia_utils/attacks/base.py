"""`Attack`: fit on shadow models, score a target, call a member where the score is high enough."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator

from .. import arguments, evaluation, signals
from ..arrays import rows_of
from ..errors import InputError
from ..outputs import Outputs, check_outputs

_AT_ONCE = 2**24
"""Logits that are held in double precision at once."""


def best_threshold(scores: np.ndarray, members: np.ndarray) -> float:
    """Threshold of the best balanced accuracy; both arrays have one shape, no score is NaN.

    >>> best_threshold(np.array([4.0, 2.0, 1.0]), np.array([True, False, False]))
    3.0
    """
    return evaluation.best_threshold(np.ravel(scores), np.ravel(members)).threshold


def in_parts(rows: np.ndarray, classes: int) -> list[np.ndarray]:
    """`rows` in as few parts as can be held in double precision at once."""
    return np.array_split(rows, max(1, -(-rows.size * classes // _AT_ONCE)))


def margins_of(logits: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`signals.margin` float64 (rows,) of some records, bool (N,), of one model's (N, C)."""
    parts = in_parts(np.flatnonzero(rows), logits.shape[1])
    return np.concatenate([signals.margin(rows_of(logits, part), labels[part]) for part in parts])


class Needs(NamedTuple):
    """What an attack must be given before it scores a record.

    Attributes
    ----------
    fit : bool
        Does `fit` change the scores, or only the threshold?
    out, held : int
        Shadow models that did not hold the record, and that did.
    population : bool
        The target's outputs for records that are not audited.
    queries : bool
        May there be several queries of a record, a sequence of `Outputs`?
    fields : tuple of str
        Optional fields of the outputs that must be there.
    """

    fit: bool = False
    out: int = 0
    held: int = 0
    population: bool = False
    queries: bool = False
    fields: tuple[str, ...] = ()


class Attack(BaseEstimator):
    """A membership inference attack, a scikit-learn estimator: `get_params`, `set_params`, `clone`.

    `__init__` stores its arguments as given, `fit` and `score` check them (`check_arguments`), `fit`
    returns the attack, what was learned ends in `_`, and a higher score always means a likelier
    member. A subclass that reads each answer by itself defines `_score_records`, one that needs
    the model itself `_score_model`; one that learns more than a threshold overrides `fit` too, one
    that compares records or models overrides `score`.

    Parameters
    ----------
    threshold : float, optional
        Set by hand, in the unit of the attack's own metric. Otherwise `fit` takes the one with the
        best balanced accuracy on the shadow models.

    Attributes
    ----------
    threshold_ : float or None
        In the unit of the scores, after `fit`. None where the shadow models could not give one.
    """

    def __init__(self, *, threshold: float | None = None) -> None:
        self.threshold = threshold

    @property
    def needs(self) -> Needs:
        """What must be given before a record is scored."""
        return Needs()

    def check_arguments(self) -> None:
        """Look at the arguments of `__init__`, as they are now.

        Raises
        ------
        InputError
            If one is of a type or size that the attack cannot use.
        """
        arguments.threshold(self.threshold)
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if isinstance(parameter.default, bool):
                arguments.truth(name, getattr(self, name))
        if hasattr(self, "seed"):
            arguments.seed(self.seed)

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Take the threshold from the evaluated pairs of the shadow models, unless set by hand.

        Parameters
        ----------
        shadow : Outputs
            Not needed with a threshold set by hand.
        population : Outputs
            The target's outputs for records that are not audited; for the attacks that say so.

        Raises
        ------
        InputError
            If a threshold is to be fitted and there are no shadow models, or their evaluated
            pairs are all members or all non-members, or if an argument cannot be used.
        """
        self.check_arguments()
        if self.threshold is not None:
            self._set_threshold(np.empty(0), np.empty(0, bool))
            return self
        if shadow is None:
            raise InputError(
                f"{type(self).__name__}.fit got no shadow models; pass shadow=, or set the "
                "threshold by hand"
            )
        shadow = self._check_both_kinds(shadow)
        self._set_threshold(self.score(shadow), shadow.members)
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Scores, float64 (M, N): higher for members, NaN where the pair is not evaluated.

        Raises
        ------
        InputError
            If an argument cannot be used, or `target` is no Outputs.
        """
        self.check_arguments()
        self._check_answers(target, "score(target)")
        scores = np.full(target.members.shape, np.nan)
        for model, used in enumerate(target.evaluated):
            if used.any():
                scores[model, used] = self._score_model(target, model, used)
        return scores

    @property
    def score_threshold(self) -> float | None:
        """What `predict` and `evaluate` compare scores with: `threshold_` after a fit, before one
        the threshold set by hand; None if there is neither."""
        fitted = getattr(self, "threshold_", None)
        if fitted is None and self.threshold is not None:
            return self._in_score_units(self.threshold)
        return fitted

    def predict(self, target: Outputs) -> np.ndarray:
        """Called a member (score >= threshold), bool (M, N); False where not evaluated.

        Raises
        ------
        InputError
            If there is no threshold.
        """
        threshold, scores = self.score_threshold, self.score(target)
        if threshold is None:
            raise InputError(
                f"{type(self).__name__} has no threshold; set threshold=, or fit it on shadow "
                "models with evaluated members and non-members"
            )
        return scores >= threshold

    def _score_model(self, target: Outputs, model: int, used: np.ndarray) -> np.ndarray:
        """Scores (n,) of the `used` records, bool (N,), of one model; a few records at a time."""
        logits, rows = target.logits[model], np.flatnonzero(used)
        parts = in_parts(rows, target.classes)
        scored = [self._score_records(rows_of(logits, part), target.labels[part]) for part in parts]
        return np.concatenate(scored)

    def _score_records(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores (n,) of one model's logits (n, C) for records with these labels (n,)."""
        raise NotImplementedError

    def _in_score_units(self, threshold: float) -> float:
        """A threshold set by hand, in the unit of the scores."""
        return float(threshold)

    def _set_threshold(self, scores: np.ndarray, members: np.ndarray) -> None:
        """By hand, else from shadow models' scores (NaN: unknown), None if one kind is missing."""
        known = ~np.isnan(scores)
        self.threshold_: float | None
        if self.threshold is not None:
            self.threshold_ = self._in_score_units(self.threshold)
        elif np.unique(members[known]).size == 2:
            self.threshold_ = best_threshold(scores[known], members[known])
        else:
            self.threshold_ = None

    def _check_both_kinds(self, shadow: Outputs | None) -> Outputs:
        shadow = self._check_answers(shadow, "fit(shadow)")
        held = int(shadow.members[shadow.evaluated].sum())
        free = int(shadow.evaluated.sum()) - held
        if not held or not free:
            raise InputError(
                f"the shadow models have {held} evaluated members and {free} evaluated "
                f"non-members; {type(self).__name__} needs both"
            )
        return shadow

    def _check_answers(self, answers, where: str) -> Any:
        """`answers`, if they are what this attack reads; else an InputError."""
        return check_outputs(answers, f"{type(self).__name__}.{where}")

    def _check_fitted(self, attribute: str) -> None:
        if not hasattr(self, attribute):
            raise InputError(f"{type(self).__name__} is not fitted; call fit(shadow) first")
