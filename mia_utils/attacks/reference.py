"""Attacks that read a loss relative to other records (population) or other models (reference)."""

from __future__ import annotations

from typing import Self

import numpy as np

from .. import arguments, signals
from ..outputs import Outputs
from .alignment import check_disjoint, check_population
from .base import Attack, Needs, margins_of
from .per_record import PerRecordAttack
from .statistics import OUT, Answers, Means


class PopulationAttack(Attack):
    """Attack-P (Ye et al., 2022, "Enhanced Membership Inference Attacks against Machine Learning
    Models"): the share of known non-members whose loss under the target is larger.

    Ties count half. Within one target the ranking is the loss attack's; what is new is the scale:
    1 - score estimates the false positive rate at which the record would be called a member, so
    that scores of different targets can be compared, and a threshold needs no shadow model.

    Parameters
    ----------
    fpr : float in (0, 1)
        False positive rate of `predict`: the threshold is 1 - fpr. Among fewer than 10 / fpr known
        non-members it is not well known, and the rate on others lies above it.
    """

    def __init__(self, *, fpr: float = 0.1, threshold: float | None = None) -> None:
        super().__init__(threshold=threshold)
        self.fpr = fpr

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, population=True)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.number("fpr", self.fpr, "a rate between 0 and 1", 0, 1)

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Sort the population's margins, target by target; `shadow` is not needed.

        Parameters
        ----------
        population : Outputs
            The targets' outputs for records that are not audited. Members are left out.

        Raises
        ------
        InputError
            If there is no population, or a target has no known non-member in it.
        """
        self.check_arguments()
        population = check_population(population, "PopulationAttack")
        self.population_ = population
        # The larger loss is the smaller margin, which does not round to 0 for sure answers.
        self.margins_ = [
            np.sort(margins_of(logits, population.labels, rows))
            for logits, rows in zip(population.logits, ~population.members, strict=True)
        ]
        self.threshold_ = 1 - self.fpr if self.threshold is None else float(self.threshold)
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Scores in [0, 1] of the evaluated pairs, float64 (M, N), NaN elsewhere."""
        self._check_fitted("population_")
        check_disjoint(self.population_, target, "PopulationAttack")
        scores = np.full(target.members.shape, np.nan)
        for model, used in enumerate(target.evaluated):
            known = self.margins_[model]
            margins = margins_of(target.logits[model], target.labels, used)
            below = [np.searchsorted(known, margins, side=side) for side in ("left", "right")]
            scores[model, used] = np.mean(below, axis=0) / known.size
        return scores


class ReferenceAttack(PerRecordAttack[Answers]):
    """Attack-R (Ye et al., 2022): the share of reference models whose loss on the record is larger.

    Reference models are the shadow models that did not hold the record; ties count half.

    Parameters
    ----------
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.
    """

    def __init__(self, *, seed: int = 0, threshold: float | None = None) -> None:
        super().__init__(threshold=threshold)
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1)

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        return signals.margin(queries[0].logits[model], queries[0].labels)

    def _statistics(self, records: int, queries: int) -> Answers:
        return Answers(records)

    def _compare(self, fitted: Answers, margin: np.ndarray, rows: np.ndarray) -> np.ndarray:
        larger = np.zeros(rows.size)
        for reference in fitted.values:
            larger += (reference[rows] < margin) + 0.5 * (reference[rows] == margin)
        return larger / fitted.count[OUT, rows]


class CalibratedAttack(PerRecordAttack[Means]):
    """Difficulty calibration (Watson et al., 2022, "On the Importance of Difficulty Calibration in
    Membership Inference Attacks"): a score minus its mean over models that did not hold the record.

    Parameters
    ----------
    signal : "loss" or "margin"
        The score that is calibrated: the negative loss, or the margin.
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.
    """

    def __init__(
        self, *, signal: str = "loss", seed: int = 0, threshold: float | None = None
    ) -> None:
        super().__init__(threshold=threshold)
        self.signal = signal
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.one_of("signal", self.signal, ("loss", "margin"))

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        margins = signals.margin(queries[0].logits[model], queries[0].labels)[:, None]
        return margins if self.signal == "margin" else -np.logaddexp(0.0, -margins)

    def _statistics(self, records: int, queries: int) -> Means:
        return Means(records)

    def _compare(self, fitted: Means, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return (values - fitted.mean[OUT, rows])[:, 0]
